"""Linking, compiling and deciding."""

from __future__ import annotations

from typing import Any

import pytest
from tests.tables.fakes import compiled, row, rows, table

from compozy.errors import RuleTableError
from compozy.tables.decide import near_misses
from compozy.tables.table import Condition, Decision, Domain

MODES = """
table: mode
hit: unique
inputs: {mode: {setting: mode}}
outputs: {mode: [memory, persistent]}
rows:
  - {id: default, when: {mode: unset}, then: {mode: memory}, because: x}
  - {id: memory, when: {mode: memory}, then: {mode: memory}, because: x}
  - {id: kept, when: {mode: persistent}, then: {mode: persistent}, because: x}
"""
DRIVER = """
table: driver
hit: unique
inputs: {mode: {decision: mode}, engine: {setting: redis.engine}}
outputs: {driver: text, port: number}
rows:
  - {id: real, when: {mode: memory, engine: valkey}, then: {driver: valkey, port: 1}, because: x}
  - {id: imitated, when: {mode: memory, engine: fakeredis}, then: {driver: fake, port: null}, because: x}
  - {id: kept, when: {mode: persistent}, then: {driver: valkey, port: 1}, because: x}
"""


def faults(*texts: str) -> str:
    with pytest.raises(RuleTableError) as caught:
        compiled(*texts)
    return "\n".join(map(str, caught.value.findings))


def test_a_decision_records_table_row_inputs_and_outputs() -> None:
    """A decision holds everything that explains it."""
    ruleset = compiled(MODES, DRIVER)
    real = ruleset.tables["driver"].rows[0]
    expected = Decision("driver", (real,), {"mode": "memory", "engine": "valkey"}, {"driver": "valkey", "port": 1})
    assert ruleset.decide("driver", {"mode": "memory", "engine": "valkey", "more": 1}) == expected


def test_tables_are_ordered_by_their_inputs() -> None:
    """A table comes after the tables whose decisions it reads."""
    assert compiled(DRIVER, MODES).order == ("mode", "driver")


@pytest.mark.parametrize(
    ("hit", "expected"),
    [("first", ["one"]), ("collect", ["one", "two"])],
)
def test_hit_policies_choose_rows(hit: str, expected: list[str]) -> None:
    """`first` takes the first row that matches, `collect` takes all in order."""
    text = table(rows(row("one", "mode: [a, b]"), row("two", "mode: [a, c]", "b"), row("three", "mode: c")), hit=hit)
    assert [r.id for r in compiled(text).decide("t", {"mode": "a"}).rows] == expected


def test_collecting_may_find_nothing() -> None:
    """A `collect` table without a matching row decides nothing, and has no outputs."""
    decision = compiled(table(row("one", "mode: a"), hit="collect")).decide("t", {"mode": "z"})
    assert (decision.rows, decision.outputs) == ((), {})


@pytest.mark.parametrize("hit", ["unique", "first"])
def test_no_matching_row_is_an_error(hit: str) -> None:
    """The error names the table and the inputs."""
    with pytest.raises(RuleTableError, match=r'a.yaml:1:8: no row of table "t" matches mode: z'):
        compiled(table(row("one", "mode: a"), hit=hit)).decide("t", {"mode": "z"})


def test_disagreeing_rows_are_an_error() -> None:
    """Two matching rows of a `unique` table that decide differently are both named."""
    ruleset = compiled(table(rows(row("one", "mode: a"), row("two", "", "b"))))
    with pytest.raises(RuleTableError, match=r'rows "one" \(a.yaml:6:10\) and "two" \(a.yaml:7:10\)'):
        ruleset.decide("t", {"mode": "a"})


def test_agreeing_rows_are_no_error() -> None:
    """Two matching rows of a `unique` table that decide the same are the first one's decision."""
    ruleset = compiled(table(rows(row("one", "mode: a"), row("two", ""))))
    assert ruleset.decide("t", {"mode": "a"}).rows[0].id == "one"


@pytest.mark.parametrize(
    ("table_id", "inputs", "reason"),
    [
        pytest.param("driverr", {}, 'unknown table "driverr"; did you mean "driver"?', id="table"),
        pytest.param("driver", {"mode": "memory"}, 'needs a value for its input "engine"', id="input"),
    ],
)
def test_a_wrong_question_is_an_error(table_id: str, inputs: dict[str, Any], reason: str) -> None:
    """Asking for an unknown table, or without a column's value, is named."""
    with pytest.raises(RuleTableError) as caught:
        compiled(MODES, DRIVER).decide(table_id, inputs)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, "yes"), (False, "no"), (1, "one"), (0, "zero"), (1.0, "one"), ("1", "other"), (None, "other")],
)
def test_booleans_are_not_numbers(value: Any, expected: str) -> None:
    """A column with booleans and numbers distinguishes `true` and `1`."""
    lines = rows(
        row("yes", "x: true"), row("no", "x: false"), row("one", "x: 1"), row("zero", "x: 0"), row("other", "")
    )
    ruleset = compiled(DIGITS, table(lines, "x: {decision: digits}", "first"))
    assert ruleset.decide("t", {"x": value}).rows[0].id == expected


DIGITS = """
table: digits
hit: first
outputs: {out: [true, false, 1, 0, "1", null]}
rows: [{id: r, then: {out: 1}, because: x}]
"""


@pytest.mark.parametrize(
    ("value", "expected"),
    [(79, []), (80, ["low", "range"]), (80.5, ["range"]), (443, ["range"]), (444, []), (None, ["off"]), ("80", [])],
)
def test_numbers_are_found_in_ranges(value: Any, expected: list[str]) -> None:
    """Ends belong to a range as written; unset and text lie in none."""
    lines = rows(row("low", "x: 80"), row("range", "x: {at_least: 80, at_most: 443}"), row("off", "x: unset"))
    ruleset = compiled(table(lines, "x: {setting: load}", "collect"))
    assert [r.id for r in ruleset.decide("t", {"x": value}).rows] == expected


def test_a_chained_column_knows_the_outputs_of_its_feeder() -> None:
    """A column fed by text or numbers has the finite domain of the values that rows give."""
    reader = table(row("r", ""), "d: {decision: driver, output: driver}, p: {decision: driver, output: port}")
    domains = compiled(MODES, DRIVER, reader).domains["t"]
    assert domains == {"d": Domain.finite(["valkey", "fake"]), "p": Domain.finite([1, None])}


def test_near_misses_name_the_failed_cell() -> None:
    """Rows of which one cell failed are listed in order, with the condition and the value."""
    ruleset = compiled(MODES, DRIVER)
    decision = ruleset.decide("driver", {"mode": "memory", "engine": "valkey"})
    found = [(m.row.id, m.column, m.condition, m.value) for m in near_misses(ruleset, decision)]
    assert found == [
        ("imitated", "engine", Condition.of(["fakeredis"]), "valkey"),
        ("kept", "mode", Condition.of(["persistent"]), "memory"),
    ]


@pytest.mark.parametrize(
    ("inputs", "cell", "expected"),
    [
        pytest.param("x: {setting: nope}", "", "a.yaml:3:10: unknown setting nope", id="setting"),
        pytest.param("x: {machine: nope}", "", "unknown machine nope", id="machine"),
        pytest.param("x: {setting: mode, view: nope}", "", "unknown setting mode (nope)", id="view"),
        pytest.param("x: {decision: moed}", "", 'unknown table "moed"; did you mean "mode"?', id="decision"),
        pytest.param("x: {decision: mode, output: x}", "", 'has no output "x" (outputs: mode)', id="output"),
        pytest.param("x: {decision: driver}", "", "has several outputs; choose one", id="outputs"),
        pytest.param("x: {decision: found}", "", "collects rows", id="collect"),
        pytest.param("x: {decision: each}", "", "decides for each of list", id="for-each"),
        pytest.param("x: {decision: mode}", "x: memry", 'not a value of input "x"; did you mean "memory"?', id="value"),
        pytest.param("x: {setting: mode}", "x: 5", '5 is not a value of input "x" (a text)', id="number-for-text"),
        pytest.param("x: {setting: server.port}", "x: 70000", "70000 is not a value", id="number-outside"),
        pytest.param("x: {setting: mode}", "x: {above: 1}", 'input "x" is not a number', id="range-on-text"),
    ],
)
def test_a_dangling_name_prevents_compiling(inputs: str, cell: str, expected: str) -> None:
    """Unknown inputs, decisions and values are named with their place."""
    found = "table: found\nhit: collect"
    each = "table: each\nhit: first\nfor_each: list\noutputs: {x: [1]}"
    assert expected in faults(table(row("r", cell), inputs), MODES, DRIVER, found, each)


def test_impossible_unset_may_be_excluded() -> None:
    """`unset` in a condition on a value that is always set is allowed."""
    assert compiled(table(row("r", "x: {not: [auto, unset]}"), "x: {setting: redis.engine}")).faults == ()


def test_output_for_an_unknown_setting_prevents_compiling() -> None:
    """The setting that an output derives must exist."""
    assert 'unknown setting nope, which output "out" sets' in faults(table(row("r", "")) + "sets: {out: nope}")


def test_a_circle_of_tables_is_named_with_its_path() -> None:
    """Tables that decide each other cannot be compiled; the path is shown."""
    one = table(row("r", ""), "x: {decision: u}")
    two = one.replace("table: t", "table: u").replace("decision: u", "decision: t")
    assert "a.yaml:1:8: tables decide in a circle: t <- u <- t" in faults(one, two)
