"""The state machine of `rules/lifecycle.yaml`, run by `transitions`: every transition is a transaction.

State and records change together, by one assignment after guards and step have succeeded. When either fails, both
stay as they are and everything that the step started is stopped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from compozy.base.findings import Finding
from compozy.base.interruption import held, raise_noted
from compozy.base.record import dataclass
from compozy.errors import CompozyError, ConfigurationError, TransitionError
from compozy.resolution.configuration import Configuration
from compozy.resolution.resolve import Resolved, resolve
from compozy.resolution.validate import Validated, errors, promoted, validate
from compozy.rulebook.states import Transition
from compozy.settings.machine import probe_facts

if TYPE_CHECKING:
    from transitions import Machine
    from transitions.core import EventData

    from compozy.provisioning.provision import Runtime

__all__ = ["JournalEntry", "Lifecycle", "Provisioner", "Records", "Transition"]

log = logging.getLogger("compozy.lifecycle")

GRACE_S = 10.0


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
    """The results of the lifecycle's steps so far."""

    resolved: Resolved | None = None
    validated: Validated | None = None
    runtime: Runtime | None = None


def log_transition(entry: JournalEntry) -> None:
    """Log one transition that was tried."""
    facts = {"source": entry.source, "target": entry.target, "trigger": entry.trigger}
    timing = {"outcome": entry.outcome, "duration_s": round(entry.duration_s, 4)}
    log.info("lifecycle.transition", extra={**facts, **timing})


Release = Callable[[float], None]
# Starts the components of a configuration; closing the runtime calls the second argument with the grace in seconds.
Provisioner = Callable[[Resolved, Release], "Runtime"]


class _Model:
    """The model of `transitions`: setting its state also adopts the records of the step."""

    trigger: Callable[..., bool]

    def __init__(self) -> None:
        self.next = Records()
        self.present = ("", self.next)

    @property
    def state(self) -> str:
        """The present state."""
        return self.present[0]

    @state.setter
    def state(self, value: str) -> None:
        self.present = (value, self.next)


@dataclass(slots=True)
class _Attempt:
    """One trigger that was fired: the row it chose, when that began, and what its guards found."""

    grace_s: float
    row: Transition | None = None
    at: str = ""
    began: float = 0.0
    findings: tuple[Finding, ...] = ()


class Lifecycle:
    """Drives one configuration through its states; the triggers are its methods.

    `facts` are the machine facts (probed when None); `strict` makes warnings stop; `provisioner` starts the
    components (the real one when None). One transition runs at a time, across all threads; without `threads` all of
    them must come from one, and asyncio, which the library's locked machine imports, is not loaded.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        facts: Mapping[str, str] | None = None,
        strict: bool = False,
        provisioner: Provisioner | None = None,
        threads: bool = True,
    ) -> None:
        self.configuration = configuration
        self.strict = strict
        self.journal: tuple[JournalEntry, ...] = ()
        self.graph = configuration.rulebook.lifecycle
        self._facts = facts
        self._provisioner = provisioner or _provision
        # Reentrant, because `_walk_to` holds it over several transitions, so that no other thread comes in between.
        self._turn = threading.RLock()
        self._rows = {(row.source, row.trigger): row for row in self.graph.transitions}
        self._model = _Model()
        self._machine = self._make_machine(threads)
        self._machine.add_model(self._model)

    def _make_machine(self, threads: bool) -> Machine:
        steps: Mapping[str, Callable[[EventData], None]] = {
            "resolve": self._resolve,
            "validate": self._validate,
            "check": self._check,
            "provision": self._provision,
            "release": self._release,
            "release-and-forget": self._release_and_forget,
            "forget": self._forget,
        }
        parts: dict[str, Any] = {
            "model": None,
            "states": list(self.graph.states),
            "initial": self.graph.initial,
            "transitions": [
                {
                    "trigger": row.trigger, "source": row.source, "dest": row.target,
                    "conditions": [self._is_unguarded] if row.guards else [], "before": steps[row.step],
                }
                for row in self.graph.transitions
            ],
            "auto_transitions": False,
            "send_event": True,
            "prepare_event": self._begin,
            "on_exception": self._fail,
            "finalize_event": self._end,
        }  # fmt: skip
        if not threads:
            from transitions import Machine

            return Machine(**parts)
        from transitions.extensions.locking import LockedMachine

        # The stubs want a context whose value is None; that of a lock is True.
        return LockedMachine(machine_context=[self._turn], **parts)  # type: ignore[list-item]

    @property
    def state(self) -> str:
        """The present state."""
        return self._model.state

    @property
    def records(self) -> Records:
        """The records of the present state."""
        return self._model.present[1]

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
        if self.records.validated is None:
            raise TransitionError("validate", self.state, self.allowed())
        return self.records.validated

    def provision(self) -> Runtime:
        """Start or reach every component, resolved and validated first where that was not done.

        Raises:
            ConfigurationError: a finding stops; it carries all of them.
            ProvisionError: a component failed; the started components are stopped again.
            TransitionError: the components are provisioned.
        """
        self._walk_to("provision")
        return self.runtime

    def _walk_to(self, trigger: str) -> None:
        """Run the transitions that lead to a state that allows `trigger`, then fire it."""
        with self._turn:
            for step in self.graph.way(self.state, trigger):
                self.fire(step)
            self.fire(trigger)

    def release(self, grace_s: float = GRACE_S) -> None:
        """Stop everything, back to `validated`; `grace_s` 0 stops at once.

        Raises:
            TransitionError: nothing is provisioned.
            DriverError: a component did not stop; the others did, and `release` may be tried again.
        """
        self.fire("release", grace_s)

    def reset(self, grace_s: float = GRACE_S) -> None:
        """Forget everything, back to `unresolved`; what runs is released first.

        Raises:
            TransitionError: the state is `unresolved` already.
            DriverError: a component did not stop; the others did, and `reset` may be tried again.
        """
        self.fire("reset", grace_s)

    def allowed(self) -> tuple[str, ...]:
        """Return the triggers that the present state allows."""
        return tuple(row.trigger for row in self.graph.leaving(self.state))

    def fire(self, trigger: str, grace_s: float = GRACE_S) -> None:
        """Run one transition as a transaction and journal it with its outcome.

        Raises:
            TransitionError: the present state has no row for `trigger`.
            ConfigurationError: a finding of the tables that guard the transition stops it; it carries all of them.
            CompozyError: the step failed; state and records are what they were.
        """
        attempt = _Attempt(grace_s)
        if trigger not in self._machine.events:
            raise TransitionError(trigger, self.state, self.allowed())
        # The library would replace an interrupt, and what a step has started would have no owner yet.
        with held():
            done = self._model.trigger(trigger, attempt)
        if not done:
            raise ConfigurationError(attempt.findings, len(errors(attempt.findings)), self.configuration.texts)

    # The callbacks of the machine, which its lock covers, in the order in which the library calls them.

    def _begin(self, event: EventData) -> None:
        attempt = _attempt(event)
        # The records as they are: a step that fails before it sets new ones changes nothing.
        self._model.next = self.records
        attempt.row = self._row(event)
        attempt.began, attempt.at = time.perf_counter(), datetime.now(UTC).isoformat()

    def _row(self, event: EventData) -> Transition:
        return self._rows[event.state.name, event.event.name]

    def _is_unguarded(self, event: EventData) -> bool:
        """Return True unless a finding of the tables that guard the transition stops it."""
        attempt = _attempt(event)
        attempt.findings = promoted(validate(self.resolved, self._row(event).guards), strict=self.strict)
        return not errors(attempt.findings)

    def _resolve(self, event: EventData) -> None:
        facts = self._facts if self._facts is not None else probe_facts(self.configuration.rulebook.registry)
        self._model.next = Records(resolved=resolve(self.configuration, facts, self._row(event).stages))

    def _validate(self, event: EventData) -> None:
        self._model.next = replace(self.records, validated=Validated(self.resolved, _attempt(event).findings))

    def _check(self, event: EventData) -> None:
        found = dict.fromkeys((*self.findings, *_attempt(event).findings))
        self._model.next = replace(self.records, validated=Validated(self.resolved, tuple(found)))

    def _provision(self, _: object) -> None:
        self._model.next = replace(self.records, runtime=self._provisioner(self.resolved, self.release))
        # The runtime has an owner now: an interrupt noted during the start is raised here, and `_fail` stops the
        # components.
        raise_noted()

    def _release(self, event: EventData) -> None:
        self.runtime.stop(_attempt(event).grace_s)
        self._model.next = replace(self.records, runtime=None)

    def _release_and_forget(self, event: EventData) -> None:
        self.runtime.stop(_attempt(event).grace_s)
        self._model.next = Records()

    def _forget(self, _: object) -> None:
        self._model.next = Records()

    def _fail(self, event: EventData) -> None:
        """Stop what the step started for a state that was not entered, then raise what happened."""
        # `_begin` did not run: the library found no transition from the present state.
        if _attempt(event).row is None:
            raise TransitionError(event.event.name, self.state, self.allowed())
        # The library has not entered the state, so no record refers to the components; nothing else would stop them.
        started = self._model.next.runtime
        if started is not None and started is not self.records.runtime:
            started.abandon()
        if event.error is not None:
            raise event.error

    def _end(self, event: EventData) -> None:
        attempt, rulebook = _attempt(event), self.configuration.rulebook
        row = attempt.row
        if row is None:
            return
        tables = tuple(name for name in rulebook.ruleset.order if rulebook.ruleset.tables[name].stage in row.stages)
        took, outcome = time.perf_counter() - attempt.began, _outcome(event)
        entry = JournalEntry(row.source, row.target, row.trigger, attempt.at, took, rulebook.digest, tables, outcome)
        # A new tuple each time: readers of other threads keep a consistent journal without a lock.
        self.journal = (*self.journal, entry)
        log_transition(entry)


def _attempt(event: EventData) -> _Attempt:
    attempt: _Attempt
    (attempt,) = event.args
    return attempt


def _outcome(event: EventData) -> str:
    if event.error is None:
        return "done" if event.result else ConfigurationError.id
    if isinstance(event.error, CompozyError):
        return event.error.id
    return "interrupted" if isinstance(event.error, KeyboardInterrupt | SystemExit) else "bug"


def _provision(resolved: Resolved, release: Release) -> Runtime:
    from compozy.provisioning.provision import provision_components

    return provision_components(resolved, release)
