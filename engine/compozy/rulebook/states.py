"""The rows of the lifecycle: states and transitions, checked as a graph.

Every state can be reached and left again, and holds the same records on every path to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from compozy.base.document import Node
from compozy.base.findings import Collector
from compozy.base.place import Place
from compozy.base.record import dataclass
from compozy.base.shapes import BOOLEAN, TEXT, mays, needs, plain_shape
from compozy.base.suggest import did_you_mean
from compozy.settings.row_lists import TEXTS, listed_rows, put

RESOLVED, VALIDATED, RUNTIME = "resolved", "validated", "runtime"


@dataclass(frozen=True, slots=True)
class StateStep:
    """The effect of a step on the records: it `needs` some, refuses to run beside others, keeps some and makes one.

    A step that is `forward` may be taken on the way to a later trigger.
    """

    needs: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    keeps: frozenset[str] = frozenset()
    makes: frozenset[str] = frozenset()
    forward: bool = False


_CONFIGURATION = frozenset((RESOLVED, VALIDATED))
_ALL = _CONFIGURATION | {RUNTIME}
STEPS: Mapping[str, StateStep] = {
    "resolve": StateStep(refuses=frozenset((RUNTIME,)), makes=frozenset((RESOLVED,)), forward=True),
    "validate": StateStep(needs=frozenset((RESOLVED,)), keeps=_ALL, makes=frozenset((VALIDATED,)), forward=True),
    "check": StateStep(needs=_CONFIGURATION, keeps=_ALL, forward=True),
    "provision": StateStep(_CONFIGURATION, frozenset((RUNTIME,)), _CONFIGURATION, frozenset((RUNTIME,))),
    "release": StateStep(needs=frozenset((RUNTIME,)), keeps=_CONFIGURATION),
    "release-and-forget": StateStep(needs=frozenset((RUNTIME,))),
    "forget": StateStep(refuses=frozenset((RUNTIME,))),
}
_STATE = plain_shape("a state", {**needs(TEXT, "id"), **mays(TEXT, "about", "replaces"), **mays(BOOLEAN, "initial")})
_TRANSITION = plain_shape(
    "a transition",
    {
        **needs(TEXT, "trigger", "from", "to", "step", "because"),
        **mays(TEXTS, "stages"),
        **mays(TEXT, "replaces"),
    },
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

    @property
    def guards(self) -> tuple[str, ...]:
        """The stages whose findings may refuse the transition; the tables of a resolving one decide values."""
        return () if self.step == "resolve" else self.stages


@dataclass(frozen=True, slots=True)
class StateGraph:
    """States and transitions; `about` describes each state."""

    states: tuple[str, ...]
    initial: str
    transitions: tuple[Transition, ...]
    about: Mapping[str, str]

    @property
    def stages(self) -> frozenset[str]:
        """Every stage that some transition evaluates."""
        return frozenset(stage for row in self.transitions for stage in row.stages)

    def leaving(self, state: str) -> Iterable[Transition]:
        """Return the transitions that leave a state."""
        return (row for row in self.transitions if row.source == state)

    def way(self, state: str, trigger: str) -> tuple[str, ...]:
        """Return the fewest forward triggers that lead from `state` to one that allows `trigger`; none if none do."""
        ways: dict[str, tuple[str, ...]] = {state: ()}
        border = [state]
        # Breadth first, so that the first way found is one of the shortest.
        for here in border:
            rows = tuple(self.leaving(here))
            if any(row.trigger == trigger for row in rows):
                return ways[here]
            for row in rows:
                if STEPS[row.step].forward and row.target not in ways:
                    ways[row.target] = (*ways[here], row.trigger)
                    border.append(row.target)
        return ()


def read_graph(documents: Sequence[Node], faults: Collector) -> StateGraph:
    """Read and check the rows of all `documents`, the shipped one first; every fault is noted with its place."""
    states: dict[str, State] = {}
    rows: dict[str, Transition] = {}
    for document in documents:
        for node in listed_rows(document, "states", faults):
            _add_state(node, states, faults)
        for node in listed_rows(document, "transitions", faults):
            _add_transition(node, rows, faults)
    about = {state.id: state.about for state in states.values()}
    initial = [state for state in states.values() if state.initial]
    graph = StateGraph(tuple(states), initial[0].id if initial else "", tuple(rows.values()), about)
    if len(initial) != 1:
        place = initial[-1].place if initial else documents[0].place
        faults.add("no-initial-state", f"exactly one state is `initial`, not {len(initial)}", place)
    known = [row for row in graph.transitions if _is_known(row, states, faults)]
    if initial:
        _check_reach(graph.initial, known, states, faults)
        _check_records(graph.initial, known, faults)
    return graph


def _add_state(node: Node, states: dict[str, State], faults: Collector) -> None:
    plain = _STATE.decode(node, faults)
    if plain is not None:
        state = State(plain["id"], plain.get("about", ""), plain.get("initial", False), node.place)
        put(states, state.id, state, plain.get("replaces"), "state", faults)


def _add_transition(node: Node, rows: dict[str, Transition], faults: Collector) -> None:
    plain = _TRANSITION.decode(node, faults)
    if plain is not None:
        stages = plain.get("stages", ())
        row = Transition(
            plain["trigger"], plain["from"], plain["to"], plain["step"], stages, plain["because"], node.place
        )
        put(rows, f"{row.trigger} from {row.source}", row, plain.get("replaces"), "transition", faults)


def _is_known(row: Transition, states: Mapping[str, State], faults: Collector) -> bool:
    for state in (row.source, row.target):
        message = f"unknown state {state}{did_you_mean(state, states)}"
        faults.require(state in states, "unknown-state", message, row.place)
    message = f"unknown step {row.step}{did_you_mean(row.step, STEPS)}"
    faults.require(row.step in STEPS, "unknown-step", message, row.place)
    return row.source in states and row.target in states and row.step in STEPS


def _check_reach(initial: str, rows: Sequence[Transition], states: Mapping[str, State], faults: Collector) -> None:
    forward = _closure(initial, [(row.source, row.target) for row in rows])
    backward = _closure(initial, [(row.target, row.source) for row in rows])
    for state in states.values():
        if state.id not in forward:
            faults.add("unreachable-state", f"state {state.id} can never be reached", state.place)
        elif state.id not in backward:
            faults.add("trap", f"state {state.id} is a trap: no way leads back to {initial}", state.place)


def _closure(start: str, edges: Sequence[tuple[str, str]]) -> set[str]:
    found, border = {start}, [start]
    while border:
        here = border.pop()
        fresh = {target for source, target in edges if source == here} - found
        found |= fresh
        border += fresh
    return found


def _check_records(initial: str, rows: Sequence[Transition], faults: Collector) -> None:
    """Note each step that its state has no records for, and each way that brings other records into a state."""
    held: dict[str, frozenset[str]] = {initial: frozenset()}
    border = [initial]
    # The records of a state must not depend on the way that led there, so the first way fixes them for all others.
    for state in border:
        for row in (row for row in rows if row.source == state):
            step, before = STEPS[row.step], held[state]
            fits = step.needs <= before and not step.refuses & before
            message = f"step {row.step} cannot run in state {state}, which holds {_listed(before)}"
            if not faults.require(fits, "wrong-step", message, row.place):
                continue
            after = before & step.keeps | step.makes
            if row.target not in held:
                border.append(row.target)
            first = held.setdefault(row.target, after)
            message = f"step {row.step} leads to state {row.target} with {_listed(after)}, another one with"
            faults.require(first == after, "wrong-step", f"{message} {_listed(first)}", row.place)


def _listed(records: frozenset[str]) -> str:
    return ", ".join(sorted(records)) or "no records"
