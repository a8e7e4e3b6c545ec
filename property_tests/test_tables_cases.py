"""MC/DC pairs are found where brute force finds one, and only there; every case decides as a scan of the rows does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import permutations
from typing import Any

from hypothesis import given, settings
from property_tests.tables_worlds import World, fifty, holds, matching, worlds

from compozy.tables.cases import CaseSet, table_cases
from compozy.tables.table import Scalar, identity

Inputs = Mapping[str, Scalar]
WORLDS = worlds(last_hits=("first", "collect"))
few = settings(fifty, max_examples=25)


def cases_of(world: World) -> CaseSet:
    ruleset = world.ruleset()
    return table_cases(ruleset, ruleset.tables["last"])


def deciding(table: Mapping[str, Any], inputs: Inputs) -> list[dict[str, Any]]:
    rows = matching(table, inputs)
    return rows if table["hit"] == "collect" else rows[:1]


def show_the_effect(table: Mapping[str, Any], row: Mapping[str, Any], inside: Inputs, outside: Inputs) -> bool:
    """Return True if a row decides one of two inputs and the other has another outcome."""
    first, second = matching(table, inside), matching(table, outside)
    if table["hit"] == "collect":
        return row in first and row not in second
    return first[:1] == [row] and row not in second and bool(second) and second[0]["then"] != row["then"]


def pair_exists(world: World, row: Mapping[str, Any], column: str, key: Callable[[str, Scalar], object]) -> bool:
    """Try all pairs of inputs; `key` maps the values of a column that count as the same."""
    pairs = permutations(world.reachable(), 2)
    return any(
        show_the_effect(world.last, row, one, other)
        for one, other in pairs
        if all(key(name, one[name]) == key(name, other[name]) for name in one if name != column)
    )


@few
@given(WORLDS)
def test_pair_is_found_exactly_if_one_exists(world: World) -> None:
    rows = {row["id"]: row for row in world.last["rows"]}

    def told_apart(name: str, value: Scalar) -> object:
        return [holds(row["when"].get(name, "any"), value) for row in rows.values()]

    for pair in cases_of(world).pairs:
        asked = (world, rows[pair.row.id], pair.column)
        if pair.reason:
            assert not pair_exists(*asked, lambda _, value: identity(value)), pair
        else:
            assert pair_exists(*asked, told_apart), pair


@few
@given(WORLDS)
def test_cases_are_decided_by_their_rows_and_every_row_decides_in_one(world: World) -> None:
    found = cases_of(world)
    for case in found.cases:
        assert [row.id for row in case.rows] == [row["id"] for row in deciding(world.last, case.inputs)]
    reached = {row["id"] for inputs in world.reachable() for row in deciding(world.last, inputs)}
    assert reached <= {row.id for case in found.cases for row in case.rows}
    for pair in found.pairs:
        if pair.holds is not None and pair.fails is not None:
            one, other = found.cases[pair.holds].inputs, found.cases[pair.fails].inputs
            assert [name for name in one if identity(one[name]) != identity(other[name])] == [pair.column]
            (row,) = [row for row in world.last["rows"] if row["id"] == pair.row.id]
            assert show_the_effect(world.last, row, one, other)
