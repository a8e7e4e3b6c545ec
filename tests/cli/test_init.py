"""`compozy init`: the files of a new project, and what it refuses."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import yaml

from compozy.cli.main import run
from compozy.starter import project_files

MODES = ["memory", "persistent", "distributed"]


def contents(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("mode", MODES)
def test_init_leaves_no_placeholder(mode: str) -> None:
    assert [path for path, text in project_files("shop", mode).items() if "@" in text] == []


def test_init_writes_into_a_new_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal nothing is asked: mode memory, named like the directory."""
    assert run(["init", str(tmp_path / "shop"), "--format", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["name"], made["mode"], made["files"]) == ("shop", "memory", sorted(contents(tmp_path / "shop")))


@pytest.mark.parametrize("name", ['a "b"', "on", "12", "ü: {x}"])
def test_init_quotes_the_name(tmp_path: Path, name: str) -> None:
    assert run(["init", str(tmp_path), "--name", name]) == 0
    assert yaml.safe_load((tmp_path / "compozy.yaml").read_text())["name"] == name


@pytest.mark.parametrize("name", ["", "  ", "a\x1b[31m"])
def test_init_rejects_unusable_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert run(["init", str(tmp_path), "--name", name]) == 2
    assert "cannot be used" in capsys.readouterr().err
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("existing", ["compozy.yaml", "workflows/greet.yaml", ".gitignore"])
def test_init_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], existing: str) -> None:
    (tmp_path / existing).parent.mkdir(exist_ok=True)
    (tmp_path / existing).write_text("mine")
    assert run(["init", str(tmp_path)]) == 2
    assert f"has {existing} already; nothing was written" in capsys.readouterr().err
    assert contents(tmp_path) == {existing: "mine"}


def test_init_makes_secrets_for_services(tmp_path: Path) -> None:
    """Passwords are random, in a file for the user alone that version control ignores."""
    assert run(["init", str(tmp_path), "--mode", "distributed"]) == 0
    variables = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines() if "=" in line)
    assert len(set(variables.values())) == 3
    assert min(map(len, variables.values())) >= 32
    assert stat.S_IMODE(os.stat(tmp_path / ".env").st_mode) == 0o600
    assert ".env" in (tmp_path / ".gitignore").read_text().splitlines()
    assert variables.keys() == {
        line[:-1] for line in (tmp_path / ".env.example").read_text().splitlines() if line[-1:] == "="
    }
