"""`compozy rules cover` reports which rows decided; processes merge their recordings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from compozy.cli.main import run
from compozy.errors import UsageError
from compozy.resolution.configuration import load_configuration
from compozy.resolution.resolve import resolve
from compozy.rulebook import load_rulebook
from compozy.rulebook.recording import decided_rows, merge_recording, read_recording, row_key, write_recording
from compozy.settings.sources import COVERAGE_VARIABLE
from compozy.trial.row_coverage import measure

Command = Callable[..., tuple[int, str, str]]
PACK = """
tables:
  - table: zed
    stage: resolve
    hit: unique
    about: z
    inputs: {mode: {decision: mode}}
    outputs: {out: [true, false]}
    rows:
      - {id: kept, when: {mode: [persistent, distributed]}, then: {out: true}, because: b}
      - {id: lost, when: {mode: memory}, then: {out: false}, because: "b < & c"}
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `compozy rules cover` in a directory with a pack of one table; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(COVERAGE_VARIABLE, raising=False)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "zed.yaml").write_text(PACK)

    def call(*args: str) -> tuple[int, str, str]:
        code = run(["rules", "cover", *args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def record(file: Path, *rows: str) -> None:
    """Write a recording in which these rows of the table `zed` decided."""
    table = load_rulebook((str(file.parent / "pack"),)).ruleset.tables["zed"]
    merge_recording(str(file), [row_key(table, row) for row in table.rows if row.id in rows])


def report(answer: tuple[int, str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer[1])
    return found


def test_cover_lists_rows_without_decision(command: Command, tmp_path: Path) -> None:
    record(tmp_path / "live.json", "kept")
    code, out, _ = command("--rules", "pack", "--no-examples", "--data", "live.json")
    assert code == 0
    assert "never decided:\n  pack/zed.yaml:11:14: zed/lost\n" in out
    assert out.splitlines()[-1] == "1 of 2 rows decided (50.0 %)"


def test_cover_names_the_sources_of_each_row(command: Command, tmp_path: Path) -> None:
    record(tmp_path / "live.json", "kept")
    found = report(command("--rules", "pack", "--data", "live.json", "--format", "json"))
    assert (found["sources"], found["rows"], found["decided"]) == (["examples", "live.json"], 2, 2)
    (table,) = found["tables"]
    assert [(row["id"], row["by"], row["where"]["line"]) for row in table["listed"]] == [
        ("kept", ["examples", "live.json"], 10),
        ("lost", ["examples"], 11),
    ]


def test_examples_of_the_shipped_rules_cover_their_findings(command: Command) -> None:
    found = report(command("--format", "json"))
    assert found["rows"] > 100
    validating = [table for table in found["tables"] if table["id"].startswith("validate.")]
    assert validating
    assert [row["id"] for table in validating for row in table["listed"] if not row["by"]] == []


@pytest.mark.parametrize(("minimum", "code"), [("50", 0), ("50.1", 1)])
def test_cover_fails_below_the_threshold(command: Command, tmp_path: Path, minimum: str, code: int) -> None:
    record(tmp_path / "live.json", "kept")
    assert command("--rules", "pack", "--no-examples", "--data", "live.json", "--min", minimum)[0] == code


def test_changed_row_does_not_count_as_decided(command: Command, tmp_path: Path) -> None:
    record(tmp_path / "live.json", "kept", "lost")
    (tmp_path / "pack" / "zed.yaml").write_text(PACK.replace("{out: false}", "{out: true}").replace("b <", "c <"))
    found = report(command("--rules", "pack", "--no-examples", "--data", "live.json", "--format", "json"))
    assert [row["by"] for row in found["tables"][0]["listed"]] == [["live.json"], []]


class Page(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_cover_as_html_is_one_file_without_scripts(command: Command, tmp_path: Path) -> None:
    record(tmp_path / "live.json", "kept")
    arguments = [
        "--rules",
        "pack",
        "--no-examples",
        "--data",
        "live.json",
        "--format",
        "html",
        "--output",
        "cover.html",
    ]
    assert command(*arguments) == (0, "", "")
    page = Page((tmp_path / "cover.html").read_text())
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe"})
    assert [given for tag, given in page.tags if tag == "li"] == [{}, {"class": "never"}]
    assert "width=device-width" in str(page.tags)
    assert "b < & c" in page.text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(None, "missing.json: ", id="missing"),
        pytest.param("[]", "not a recording of rule coverage", id="other-json"),
        pytest.param("{", "not a recording of rule coverage", id="no-json"),
        pytest.param('{"compozy_rules_coverage": 2}', "a recording of another version", id="other-version"),
    ],
)
def test_cover_refuses_other_files(command: Command, tmp_path: Path, content: str | None, text: str) -> None:
    if content is not None:
        (tmp_path / "missing.json").write_text(content)
    code, _, err = command("--rules", "pack", "--data", "missing.json")
    assert code == 2
    assert text in err


def test_cover_refuses_invalid_rules(command: Command, tmp_path: Path) -> None:
    (tmp_path / "pack" / "zed.yaml").write_text(PACK.replace("mode: memory}, then", "mode: persistent}, then"))
    assert command("--rules", "pack")[0] == 3


def test_resolution_records_the_deciding_rows(tmp_path: Path) -> None:
    configuration = load_configuration(directory=str(tmp_path), flags={"mode": "persistent"}, environment={})
    configuration.rulebook.ruleset.decided.clear()
    resolved = resolve(configuration, dict.fromkeys(configuration.rulebook.registry.facts, "missing"))
    noted = {(table, row) for table, row, _ in decided_rows(configuration.rulebook.ruleset)}
    assert noted == {(name, row.id) for name, decision in resolved.decisions.items() for row in decision.rows}


def test_violated_constraint_counts_as_deciding_row(tmp_path: Path) -> None:
    (tmp_path / "pack.yaml").write_text("never: {mode: memory, database.driver: postgres}\n")
    flags = {"mode": "memory", "database.driver": "postgres"}
    configuration = load_configuration(directory=str(tmp_path), flags=flags, environment={}, packs=[str(tmp_path)])
    rulebook = configuration.rulebook
    resolve(configuration, dict.fromkeys(rulebook.registry.facts, "missing"))
    coverage = measure(rulebook, {"run": decided_rows(rulebook.never)}, shipped=False)
    assert [(table.table.id, table.decided("run"), table.never) for table in coverage.tables] == [("never", 1, ())]


RECORDING = """
import sys
import compozy
compozy.load(settings={"mode": sys.argv[1]}, environment={}).resolve()
"""


def test_processes_merge_into_one_file(tmp_path: Path) -> None:
    """Several at once, each with decisions of its own, beside rows that are there already."""
    file = tmp_path / "live.json"
    merge_recording(str(file), [("zed", "earlier", "0")])
    modes = ("memory", "persistent")
    environment = {**os.environ, COVERAGE_VARIABLE: str(file)}
    started = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", RECORDING, mode], env=environment, cwd=tmp_path)
        for mode in modes
    ]
    assert [process.wait(60) for process in started] == [0, 0]
    decided = {(table, row) for table, row, _ in read_recording(str(file))}
    assert decided >= {("mode", mode) for mode in modes} | {("zed", "earlier")}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param("", "cannot be written: Not a directory", id="not-a-directory"),
        pytest.param("{}", "not a recording of rule coverage", id="another-file"),
    ],
)
def test_unwritable_recording_is_reported_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, text: str
) -> None:
    file = tmp_path / "live.json"
    file.write_text(content)
    load_configuration(directory=str(tmp_path), environment={})
    monkeypatch.setenv(COVERAGE_VARIABLE, str(file if content else file / "below"))
    resolve(load_configuration(directory=str(tmp_path), environment={}), {"valkey.binary": "missing"})
    with pytest.raises(UsageError, match=text):
        write_recording()
    assert file.read_text() == content


def test_coverage_variable_is_unknown_only_in_a_dotenv_file(tmp_path: Path) -> None:
    configuration = load_configuration(directory=str(tmp_path), environment={COVERAGE_VARIABLE: "x"})
    assert configuration.problems == ()
    (tmp_path / ".env").write_text(f"{COVERAGE_VARIABLE}=x\n")
    assert [p.kind for p in load_configuration(directory=str(tmp_path), environment={}).problems] == [
        "unknown-variable"
    ]
