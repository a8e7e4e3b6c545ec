"""Hints lead to pages that exist on the machine of the reader."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import compozy
from compozy.base.manual import DOCS_URL, page, published_page
from compozy.cli.main import run
from compozy.rulebook import load_rulebook

ROOT = Path(__file__).parents[2]


def test_page_is_relative_below_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert page("docs/modes.md#memory") == "docs/modes.md#memory"


def test_page_is_absolute_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert page("docs/modes.md#memory") == f"{ROOT}/docs/modes.md#memory"


@pytest.mark.parametrize("name", ["docs/no-such-page.md", "https://example.org/page#a", "setup.cfg", ""])
def test_text_without_a_manual_page_is_unchanged(name: str) -> None:
    assert page(name) == published_page(name) == name


def test_finding_leads_to_its_published_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "validate", "--set", "mode=standalone", "--cwd", str(tmp_path)]) == 2
    printed = "".join(capsys.readouterr())
    assert f"= see:  {DOCS_URL}/docs/" in printed


def test_page_is_found_in_an_installed_package(tmp_path: Path) -> None:
    package = tmp_path / "site" / "compozy"
    shutil.copytree(Path(compozy.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "docs", package / "docs")
    code = "from compozy.base.manual import page; print(page('docs/modes.md'))"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, sys.argv[1]); {code}", str(package.parent)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    assert Path(printed).resolve() == package / "docs" / "modes.md"


def test_every_finding_leads_to_an_existing_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tables = load_rulebook().ruleset.tables.values()
    pages = {page(f"docs/{row.body['docs']}") for table in tables for row in table.rows if row.body.get("docs")}
    assert [name for name in pages if not Path(name.partition("#")[0]).is_file()] == []


def test_explanation_of_a_finding_names_an_existing_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["config", "explain", "--finding", "mode.unknown"]) == 0
    out = capsys.readouterr().out
    (see,) = [line.removeprefix("  see ") for line in out.splitlines() if line.startswith("  see ")]
    assert see == f"{DOCS_URL}/docs/modes.html"
    (offline,) = [line.removeprefix("  offline ") for line in out.splitlines() if line.startswith("  offline ")]
    assert Path(offline.partition("#")[0]).is_file()
    assert 'invalid mode "' in out


def test_config_show_prints_a_warning_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["config", "show"], ["plan"]):
        assert run([*command, "--set", "worker.max_concurrent_workflows=50"]) == 0
        warning, note = capsys.readouterr().err.strip().splitlines()
        assert warning.startswith("warning[worker.concurrency.sqlite]: SQLite has concurrency limitations")
        assert warning.endswith("(flag --set worker.max_concurrent_workflows)")
        assert "compozy config validate" in note


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param(
            "server.port",
            "  default 8080\n  set by COMPOZY_SERVER__PORT, --port or --set server.port=VALUE\n",
            id="number",
        ),
        pytest.param("log.level", "  values debug, info, warning, error; default warning\n", id="choice"),
        pytest.param("mode", "  values memory, persistent, distributed; default memory\n", id="choice-of-the-rules"),
        pytest.param(
            "mode", "    memory: SQLite in memory and embedded services; nothing is kept (fastest)\n", id="meaning"
        ),
        pytest.param("redis.url", "  set by REDIS_URL or --set redis.url=VALUE\n", id="without-default"),
    ],
)
def test_explanation_of_a_setting_names_values_default_variable_and_flag(
    key: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run(["config", "explain", key])
    assert expected in capsys.readouterr().out
