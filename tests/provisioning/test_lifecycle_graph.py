"""The rows of a lifecycle are checked as a graph before anything is built from them."""

from __future__ import annotations

import pytest

from compozy.base.document import read_document
from compozy.base.findings import Collector
from compozy.rulebook import load_rulebook
from compozy.rulebook.states import StateGraph, read_graph

STATES = "states: [{id: a, initial: true}, {id: b}]\n"
THERE = "{trigger: go, from: a, to: b, step: resolve, because: x}"
BACK = "{trigger: back, from: b, to: a, step: forget, because: x}"


def read(text: str) -> tuple[StateGraph, Collector]:
    faults = Collector()
    return read_graph([read_document(text, "lifecycle.yaml")], faults), faults


def lifecycle(*rows: str, states: str = STATES) -> str:
    return states + "transitions:\n" + "".join(f"  - {row}\n" for row in rows)


def test_a_sound_lifecycle_has_no_fault() -> None:
    """Two states that lead to each other are enough."""
    graph, faults = read(lifecycle(THERE, BACK))
    assert (graph.states, graph.initial, faults.findings) == (("a", "b"), "a", [])


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        pytest.param(lifecycle(THERE.replace("to: b", "to: c"), BACK), "unknown-state", 3, id="unknown-target"),
        pytest.param(lifecycle(THERE.replace("from: a", "from: z"), BACK), "unknown-state", 3, id="unknown-source"),
        pytest.param(lifecycle(THERE, BACK, THERE), "collision", 5, id="two-rows-for-one-trigger"),
        pytest.param(lifecycle(THERE.replace("resolve", "fly"), BACK), "unknown-step", 3, id="unknown-step"),
        pytest.param(lifecycle(THERE), "trap", 1, id="trap"),
        pytest.param(
            lifecycle(BACK, THERE, states=STATES.replace("]", ", {id: c}]")), "unreachable-state", 1, id="orphan"
        ),
        pytest.param(
            lifecycle(THERE, BACK, states=STATES.replace(", initial: true", "")), "no-initial-state", 1, id="none"
        ),
        pytest.param(
            lifecycle(THERE, BACK, states=STATES.replace("{id: b}", "{id: b, initial: true}")),
            "no-initial-state",
            1,
            id="two",
        ),
        pytest.param(lifecycle(THERE, BACK, states=STATES.replace("id: b", "id: a")), "collision", 1, id="state-twice"),
        pytest.param(lifecycle("{trigger: go}", BACK), "malformed", 3, id="row-without-columns"),
        pytest.param(lifecycle(THERE.replace("because", "why"), BACK), "malformed", 3, id="unknown-column"),
        pytest.param(lifecycle(THERE.replace("go", "[go]"), BACK), "malformed", 3, id="trigger-is-a-list"),
        pytest.param(lifecycle("7", BACK), "malformed", 3, id="row-is-a-number"),
        pytest.param("states: 7\ntransitions: {}\n", "malformed", 1, id="states-is-a-number"),
        pytest.param("transitions: []\n", "no-initial-state", 1, id="no-states"),
    ],
)
def test_a_fault_is_named_with_its_place(text: str, kind: str, line: int) -> None:
    """Every way to get a lifecycle wrong is a report and not an exception."""
    _, faults = read(text)
    assert (kind, line) in [(report.id, report.places[0].line) for report in faults.findings]


def test_the_shipped_lifecycle_is_the_one_of_the_contract() -> None:
    """States and triggers as promised; each transition with the stage of tables that decides it."""
    graph = load_rulebook().lifecycle
    assert {(row.source, row.trigger, row.target, row.stages) for row in graph.transitions} == {
        ("unresolved", "resolve", "resolved", ("resolve",)),
        ("resolved", "validate", "validated", ("validate",)),
        ("validated", "provision", "provisioned", ("provision",)),
        ("provisioned", "release", "validated", ()),
        ("provisioned", "reset", "unresolved", ()),
        ("validated", "reset", "unresolved", ()),
        ("resolved", "reset", "unresolved", ()),
    }
