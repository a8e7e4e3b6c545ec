"""Indexed evaluation agrees with a naive scan of the rows."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from property_tests.tables_worlds import SETTINGS, World, cells, fifty, holds, matching, values_for, worlds

from compozy.base.document import read_document
from compozy.errors import RuleTableError
from compozy.tables.cells import condition_data, parse_condition
from compozy.tables.decide import near_misses
from compozy.tables.index import build_index

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 6),
    st.floats(),
    st.sampled_from(["a", "x", "1", "set", "unset", ""]),
)


def any_cell() -> st.SearchStrategy[Any]:
    values = st.one_of(*(values_for(setting) for setting in SETTINGS))
    return cells(values, numbers=True)


def parsed(cell: Any) -> Any:
    return parse_condition(read_document(yaml.safe_dump({"cell": cell}), "cell.yaml").value["cell"])


@fifty
@given(any_cell(), ANYTHING)
def test_a_condition_holds_as_documented(cell: Any, value: Any) -> None:
    """A parsed condition holds for exactly the values for which its written form does."""
    assert parsed(cell).matches(value) == holds(cell, value)


@fifty
@given(any_cell())
def test_a_printed_condition_reads_back(cell: Any) -> None:
    """A condition written out as data is parsed back to an equal condition."""
    condition = parsed(cell)
    assert parsed(condition_data(condition)) == condition


@fifty
@given(st.lists(any_cell(), max_size=6), ANYTHING)
def test_index_agrees_with_scan(column: list[Any], value: Any) -> None:
    """The index of a column is total: in its domain or not, a value finds the rows that hold for it."""
    conditions = [parsed(cell) for cell in column]
    expected = sum(1 << number for number, condition in enumerate(conditions) if condition.matches(value))
    assert build_index(conditions).rows_at(value) == expected


@fifty
@given(worlds(), st.data())
def test_a_decision_agrees_with_a_scan(world: World, data: st.DataObject) -> None:
    """Every hit policy decides as a scan over the rows in order would."""
    inputs = data.draw(st.fixed_dictionaries(dict.fromkeys(world.last["inputs"], ANYTHING)))
    expected = matching(world.last, inputs)
    ruleset = world.ruleset()
    if world.last["hit"] == "collect":
        assert [row.id for row in ruleset.decide("last", inputs).rows] == [row["id"] for row in expected]
    elif not expected or disagree(world, expected):
        with pytest.raises(RuleTableError):
            ruleset.decide("last", inputs)
    else:
        assert ruleset.decide("last", inputs).outputs == expected[0]["then"]


def disagree(world: World, rows: list[dict[str, Any]]) -> bool:
    return world.last["hit"] == "unique" and any(row["then"] != rows[0]["then"] for row in rows)


@fifty
@given(worlds(last_hits=["collect"]), st.data())
def test_near_misses_have_one_failing_cell(world: World, data: st.DataObject) -> None:
    """Near misses are exactly the rows of which one cell fails, in order, with that cell."""
    inputs = data.draw(st.fixed_dictionaries(dict.fromkeys(world.last["inputs"], ANYTHING)))
    ruleset = world.ruleset()
    failing = {
        row["id"]: [name for name, cell in row["when"].items() if not holds(cell, inputs[name])]
        for row in world.last["rows"]
    }
    expected = [(row, columns[0]) for row, columns in failing.items() if len(columns) == 1]
    found = near_misses(ruleset, ruleset.decide("last", inputs))
    assert [(miss.row.id, miss.column) for miss in found] == expected
