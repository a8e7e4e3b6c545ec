"""Simplified tables decide what they decided before, and their edited file holds exactly them."""

from __future__ import annotations

import yaml
from hypothesis import event, given, settings
from property_tests.tables_worlds import Catalogue, Viewer, World, fifty, worlds
from property_tests.test_tables_difference import decided, tables_of

from compozy.tables.read import read_tables
from compozy.tables.rowfiles import RowFiles, apply_edits
from compozy.tables.simplify import Simplifier
from compozy.tables.table import Table


def content(table: Table) -> object:
    return (
        table.hit,
        [column.name for column in table.columns],
        [(r.id, r.when, r.then, r.because) for r in table.rows],
    )


@settings(fifty, max_examples=25)
@given(worlds(last_hits=("first", "collect")))
def test_simplified_tables_decide_the_same(world: World) -> None:
    simplifier = Simplifier(tables_of(world), Catalogue(), Viewer(), {"world.yaml"})
    proposals = list(simplifier.proposals())
    for proposal in proposals:
        event(proposal.kind)
    files = RowFiles({"world.yaml": world.text})
    apply_edits(files, [edit for proposal in proposals for edit in proposal.edits])
    text = files.current()["world.yaml"]
    written = {table.id: content(table) for table in read_tables([("world.yaml", text)])}
    assert written == {name: content(table) for name, table in simplifier.tables.items()}
    (last,) = (table for table in yaml.safe_load(text)["tables"] if table["table"] == world.last["table"])
    simple = {**last, "rows": [{"when": {}, **row} for row in last["rows"]]}
    for inputs in world.reachable():
        assert decided(simple, inputs) == decided(world.last, inputs)
