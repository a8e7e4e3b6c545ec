"""Files that another user may write are refused, until `compozy trust` or the environment names their directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from compozy.cli.main import run

FINDING = "tables: {extends: validate.sources, rows: []}\n"
WORLD = "every user may write to it"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "pack").mkdir(parents=True)
    (folder / "compozy.yaml").write_text("name: shop\nrules: [./pack]\n", encoding="utf-8")
    (folder / ".env").write_text("DB_DRIVER=sqlite\n", encoding="utf-8")
    (folder / "pack" / "rows.yaml").write_text("settings: [{path: shop.x, type: text, help: x}]\n", encoding="utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("compozy.yaml", id="configuration"),
        pytest.param(".env", id="dotenv"),
        pytest.param(".", id="directory"),
        pytest.param("pack/rows.yaml", id="rule-file"),
        pytest.param("pack", id="rule-pack"),
    ],
)
def test_source_writable_by_others_is_refused_until_trusted(
    name: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["config", "validate"]) == 0
    path = project / name
    path.chmod(path.stat().st_mode | 0o002)
    assert run(["config", "validate"]) == 2
    error = capsys.readouterr().err
    assert f"error[trust.refused]: {path} is refused: {WORLD}" in error
    assert f"compozy trust {path if path.is_dir() else path.parent}" in error
    assert run(["trust", str(project)]) == 0
    assert run(["config", "validate"]) == 0
    assert run(["trust", str(project), "--remove"]) == 0
    assert run(["config", "validate"]) == 2


def test_trust_of_the_environment_counts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "compozy.yaml").chmod(0o666)
    monkeypatch.setenv("COMPOZY_TRUST", str(project))
    assert run(["config", "validate"]) == 0


def test_trust_of_a_dotenv_file_does_not_count(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / ".env").write_text(f"COMPOZY_TRUST={project}\n", encoding="utf-8")
    assert run(["config", "validate"]) == 0
    assert "the variable COMPOZY_TRUST sets nothing" in capsys.readouterr().out
    (project / "compozy.yaml").chmod(0o666)
    assert run(["config", "validate"]) == 2


def test_trusted_directories_are_listed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trust"]) == 0
    capsys.readouterr()
    assert run(["trust", "--list", "--format", "json"]) == 0
    assert f'"{project}"' in capsys.readouterr().out


def test_trust_refuses_missing_directory(project: Path) -> None:
    assert run(["trust", "./missing"]) == 2


def test_python_of_rule_pack_writable_by_others_is_not_imported(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "pack" / "facts.py").write_text("raise SystemExit(99)\n", encoding="utf-8")
    (project / "pack" / "facts.py").chmod(0o666)
    fact = "machine: [{fact: shop.a, values: [x, y], probe: './facts.py:a', help: x}]\n"
    (project / "pack" / "facts.yaml").write_text(fact, encoding="utf-8")
    assert run(["rules", "check"]) == 2
    assert f"facts.py is refused: {WORLD}" in capsys.readouterr().err
