"""Which file is the configuration: names, the search upwards and where it stops."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.project import findings

from compozy.cli.main import run
from compozy.settings.locate import find_file, project_above, searched


@pytest.fixture
def below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory two levels below the home directory, with a configuration above that."""
    (tmp_path / "compozy.yaml").touch()
    folder = tmp_path / "home" / "project" / "deep"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(folder)
    return folder


def test_search_stops_at_the_home_directory(below: Path) -> None:
    assert find_file(str(below)) is None
    (below.parents[1] / "compozy.yaml").touch()
    assert find_file(str(below)) == str(below.parents[1] / "compozy.yaml")


def test_search_stops_at_a_repository(below: Path) -> None:
    (below.parents[1] / "compozy.yaml").touch()
    (below.parent / ".git").touch()  # a file in a worktree, a directory elsewhere
    assert find_file(str(below)) is None
    (below.parent / "compozy.yaml").touch()
    assert find_file(str(below)) == str(below.parent / "compozy.yaml")


def test_search_stops_at_the_boundary_of_a_file_system() -> None:
    assert os.stat("/dev").st_dev != os.stat("/").st_dev
    assert list(searched("/dev")) == ["/dev"]


def test_configuration_above_the_working_directory_is_named(below: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = below.parent / "compozy.yaml"
    file.touch()
    assert run(["config", "show"]) == 0
    assert f"note: using the configuration {file}" in capsys.readouterr().err
    assert run(["config", "show", "--cwd", str(below.parent)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("sign", [".compozy", "workflows"])
def test_project_without_a_configuration_above_is_noted(
    sign: str, below: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert project_above(str(below)) is None
    (below.parent / sign).mkdir()
    assert run(["config", "show"]) == 0
    error = capsys.readouterr().err
    assert f"{below.parent / sign} belongs to another one" in error
    assert f"--cwd {below.parent}" in error


def test_shorter_ending_is_read(tmp_path: Path) -> None:
    (tmp_path / "compozy.yml").write_text("mode: persistent\n", encoding="utf-8")
    assert find_file(str(tmp_path)) == str(tmp_path / "compozy.yml")


@pytest.mark.parametrize("name", ["compozy.yml", "Compozy.yaml", "COMPOZY.YML"])
def test_unread_file_is_a_finding(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    found = findings(tmp_path, "mode: memory\n")
    assert [(finding.id, finding.message) for finding in found] == [("file.ignored", f"{name} is not read")]
