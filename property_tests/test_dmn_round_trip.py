"""Tables that were exported as DMN and imported again, or written as a decision file, decide alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from property_tests.tables_worlds import cells, fifty

from compozy.decisions import Decisions, compare_decisions
from compozy.decisions.decision_file import decisions_text, parse_decisions
from compozy.decisions.dmn_export import dmn_text
from compozy.decisions.dmn_import import parse_dmn
from compozy.decisions.feel import FeelError, unary_text

few = settings(fifty, max_examples=30)
TEXTS = ["true", "unset", 'a "b" \\', " on\n"]
NUMBERS = [-1, 0, 0.5, 2, 3.25]
# Every declaration with the values that cells ask for.
INPUTS: dict[str, tuple[Any, list[Any]]] = {
    "Kind": (TEXTS, TEXTS),
    "Open kind": ({"type": "text", "optional": True}, TEXTS),
    "Person.Known": ("boolean", [True, False]),
    "Person.Size": ({"type": "number", "above": -1, "at_most": 3.25}, NUMBERS),
    "Person.Home.Rooms": ({"type": "integer", "at_least": 0, "optional": True}, [0, 1, 2, 3]),
    "Free number": ({"type": "number", "optional": True}, NUMBERS),
    "Listed": ([1, 2.5, None], [1, 2.5]),
    "Mixed": (["7", 7, True, None], ["7", 7, True]),
}
OUTPUTS: dict[str, tuple[Any, list[Any]]] = {
    "kind": (TEXTS, TEXTS),
    "size": ("number", [*NUMBERS, None]),
    "flag": ("boolean", [True, False]),
    "any": ([1, "1", None], [1, "1", None]),
}


@st.composite
def rows(draw: st.DrawFn, inputs: Sequence[str], outputs: Sequence[str], feeder: str | None) -> list[dict[str, Any]]:
    found = []
    for number in range(draw(st.integers(1, 4))):
        when = {name: draw(_cell(name)) for name in inputs if draw(st.integers(0, 3))}
        if feeder is not None and draw(st.booleans()):
            when["From"] = draw(cells(st.sampled_from(OUTPUTS[feeder][1][:2]), numbers=False))
        then = {name: draw(st.sampled_from(OUTPUTS[name][1])) for name in outputs}
        found.append({"id": f"row {number}", "when": when, "then": then, "because": "a reason: <&>"})
    return found


def _cell(name: str) -> st.SearchStrategy[Any]:
    declared, values = INPUTS[name]
    return cells(st.sampled_from(values), numbers=isinstance(declared, dict) and declared["type"] != "text")


@st.composite
def decisions(draw: st.DrawFn) -> Decisions:
    """One table over declared inputs, or two, of which the second reads an output of the first."""
    chained = draw(st.booleans())
    tables = []
    feeder: str | None = None
    for name in ["First table", "last"][: 1 + chained]:
        inputs = draw(st.lists(st.sampled_from([*INPUTS]), min_size=1, max_size=2, unique=True))
        outputs = draw(st.lists(st.sampled_from([*OUTPUTS]), min_size=1, max_size=2, unique=True))
        columns: dict[str, Any] = {name: {"input": name} for name in inputs}
        if feeder is not None:
            columns["From"] = {"decision": "First table", "output": feeder}
        hit = draw(st.sampled_from(["unique", "any", "first"] + ["collect"] * (not chained)))
        tables.append(
            {
                "table": name, "hit": hit, "inputs": columns, "outputs": {o: OUTPUTS[o][0] for o in outputs},
                "rows": draw(rows(inputs, outputs, feeder)),
            }
        )  # fmt: skip
        feeder = outputs[0]
    declared = {name: declaration for name, (declaration, _) in INPUTS.items()}
    found = parse_decisions(yaml.dump({"inputs": declared, "tables": tables}, allow_unicode=True), "world.yaml")
    assert not found.findings
    return found


def _written(found: Decisions) -> bool:
    """Return True if all cells have a counterpart in DMN, which one that never holds has not."""
    try:
        [unary_text(cell) for table in found.tables for row in table.rows for cell in row.when.values()]
    except FeelError:
        return False
    return True


@few
@given(decisions())
def test_imported_export_decides_alike(found: Decisions) -> None:
    assume(_written(found))
    again = parse_dmn(dmn_text(found.ruleset, [table.id for table in found.tables]), "again.dmn")
    assert again.findings == ()
    assert {name: found.inputs[name] for name in again.inputs} == again.inputs
    assert [(table.id, table.hit, table.outputs) for table in again.tables] == [
        (table.id, table.hit, table.outputs) for table in found.tables
    ]
    assert compare_decisions(found, again).same


@few
@given(decisions())
def test_written_decision_file_decides_alike(found: Decisions) -> None:
    again = parse_decisions(decisions_text(found), "again.yaml")
    assert (again.inputs, again.findings) == (found.inputs, ())
    assert compare_decisions(found, again).same
