"""The regions of `compare_tables` are exactly the inputs for which two versions decide differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from property_tests.tables_worlds import Catalogue, Viewer, World, conditions, fifty, matching, worlds

from compozy.tables.difference import TableDifference, compare_tables
from compozy.tables.read import read_tables
from compozy.tables.table import Scalar, Table


@st.composite
def versions(draw: st.DrawFn) -> tuple[World, World]:
    """A world, and one whose last table has other rows over the same inputs."""
    old = draw(worlds(last_hits=("first", "collect")))
    inputs = old.last["inputs"]
    rows = [
        {
            "id": f"row-{n}",
            "when": draw(conditions(inputs)),
            "then": {"out": draw(st.sampled_from("pq"))},
            "because": "-",
        }
        for n in range(draw(st.integers(1, 4)))
    ]
    return old, World([*old.tables[:-1], {**old.last, "rows": rows}])


def tables_of(world: World) -> dict[str, Table]:
    return {table.id: table for table in read_tables([("world.yaml", world.text)])}


def decided(table: Mapping[str, Any], inputs: Mapping[str, Scalar]) -> object:
    """Return what a table decides, by scanning its rows."""
    rows = [(row["id"], row["then"]["out"]) for row in matching(table, inputs)]
    return set(rows) if table["hit"] == "collect" else rows[0][1] if rows else None


def inside(difference: TableDifference, inputs: Mapping[str, Scalar]) -> bool:
    return all(condition.matches(inputs[name]) for name, condition in difference.when.items())


@fifty
@given(versions())
def test_regions_of_difference_are_exact(pair: tuple[World, World]) -> None:
    old, new = pair
    found = compare_tables(tables_of(old), tables_of(new), Catalogue(), Viewer())
    assert not found.cut
    for inputs in old.reachable():
        differs = decided(old.last, inputs) != decided(new.last, inputs)
        regions = [difference for difference in found.differences if inside(difference, inputs)]
        assert bool(regions) == differs
