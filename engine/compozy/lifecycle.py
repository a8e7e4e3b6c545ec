"""The doorkeeper: from `rules/lifecycle.yaml` to a state machine whose transitions are transactions.

What comes in: a configuration and the lifecycle's rows. What goes out: the record of the state that was
reached. When a step fails, the machine stays in the state it was in, with that state's records.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from compozy.configuration import Configuration
from compozy.document import Node, Place
from compozy.errors import CompozyError, ConfigurationError, RuleTableError, TransitionError
from compozy.resolve import Resolved, resolve
from compozy.settings.machine import probe_facts
from compozy.settings.origin import Finding
from compozy.validate import Validated, errors, validate

if TYPE_CHECKING:
    from compozy.provision import Runtime


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
    """States and transitions, checked: every state can be reached, and left."""

    states: tuple[str, ...]
    initial: str
    transitions: tuple[Transition, ...]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One transition that was tried; `outcome` is `done` or the id of the error, `duration_s` in seconds."""

    source: str
    target: str
    trigger: str
    at: str
    duration_s: float
    rules: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Records:
    """What the lifecycle has reached so far."""

    resolved: Resolved | None = None
    validated: Validated | None = None
    runtime: Runtime | None = None


def read_graph(document: Node, steps: Sequence[str], stages: Sequence[str]) -> Graph:
    """Read and check the lifecycle's rows against the known `steps` and table `stages`.

    Raises:
        RuleTableError: unknown or unreachable states, traps, two rows for one trigger in one state, unknown steps
            or stages; every fault at once, each with its place.
    """
    states = [node.plain() for node in document.value["states"].value]
    names = tuple(state["id"] for state in states)
    initial = [state["id"] for state in states if state.get("initial")]
    rows = tuple(_transition(node) for node in document.value["transitions"].value)
    faults = list(_faults(document.place, names, initial, rows, steps, stages))
    if faults:
        raise RuleTableError(faults)
    return Graph(names, initial[0], rows)


def _transition(node: Node) -> Transition:
    row = node.plain()
    stages = tuple(row.get("stages") or ())
    because = str(row.get("because") or "")
    return Transition(row["trigger"], row["from"], row["to"], row["step"], stages, because, node.place)


def _faults(
    place: Place, states: tuple[str, ...], initial: list[str], rows: tuple[Transition, ...],
    steps: Sequence[str], stages: Sequence[str],
) -> Iterator[str]:  # fmt: skip
    if len(initial) != 1:
        yield f"{place}: exactly one state is initial, not {len(initial)}"
    seen: dict[tuple[str, str], Place] = {}
    for row in rows:
        for state in (row.source, row.target):
            if state not in states:
                yield f"{row.place}: unknown state {state}"
        if row.step not in steps:
            yield f"{row.place}: unknown step {row.step}; known: {', '.join(steps)}"
        yield from (f"{row.place}: no table has the stage {stage}" for stage in row.stages if stage not in stages)
        if (row.trigger, row.source) in seen:
            first = seen[row.trigger, row.source]
            yield f"{row.place}: trigger {row.trigger} in state {row.source} has a row already at {first}"
        seen.setdefault((row.trigger, row.source), row.place)
    yield from _dead_ends(place, states, initial, rows)


def _dead_ends(
    place: Place, states: tuple[str, ...], initial: list[str], rows: tuple[Transition, ...]
) -> Iterator[str]:
    forward = _closure(initial, [(row.source, row.target) for row in rows])
    backward = _closure(initial, [(row.target, row.source) for row in rows])
    yield from (f"{place}: state {state} can never be reached" for state in states if state not in forward)
    yield from (f"{place}: state {state} is a trap: no way leads back" for state in states if state not in backward)


def _closure(start: Sequence[str], edges: Sequence[tuple[str, str]]) -> set[str]:
    found, border = set(start), list(start)
    while border:
        here = border.pop()
        border += [target for source, target in edges if source == here and target not in found]
        found.update(target for source, target in edges if source == here)
    return found


Provisioner = Callable[[Resolved], "Runtime"]


class Lifecycle:
    """Drives one configuration through its states; the triggers are its methods.

    `facts` are the machine facts (probed when None); `strict` makes warnings stop; `provisioner` starts the
    components (the real one when None).
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        facts: Mapping[str, str] | None = None,
        strict: bool = False,
        provisioner: Provisioner | None = None,
    ) -> None:
        from transitions import Machine

        self.configuration = configuration
        self.strict = strict
        self.journal: tuple[JournalEntry, ...] = ()
        self.records = Records()
        self.findings: tuple[Finding, ...] = ()
        self._facts = facts
        self.provisioner = provisioner or _provision
        self._steps: Mapping[str, Callable[[], Records]] = {
            "resolve": self._resolve,
            "validate": self._validate,
            "provision": self._provision,
            "release": self._release,
            "release-and-forget": self._release_and_forget,
            "forget": Records,
        }
        rulebook = configuration.rulebook
        stages = {table.stage for table in rulebook.ruleset.tables.values()} | {"provision"}
        self.graph = read_graph(rulebook.lifecycle, tuple(self._steps), tuple(stages))
        self._machine = Machine(
            model=None, states=list(self.graph.states), initial=self.graph.initial, auto_transitions=False,
            transitions=[{"trigger": row.trigger, "source": row.source, "dest": row.target} for row in self.graph.transitions],
        )  # fmt: skip
        self._model = _Model()
        self._machine.add_model(self._model)

    @property
    def state(self) -> str:
        """The present state."""
        return str(self._model.state)

    def resolve(self) -> Resolved:
        """Derive every effective value.

        Raises:
            TransitionError: the state is not `unresolved`.
        """
        self.fire("resolve")
        return self.resolved

    def validate(self) -> Validated:
        """Check the effective values.

        Raises:
            ConfigurationError: a finding stops; it carries all of them.
            TransitionError: the state is not `resolved`.
        """
        self.fire("validate")
        if self.records.validated is None:
            raise TransitionError("validate", self.state, ())
        return self.records.validated

    def provision(self) -> Runtime:
        """Start or reach every component.

        Raises:
            ProvisionError: a component failed; whatever had been started is stopped again.
            TransitionError: the state is not `validated`.
        """
        self.fire("provision")
        return self.runtime

    def release(self) -> None:
        """Stop everything, back to `validated`.

        Raises:
            TransitionError: nothing is provisioned.
        """
        self.fire("release")

    def reset(self) -> None:
        """Forget everything, back to `unresolved`; what runs is released first."""
        self.fire("reset")

    @property
    def resolved(self) -> Resolved:
        """The record of the state `resolved`."""
        if self.records.resolved is None:
            raise TransitionError("read the resolution", self.state, self.allowed())
        return self.records.resolved

    @property
    def runtime(self) -> Runtime:
        """The handles of the state `provisioned`."""
        if self.records.runtime is None:
            raise TransitionError("read the runtime", self.state, self.allowed())
        return self.records.runtime

    def allowed(self) -> tuple[str, ...]:
        """Return the triggers that the present state allows."""
        return tuple(self._machine.get_triggers(self.state))

    def fire(self, trigger: str) -> None:
        """Run one transition as a transaction and journal it, whatever the outcome.

        Raises:
            TransitionError: the present state has no row for `trigger`.
            CompozyError: the step failed; state and records are what they were.
        """
        row = self._row(trigger)
        started, at = time.perf_counter(), datetime.now(UTC).isoformat()
        outcome = "bug"
        try:
            records = self._steps[row.step]()
            self._model.trigger(trigger)
            self.records = records
            outcome = "done"
        except CompozyError as error:
            outcome = error.id
            raise
        finally:
            took, rules = time.perf_counter() - started, self.configuration.rulebook.digest
            entry = JournalEntry(row.source, row.target, trigger, at, took, rules, outcome)
            self.journal = (*self.journal, entry)

    def _row(self, trigger: str) -> Transition:
        for row in self.graph.transitions:
            if row.trigger == trigger and row.source == self.state:
                return row
        raise TransitionError(trigger, self.state, self.allowed())

    def _resolve(self) -> Records:
        facts = self._facts if self._facts is not None else probe_facts(self.configuration.rulebook.registry)
        return Records(resolved=resolve(self.configuration, facts))

    def _validate(self) -> Records:
        self.findings = validate(self.resolved)
        stopping = errors(self.findings, strict=self.strict)
        if stopping:
            raise ConfigurationError(self.findings, len(stopping), self.configuration.texts)
        return replace(self.records, validated=Validated(self.resolved, self.findings))

    def _provision(self) -> Records:
        return replace(self.records, runtime=self.provisioner(self.resolved))

    def _release(self) -> Records:
        self.runtime.close()
        return replace(self.records, runtime=None)

    def _release_and_forget(self) -> Records:
        self.runtime.close()
        return Records()


class _Model:
    """What `transitions` puts its state and triggers on."""

    state: str
    trigger: Any


def _provision(resolved: Resolved) -> Runtime:
    from compozy.plan import make_plan
    from compozy.provision import provision

    return provision(make_plan(resolved))
