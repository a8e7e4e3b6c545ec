"""`compozy rules cases`: boundary values and MC/DC pairs of a table, as a list, a pytest file or examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, Unpack

import click
import yaml

from compozy.base.control import escape_line
from compozy.cli.completion import tables
from compozy.cli.output import json_text, print_line, table_lines, write_output
from compozy.cli.ruleoptions import RuleOptions, find_table, pack_folders, rules_options
from compozy.rulebook import load_rulebook
from compozy.tables.cells import scalar_words

if TYPE_CHECKING:
    from compozy.tables.cases import Case, CaseSet, Pair

Given: TypeAlias = Mapping[str, object] | None
_WIDTH = 1_000_000


@click.command(epilog="Example: compozy rules cases redis.driver --format pytest --output test_redis_driver.py")
@rules_options
@click.option(
    "--format", "format_", type=click.Choice(["text", "json", "pytest", "examples"]), default="text", show_default=True,
    help="Form of the cases: pytest is a test file, examples a rule file that `rules check` runs.",
)  # fmt: skip
@click.option("--output", metavar="FILE", help="File to write the cases to. Default: standard output.")
@click.argument("table", shell_complete=tables)
def cases(table: str, format_: str, output: str | None, **where: Unpack[RuleOptions]) -> int:
    """Write test cases of TABLE: its boundary values, and MC/DC pairs.

    A pair is two cases that differ in one input only: the row decides the first, and the second has another
    outcome. Where a cell of a row has no such pair, the reason is stated.
    """
    from compozy.tables.cases import table_cases
    from compozy.trial.case_configs import case_configurations

    rulebook = load_rulebook(pack_folders(**where))
    found = table_cases(rulebook.ruleset, find_table(rulebook, table))
    if format_ == "text":
        text = _text(found)
    elif format_ == "pytest":
        text = pytest_text(found, where)
    else:
        render = {"json": _json, "examples": examples_text}[format_]
        text = render(found, case_configurations(rulebook, found))
    if output is None:
        print_line(text)
    else:
        write_output(output, text)
    return 0


def _text(found: CaseSet) -> str:
    names = [column.name for column in found.table.columns]
    header = ("CASE", *(name.upper() for name in names), "ROWS", "SHOWS")
    rows = [
        (str(number), *(scalar_words(case.inputs[name]) for name in names), _ids(case) or "-", case.shows)
        for number, case in enumerate(found.cases)
    ]
    pairs = sum(not pair.reason for pair in found.pairs)
    count = f"{len(found.cases)} cases; {pairs} of {len(found.pairs)} cells with an MC/DC pair"
    return "\n".join([*table_lines(rows, header), "", *_statements(found), count])


def _statements(found: CaseSet) -> list[str]:
    lines = [f"no MC/DC pair for row {pair.row.id}, input {pair.column}: {pair.reason}" for pair in _without(found)]
    if not found.proven:
        lines.append("some inputs may not be reachable: too many combinations to prove")
    return [escape_line(line) for line in lines]


def _without(found: CaseSet) -> Iterator[Pair]:
    return (pair for pair in found.pairs if pair.reason)


def _ids(case: Case) -> str:
    return ", ".join(row.id for row in case.rows)


def _json(found: CaseSet, configurations: Sequence[Given]) -> str:
    listed = [
        {
            "inputs": dict(case.inputs),
            "rows": [row.id for row in case.rows],
            "cells": [*case.cells],
            "boundaries": [*case.values],
            "given": given,
        }
        for case, given in zip(found.cases, configurations, strict=True)
    ]
    pairs = [
        {"row": p.row.id, "input": p.column, "holds": p.holds, "fails": p.fails, "reason": p.reason or None}
        for p in found.pairs
    ]
    report = {"format_version": 1, "table": found.table.id, "proven": found.proven, "cases": listed, "pairs": pairs}
    return json_text(report)


def examples_text(found: CaseSet, configurations: Sequence[Given]) -> str:
    """Return a rule file with an example for each case that some configuration brings about."""
    lines = [_head(found), f"extends: {_flow(found.table.id)}", "examples:"]
    for case, given in zip(found.cases, configurations, strict=True):
        if given is not None:
            rows = _flow([row.id for row in case.rows])
            lines += [f"  # {escape_line(case.shows)}", f"  - rows: {rows}", f"    given: {_flow(given)}"]
    without = [case for case, given in zip(found.cases, configurations, strict=True) if given is None]
    if len(without) == len(found.cases):
        lines[-1] += " []"
    lines += [f"# no configuration was found for {escape_line(_inputs(case))} ({_ids(case)})" for case in without]
    return "\n".join([*lines, *(f"# {line}" for line in _statements(found))])


def _head(found: CaseSet) -> str:
    return f"# Boundary values and MC/DC pairs of the table {escape_line(found.table.id)}, by `compozy rules cases`."


def _inputs(case: Case) -> str:
    return ", ".join(f"{name}: {scalar_words(value)}" for name, value in case.inputs.items())


def _flow(value: object) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=_WIDTH, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def pytest_text(found: CaseSet, where: RuleOptions) -> str:
    """Return a test file; `where` are the options that name the rules, as `compozy.load` gets them."""
    lines = [_head(found), "", "import pytest", "", "import compozy", "", f"TABLE = {found.table.id!r}"]
    lines += [f"RULES = compozy.load({_arguments(where)}).configuration.rulebook.ruleset", ""]
    lines += ["# Inputs, and the rows that decide.", "CASES = ["]
    for case in found.cases:
        lines += [f"    # {escape_line(case.shows)}"]
        lines += [f"    ({dict(case.inputs)!r}, {[row.id for row in case.rows]!r}),"]
    lines += ["]", *(f"# {line}" for line in _statements(found)), _TEST_CASES]
    pairs = [(pair.row.id, pair.column, pair.holds, pair.fails) for pair in found.pairs if not pair.reason]
    if pairs:
        lines += ["# Row, input, and the numbers of two cases that differ in this input only.", "PAIRS = ["]
        lines += [*(f"    {pair!r}," for pair in pairs), "]", _TEST_PAIRS]
    return "\n".join(lines)


def _arguments(where: RuleOptions) -> str:
    names = {"config": "file", "cwd": "directory", "rules": "packs"}
    return ", ".join(f"{names[name]}={value!r}" for name, value in where.items() if value)


_TEST_CASES = """

def decided(number):
    return RULES.decide(TABLE, CASES[number][0]).rows


@pytest.mark.parametrize("number", range(len(CASES)))
def test_rows_decide(number):
    assert [row.id for row in decided(number)] == CASES[number][1]

"""
_TEST_PAIRS = """

@pytest.mark.parametrize(("row", "column", "holds", "fails"), PAIRS)
def test_input_changes_the_outcome(row, column, holds, fails):
    first, second = CASES[holds][0], CASES[fails][0]
    assert [name for name in first if first[name] != second[name]] == [column]
    assert row in CASES[holds][1]
    assert row not in CASES[fails][1]
    assert [row.effect() for row in decided(holds)] != [row.effect() for row in decided(fails)]"""
