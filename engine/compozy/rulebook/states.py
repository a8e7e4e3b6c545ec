"""The lifecycle's rows: states and transitions, checked as a graph.

What comes in: the document that holds them. What goes out: a `Graph` in which every state can be reached and
left, or faults. What a step does is the lifecycle's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from compozy.base.document import Node
from compozy.base.place import Place
from compozy.settings.faults import Faults
from compozy.settings.rows import Columns, listed_rows
from compozy.tables.problems import did_you_mean

STEPS = ("resolve", "validate", "provision", "release", "release-and-forget", "forget")
_STATE = Columns("a state", {"id": "text"}, {"about": "text", "initial": "boolean"})
_TRANSITION = Columns(
    "a transition",
    {"trigger": "text", "from": "text", "to": "text", "step": "text", "because": "text"},
    {"stages": "texts"},
)


@dataclass(frozen=True, slots=True)
class State:
    """A state of the lifecycle."""

    id: str
    about: str
    initial: bool
    place: Place


@dataclass(frozen=True, slots=True)
class Transition:
    """A row of the lifecycle; `stages` are the stages of the tables that decide it, `step` is what runs."""

    trigger: str
    source: str
    target: str
    step: str
    stages: tuple[str, ...]
    because: str
    place: Place


@dataclass(frozen=True, slots=True)
class Graph:
    """States and transitions; `about` says what a state means."""

    states: tuple[str, ...]
    initial: str
    transitions: tuple[Transition, ...]
    about: Mapping[str, str]

    @property
    def stages(self) -> frozenset[str]:
        """Every stage that some transition evaluates."""
        return frozenset(stage for row in self.transitions for stage in row.stages)


def read_graph(document: Node, faults: Faults) -> Graph:
    """Read and check the lifecycle's rows; every fault is noted with its place."""
    states: dict[str, State] = {}
    for node in listed_rows(document, "states", faults):
        _add_state(node, states, faults)
    rows = [row for node in listed_rows(document, "transitions", faults) if (row := _transition(node, faults))]
    initial = [state.id for state in states.values() if state.initial]
    if len(initial) != 1:
        faults.add("no-initial-state", f"exactly one state is `initial`, not {len(initial)}", document.place)
    _check_rows(rows, states, faults)
    _check_reach(initial, rows, states, faults)
    about = {state.id: state.about for state in states.values()}
    return Graph(tuple(states), initial[0] if initial else "", tuple(rows), about)


def _add_state(node: Node, states: dict[str, State], faults: Faults) -> None:
    plain = _STATE.read(node, faults)
    if plain is None:
        return
    state = State(plain["id"], plain.get("about", ""), plain.get("initial", False), node.place)
    if state.id in states:
        faults.add("collision", f"state {state.id} is listed twice", node.place, states[state.id].place)
    states.setdefault(state.id, state)


def _transition(node: Node, faults: Faults) -> Transition | None:
    row = _TRANSITION.read(node, faults)
    if row is None:
        return None
    stages = tuple(row.get("stages") or ())
    return Transition(row["trigger"], row["from"], row["to"], row["step"], stages, row["because"], node.place)


def _check_rows(rows: Iterable[Transition], states: Mapping[str, State], faults: Faults) -> None:
    seen: dict[tuple[str, str], Place] = {}
    for row in rows:
        for state in (row.source, row.target):
            if state not in states:
                faults.add("unknown-state", f"unknown state {state}{did_you_mean(state, states)}", row.place)
        if row.step not in STEPS:
            faults.add("unknown-step", f"unknown step {row.step}{did_you_mean(row.step, STEPS)}", row.place)
        first = seen.setdefault((row.trigger, row.source), row.place)
        if first != row.place:
            message = f"trigger {row.trigger} in state {row.source} has a row already at {first}"
            faults.add("collision", message, row.place, first)


def _check_reach(
    initial: Sequence[str], rows: Sequence[Transition], states: Mapping[str, State], faults: Faults
) -> None:
    forward = _closure(initial, [(row.source, row.target) for row in rows])
    backward = _closure(initial, [(row.target, row.source) for row in rows])
    for state in states.values() if initial else ():
        if state.id not in forward:
            faults.add("unreachable-state", f"state {state.id} can never be reached", state.place)
        elif state.id not in backward:
            faults.add("trap", f"state {state.id} is a trap: no way leads back to {initial[0]}", state.place)


def _closure(start: Sequence[str], edges: Sequence[tuple[str, str]]) -> set[str]:
    found, border = set(start), list(start)
    while border:
        here = border.pop()
        fresh = {target for source, target in edges if source == here} - found
        found |= fresh
        border += fresh
    return found
