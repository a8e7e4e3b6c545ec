"""The doorkeeper: from `rules/lifecycle.yaml` to a state machine whose transitions are transactions.

What comes in: a configuration, whose rulebook holds the lifecycle's rows. What goes out: the record of the
state that was reached. When a step fails, the machine stays in its state, with that state's records.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from compozy.base.findings import Finding
from compozy.errors import CompozyError, ConfigurationError, TransitionError
from compozy.resolution.configuration import Configuration
from compozy.resolution.resolve import Resolved, resolve
from compozy.resolution.validate import Validated, errors, promoted, validate
from compozy.rulebook.states import Graph, Transition
from compozy.settings.machine import probe_facts

if TYPE_CHECKING:
    from compozy.provisioning.provision import Runtime

__all__ = ["Graph", "JournalEntry", "Lifecycle", "Provisioner", "Records", "Transition"]

log = logging.getLogger("compozy.lifecycle")

GRACE_S = 10.0
FORWARD = ("resolve", "validate", "provision")


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One transition that was tried.

    `at` is the time it began (ISO 8601, UTC), `duration_s` in seconds, `rules` the digest of the rules in
    force, `tables` the tables that decided. `outcome` is `done`, the id of the error, `interrupted` or `bug`.
    """

    source: str
    target: str
    trigger: str
    at: str
    duration_s: float
    rules: str
    tables: tuple[str, ...]
    outcome: str


@dataclass(frozen=True, slots=True)
class Records:
    """What the lifecycle has reached so far."""

    resolved: Resolved | None = None
    validated: Validated | None = None
    runtime: Runtime | None = None


def log_transition(entry: JournalEntry) -> None:
    """Log one transition that was tried."""
    facts = {"source": entry.source, "target": entry.target, "trigger": entry.trigger}
    timing = {"outcome": entry.outcome, "duration_s": round(entry.duration_s, 4)}
    log.info("lifecycle.transition", extra={**facts, **timing})


Provisioner = Callable[[Resolved], "Runtime"]


class Lifecycle:
    """Drives one configuration through its states; the triggers are its methods.

    `facts` are the machine facts (probed when None); `strict` makes warnings stop; `provisioner` starts the
    components (the real one when None). One transition runs at a time, whatever the thread.
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
        self.provisioner = provisioner or _provision
        self.graph = configuration.rulebook.lifecycle
        self._facts = facts
        self._grace_s = GRACE_S
        self._turn = threading.RLock()
        self._steps: Mapping[str, Callable[[Transition], Records]] = {
            "resolve": self._resolve,
            "validate": self._validate,
            "provision": self._provision,
            "release": self._release,
            "release-and-forget": self._release_and_forget,
            "forget": self._forget,
        }
        self._machine = Machine(
            model=None,
            states=list(self.graph.states),
            initial=self.graph.initial,
            auto_transitions=False,
            transitions=[[row.trigger, row.source, row.target] for row in self.graph.transitions],
        )
        self._model = _Model()
        self._machine.add_model(self._model)

    @property
    def state(self) -> str:
        """The present state."""
        return str(self._model.state)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The warnings of the state `validated`; empty before it."""
        return self.records.validated.findings if self.records.validated else ()

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

    def resolve(self) -> Resolved:
        """Derive every effective value.

        Raises:
            TransitionError: the state is not `unresolved`.
        """
        self.fire("resolve")
        return self.resolved

    def validate(self) -> Validated:
        """Check the effective values, resolved first where they are not.

        Raises:
            ConfigurationError: a finding stops; it carries all of them.
            TransitionError: the state is `validated` or `provisioned`.
        """
        self._walk_to("validate")
        self.fire("validate")
        if self.records.validated is None:
            raise TransitionError("validate", self.state, self.allowed())
        return self.records.validated

    def provision(self) -> Runtime:
        """Start or reach every component, resolved and validated first where that was not done.

        Raises:
            ConfigurationError: a finding stops; it carries all of them.
            ProvisionError: a component failed; whatever had been started is stopped again.
            TransitionError: the components are provisioned.
        """
        self._walk_to("provision")
        self.fire("provision")
        return self.runtime

    def _walk_to(self, trigger: str) -> None:
        """Take the steps that come before `trigger`; where none leads there, firing it names the ones allowed."""
        with self._turn:
            for step in FORWARD[: FORWARD.index(trigger)]:
                if step in self.allowed():
                    self.fire(step)

    def release(self, grace_s: float = GRACE_S) -> None:
        """Stop everything, back to `validated`; `grace_s` 0 stops at once.

        Raises:
            TransitionError: nothing is provisioned.
            DriverError: a component did not stop; the others did, and `release` may be tried again.
        """
        self._fire_within("release", grace_s)

    def reset(self, grace_s: float = GRACE_S) -> None:
        """Forget everything, back to `unresolved`; what runs is released first.

        Raises:
            TransitionError: the state is `unresolved` already.
            DriverError: a component did not stop; the others did, and `reset` may be tried again.
        """
        self._fire_within("reset", grace_s)

    def _fire_within(self, trigger: str, grace_s: float) -> None:
        with self._turn:
            self._grace_s = grace_s
            try:
                self.fire(trigger)
            finally:
                self._grace_s = GRACE_S

    def allowed(self) -> tuple[str, ...]:
        """Return the triggers that the present state allows."""
        return tuple(self._machine.get_triggers(self.state))

    def fire(self, trigger: str) -> None:
        """Run one transition as a transaction and journal it, whatever the outcome.

        Raises:
            TransitionError: the present state has no row for `trigger`.
            CompozyError: the step failed; state and records are what they were.
        """
        with self._turn:
            row = self._row(trigger)
            with self._journalled(row):
                self._enter(row, self._steps[row.step](row))

    def _row(self, trigger: str) -> Transition:
        for row in self.graph.transitions:
            if row.trigger == trigger and row.source == self.state:
                return row
        raise TransitionError(trigger, self.state, self.allowed())

    @contextmanager
    def _journalled(self, row: Transition) -> Iterator[None]:
        began, at, outcome = time.perf_counter(), datetime.now(UTC).isoformat(), "bug"
        rulebook = self.configuration.rulebook
        tables = tuple(name for name in rulebook.ruleset.order if rulebook.ruleset.tables[name].stage in row.stages)
        try:
            yield
            outcome = "done"
        except CompozyError as error:
            outcome = error.id
            raise
        except (KeyboardInterrupt, SystemExit):
            outcome = "interrupted"
            raise
        finally:
            took = time.perf_counter() - began
            entry = JournalEntry(row.source, row.target, row.trigger, at, took, rulebook.digest, tables, outcome)
            self.journal = (*self.journal, entry)
            log_transition(entry)

    def _enter(self, row: Transition, records: Records) -> None:
        """Take state and records over together; what was started does not outlive a failure here."""
        before = self.records
        try:
            self.records = records
            self._model.trigger(row.trigger)
        except BaseException:
            self.records = before
            if records.runtime is not None and records.runtime is not before.runtime:
                records.runtime.owner = None
                records.runtime.close(0)
            raise

    def _resolve(self, row: Transition) -> Records:
        facts = self._facts if self._facts is not None else probe_facts(self.configuration.rulebook.registry)
        return Records(resolved=resolve(self.configuration, facts, row.stages))

    def _validate(self, row: Transition) -> Records:
        return replace(self.records, validated=Validated(self.resolved, self._checked(row)))

    def _provision(self, row: Transition) -> Records:
        self._checked(row)
        runtime = self.provisioner(self.resolved)
        runtime.owner = self.release  # who closes the runtime itself, as a `with` block does, releases it here
        return replace(self.records, runtime=runtime)

    def _checked(self, row: Transition) -> tuple[Finding, ...]:
        """Return the findings of the tables that decide the transition, unless one of them stops it."""
        findings = promoted(validate(self.resolved, row.stages), strict=self.strict)
        stopping = errors(findings)
        if stopping:
            raise ConfigurationError(findings, len(stopping), self.configuration.texts)
        return findings

    def _release(self, row: Transition) -> Records:
        self._stop()
        return replace(self.records, runtime=None)

    def _release_and_forget(self, row: Transition) -> Records:
        self._stop()
        return Records()

    def _stop(self) -> None:
        """Stop the components; a runtime that did not stop is still ours."""
        runtime = self.runtime
        runtime.owner = None
        try:
            runtime.close(self._grace_s)
        except BaseException:
            runtime.owner = self.release
            raise

    def _forget(self, row: Transition) -> Records:
        return Records()


class _Model:
    """What `transitions` puts its state and triggers on."""

    state: str
    trigger: Any


def _provision(resolved: Resolved) -> Runtime:
    from compozy.provisioning.plan import make_plan
    from compozy.provisioning.provision import provision

    return provision(make_plan(resolved))
