"""`compozy rules cases` writes cases that pass as they are: as a pytest file, and as examples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from compozy.cli.main import run

from ..testing.suite_run import run_tests

Command = Callable[..., tuple[int, str, str]]
PACK = """
settings:
  - {path: zed.count, type: integer, minimum: 0, default: 3, help: c}
  - {path: zed.word, type: text, help: w}
---
table: zed
stage: resolve
hit: first
about: z
inputs: {count: {setting: zed.count}, word: {setting: zed.word}, mode: {decision: mode}}
outputs: {out: [low, high, none]}
rows:
  - {id: low, when: {count: {below: 5}, word: {not: [x]}}, then: {out: low}, because: b}
  - {id: high, when: {count: {at_least: 9}}, then: {out: high}, because: b}
  - {id: same, when: {mode: memory}, then: {out: none}, because: b}
  - {id: none, then: {out: none}, because: b}
"""
# Settings, findings, decisions, machine facts, elements of a list, views of one setting together.
SHIPPED = ("mode", "redis.driver", "validate.ports", "validate.knowledge", "validate.database.path")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `compozy rules` in a project with a pack of one table; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compozy.yaml").write_text("rules: [./pack]\n")
    (tmp_path / "pack").mkdir()
    for name, text in zip(("settings", "zed"), PACK.split("---"), strict=True):
        (tmp_path / "pack" / f"{name}.yaml").write_text(text)

    def call(*args: str) -> tuple[int, str, str]:
        code = run(["rules", *args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def cases(command: Command, table: str) -> dict[str, Any]:
    code, out, _ = command("cases", table, "--format", "json")
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    return found


def test_the_generated_pytest_files_pass(command: Command, tmp_path: Path) -> None:
    files = {}
    for table in ("zed", *SHIPPED):
        name = f"test_{table.replace('.', '_')}.py"
        assert command("cases", table, "--format", "pytest", "--output", name) == (0, "", "")
        files[name] = (tmp_path / name).read_text()
    ran = run_tests(tmp_path, files)
    assert set(ran.outcomes.values()) == {"passed"}, ran.output
    assert len([name for name in ran.outcomes if name.startswith("test_input_changes")]) > 20


def test_the_generated_pytest_file_fails_for_another_decision(command: Command, tmp_path: Path) -> None:
    """A row with another outcome, and one that no longer decides."""
    command("cases", "zed", "--format", "pytest", "--output", "test_zed.py")
    pack = tmp_path / "pack" / "zed.yaml"
    pack.write_text(pack.read_text().replace("below: 5", "below: 4").replace("{out: high}", "{out: none}"))
    outcomes = run_tests(tmp_path, {"test_zed.py": (tmp_path / "test_zed.py").read_text()}).outcomes
    failed = {name.partition("[")[0] for name, outcome in outcomes.items() if outcome != "passed"}
    assert failed == {"test_rows_decide", "test_input_changes_the_outcome"}


def test_the_generated_examples_pass_rules_check(command: Command, tmp_path: Path) -> None:
    tables = ("zed", "redis.driver", "validate.ports", "validate.knowledge")
    for table in tables:
        assert command("cases", table, "--format", "examples", "--output", f"pack/{table}-cases.yaml")[0] == 0
    code, out, _ = command("check", "--format", "json")
    assert (code, json.loads(out)["findings"]) == (0, [])
    written = [yaml.safe_load((tmp_path / "pack" / f"{table}-cases.yaml").read_text()) for table in tables]
    assert all(len(one["examples"]) > 2 for one in written)
    _, out, _ = command("cover", "--format", "json")
    assert json.loads(out)["percent"] == 100


def test_boundary_values_are_those_around_each_bound(command: Command) -> None:
    found = cases(command, "zed")
    counts = {case["inputs"]["count"] for case in found["cases"] if any("count" in v for v in case["boundaries"])}
    assert counts == {0, 4, 5, 6, 8, 9, 10, 2**63 - 1}


def test_each_cell_has_a_pair_or_a_reason(command: Command) -> None:
    found = cases(command, "zed")
    reasons = {(pair["row"], pair["input"]): pair["reason"] for pair in found["pairs"]}
    assert reasons == {
        ("low", "count"): None,
        ("low", "word"): None,
        ("high", "count"): None,
        ("same", "mode"): "the outcome is the same on both sides for all values of the other inputs",
    }
    for pair in (pair for pair in found["pairs"] if not pair["reason"]):
        holds, fails = (found["cases"][pair[side]] for side in ("holds", "fails"))
        assert [name for name in holds["inputs"] if holds["inputs"][name] != fails["inputs"][name]] == [pair["input"]]
        assert pair["row"] in holds["rows"]
        assert pair["row"] not in fails["rows"]


def test_cases_as_text_count_cells_and_list_those_without_pair(command: Command) -> None:
    _, out, _ = command("cases", "zed")
    assert "no MC/DC pair for row same, input mode: the outcome is the same" in out
    assert out.splitlines()[-1].endswith("3 of 4 cells with an MC/DC pair")


def test_cases_of_an_unknown_table_suggest_one(command: Command) -> None:
    code, _, err = command("cases", "zedd")
    assert code == 2
    assert "did you mean zed?" in err


def test_cases_of_invalid_rules_are_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "pack" / "zed.yaml").write_text(PACK.split("---")[1].replace("at_least: 9", "at_least: -1"))
    assert command("cases", "zed")[0] == 3
