"""`compozy rules simplify` proposes simpler tables that decide the same, and writes them into the user's files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from compozy.cli.main import run
from compozy.decisions.decision_file import parse_decisions
from compozy.tables.simplify import Simplifier
from compozy.tables.table import TableExample

Command = Callable[..., tuple[int, str, str]]
HEAD = "inputs: {kind: [a, b, c], on: {type: boolean}, n: {type: integer, at_least: 0}}\n"
LOAN = """\
# Who gets a loan.
inputs: {kind: [a, b, c], on: {type: boolean}, n: {type: integer, at_least: 0}}
tables:
  - table: loan
    hit: first   # for now
    inputs: {kind: {input: kind},  on: {input: on},
      n: {input: n}}   # three
    outputs: {out: [x, y]}
    rows:
      # the first
      - {id: one, when: {kind: a, on: [true, false]}, then: {out: x}, because: "is a"}   # checked
      - id: two
        when:
          kind: b   # b as well
        then: {out: x}
        because: is b
      # the last
      - {id: three, when: {kind: c}, then: {out: y}, because: 'is c'}
"""
SIMPLE = """\
# Who gets a loan.
inputs: {kind: [a, b, c], on: {type: boolean}, n: {type: integer, at_least: 0}}
tables:
  - table: loan
    hit: unique   # for now
    inputs: {kind: {input: kind}}   # three
    outputs: {out: [x, y]}
    rows:
      # the first
      - {id: one, when: {kind: [a, b]}, then: {out: x}, because: "is a; is b"}   # checked
      # b as well
      # the last
      - {id: three, when: {kind: c}, then: {out: y}, because: 'is c'}
"""
PACK = """\
tables:
  - table: zed
    stage: resolve
    hit: unique
    about: z
    inputs: {mode: {decision: mode}}
    outputs: {out: [x, y]}
    rows:
      - {id: one, when: {mode: memory}, then: {out: x}, because: b}
      - {id: two, when: {mode: persistent}, then: {out: x}, because: b}  # kept
      - {id: three, when: {mode: distributed}, then: {out: y}, because: b}
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `compozy rules simplify` in an empty directory; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> tuple[int, str, str]:
        code = run(["rules", "simplify", *args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def proposed(hit: str, *rows: tuple[dict[str, Any], str], inputs: str = "kind on n") -> list[str]:
    """Return kind and rows of the proposals for a table of rows (conditions, output)."""
    body = [{"id": f"r{n}", "when": when, "then": {"out": out}, "because": "x"} for n, (when, out) in enumerate(rows)]
    columns = {name: {"input": name} for name in inputs.split()}
    table = {"table": "t", "hit": hit, "inputs": columns, "outputs": {"out": ["x", "y"]}, "rows": body}
    decisions = parse_decisions(HEAD + yaml.safe_dump({"tables": [table]}), "t.yaml")
    assert decisions.findings == ()
    found = Simplifier(decisions.ruleset.tables, decisions, None, {"t.yaml"}).proposals()
    return [f"{p.kind} {' '.join(edit.row or edit.column or edit.text for edit in p.edits)}" for p in found]


@pytest.mark.parametrize(
    ("hit", "rows", "inputs", "expected"),
    [
        pytest.param("unique", [({"kind": ["a", "b"]}, "x"), ({"kind": "c"}, "y")], "kind", [], id="nothing"),
        pytest.param("unique", [({"kind": "a", "on": [True, False]}, "x"), ({"kind": ["b", "c"]}, "y"),], "kind on",
                     ["full-cell r0", "unused-input on"], id="cell-that-lists-everything"),
        pytest.param("unique", [({"kind": "a", "n": {"at_least": 0}}, "x"), ({"kind": ["b", "c"]}, "y")], "kind n",
                     ["full-cell r0", "unused-input n"], id="range-that-holds-everything"),
        pytest.param("unique", [({"kind": "a"}, "x"), ({"kind": "b"}, "x"), ({"kind": "c"}, "y")], "kind",
                     ["merge r0 r1"], id="two-values"),
        pytest.param("unique", [({"n": {"below": 5}}, "x"), ({"n": {"at_least": 5, "below": 9}}, "x"),
                                ({"n": {"at_least": 9}}, "y")], "n", ["merge r0 r1"], id="two-ranges"),
        pytest.param("unique", [({"kind": "a", "on": True}, "x"), ({"kind": "a", "on": False}, "x"),
                                ({"kind": ["b", "c"]}, "y")], "kind on",
                     ["merge r0 r1", "unused-input on"], id="merge-to-any"),
        pytest.param("unique", [({"kind": "a", "on": True}, "x"), ({"kind": "b", "on": False}, "x"),
                                ({"kind": "a", "on": False}, "y"), ({"kind": "b", "on": True}, "y"),
                                ({"kind": "c"}, "y")], "kind on", [], id="two-columns-differ"),
        pytest.param("first", [({"kind": "a"}, "x"), ({"on": True}, "y"), ({"kind": "b"}, "x"), ({}, "y")], "kind on",
                     [], id="a-row-between-differs"),
        pytest.param("first", [({"kind": "a"}, "x"), ({"on": True}, "y"), ({"kind": "b", "n": 1}, "x"), ({}, "x")],
                     "kind on n", ["redundant-row r2", "unused-input n"], id="row-that-changes-nothing"),
        pytest.param("first", [({"kind": "a", "n": 1}, "x"), ({"kind": "a", "n": {"not": 1}}, "y"),
                               ({"kind": ["b", "c"]}, "x")], "kind n", ["unique unique"], id="first-that-is-unique"),
        pytest.param("first", [({"kind": "a"}, "x"), ({"n": 0}, "y"), ({}, "x")], "kind n", [], id="first-that-is-not"),
    ],
)  # fmt: skip
def test_proposals(hit: str, rows: list[tuple[dict[str, Any], str]], inputs: str, expected: list[str]) -> None:
    assert proposed(hit, *rows, inputs=inputs) == expected


def test_row_named_by_an_example_is_kept() -> None:
    decisions = parse_decisions(LOAN, "loan.yaml")
    (table,) = decisions.tables
    example = TableExample({}, ("two", "one"), table.place)
    named = {"loan": replace(table, examples=(example,))}
    found = Simplifier(named, decisions, None, {"loan.yaml"}).proposals()
    assert [edit.row for proposal in found for edit in proposal.edits if edit.action == "remove-row"] == []


def test_a_decision_file_is_simplified_with_its_comments(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "loan.yaml"
    file.write_text(LOAN)
    code, out, _ = command("loan.yaml")
    assert code == 1
    assert 'loan.yaml:11:39: full-cell: table "loan": row "one"' in out
    assert out.endswith("5 proposals, proven to decide the same\n")
    assert file.read_text() == LOAN
    code, out, _ = command("loan.yaml", "--fix", "--format", "json")
    assert (code, {proposal["written"] for proposal in json.loads(out)["proposals"]}) == (0, {True})
    assert file.read_text() == SIMPLE
    assert command("loan.yaml") == (0, "nothing to simplify\n", "")


def test_page_shows_the_real_output(command: Command, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
    _, text, _, printed, *_ = page.partition("## Simplify")[2].split("```")
    (tmp_path / "loan.yaml").write_text(text.removeprefix("yaml\n"))
    assert command("loan.yaml")[1] == printed.removeprefix("text\n$ compozy rules simplify loan.yaml\n")


def test_a_pack_is_simplified_with_its_comments(command: Command, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "zed.yaml").write_text(PACK)
    (tmp_path / "compozy.yaml").write_text("rules: [./pack]\n")
    code, out, _ = command("--format", "json")
    assert (code, [p["id"] for p in json.loads(out)["proposals"]]) == (1, ["merge"])
    assert command("pack", "--fix")[0] == 0
    assert (pack / "zed.yaml").read_text() == PACK.replace("{mode: memory}", "{mode: [memory, persistent]}").replace(
        "      - {id: two, when: {mode: persistent}, then: {out: x}, because: b}  # kept\n", "      # kept\n"
    )


def test_proposal_invalid_in_its_file_is_not_written(command: Command, tmp_path: Path) -> None:
    """A row stands `before` the row that would be removed."""
    pack = tmp_path / "pack"
    pack.mkdir()
    last = "      - {id: three, when: {mode: distributed}, then: {out: y}, because: b}\n"
    extension = "  - extends: zed\n    rows:\n" + last.replace("three,", "three, before: two,")
    text = PACK.replace("hit: unique", "hit: first").replace(last, extension)
    (pack / "zed.yaml").write_text(text)
    code, out, _ = command("pack", "--fix")
    assert (code, out.count("is not written")) == (1, 1)
    assert out.endswith("2 proposals, proven to decide the same, 1 written\n")
    assert (pack / "zed.yaml").read_text() == text.replace("hit: first", "hit: unique")


def test_search_of_a_large_table_ends_by_its_budget_of_steps(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One proof of 400 rows takes 200,000 steps."""
    monkeypatch.setattr("compozy.tables.simplify.MOST_STEPS", 300_000)
    rows = [{"id": f"r{n}", "when": {"n": n}, "then": {"out": "xyz"[n % 3]}, "because": "b"} for n in range(400)]
    table = {"table": "big", "hit": "unique", "inputs": {"n": {"input": "n"}}, "outputs": {"out": ["x", "y", "z"]}}
    number = {"type": "integer", "at_least": 0, "at_most": 399}
    decisions = {"inputs": {"n": number}, "tables": [table | {"rows": rows}]}
    (tmp_path / "big.yaml").write_text(yaml.safe_dump(decisions))
    code, out, _ = command("big.yaml")
    assert (code, "budget of steps" in out, out.count("merge: ")) == (1, True, 1), out


@pytest.mark.parametrize("names", [pytest.param(["shipped"], id="shipped"), pytest.param([], id="no-pack")])
def test_fix_refuses_rules_of_others(command: Command, names: list[str]) -> None:
    code, _, err = command(*names, "--fix")
    assert code == 2
    assert "not changed" in err


def test_fix_refuses_a_dmn_model(command: Command, tmp_path: Path) -> None:
    source = (Path(__file__).parents[2] / "examples" / "dmn" / "lease.dmn").read_text()
    (tmp_path / "lease.dmn").write_text(source)
    code, _, err = command("lease.dmn", "--fix")
    assert (code, "is a DMN model" in err) == (2, True)
    assert (tmp_path / "lease.dmn").read_text() == source


def test_the_shipped_rules_are_simple_but_for_reasons(command: Command) -> None:
    """Rows of the global mode that could be merged have different reasons."""
    code, out, _ = command("shipped", "--format", "json")
    assert (code, {(p["id"], p["table"]) for p in json.loads(out)["proposals"]}) == (1, {("merge", "mode")})
