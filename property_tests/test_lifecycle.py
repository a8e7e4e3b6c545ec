"""After any failures, in any order, the lifecycle's state, records, runtime and journal agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from property_tests.choices import Choice, configuration_of

from compozy.errors import CompozyError, ProvisionError, RuleTableError, TransitionError
from compozy.provisioning.lifecycle import Lifecycle
from compozy.resolution.resolve import Resolved
from compozy.rulebook import load_rulebook

# The contract's state machine, written a second time.
TARGETS = {
    ("unresolved", "resolve"): "resolved",
    ("resolved", "validate"): "validated",
    ("validated", "provision"): "provisioned",
    ("provisioned", "release"): "validated",
    ("provisioned", "reset"): "unresolved",
    ("validated", "reset"): "unresolved",
    ("resolved", "reset"): "unresolved",
}
HAS_RESOLVED = ("resolved", "validated", "provisioned")
HAS_VALIDATED = ("validated", "provisioned")
FAILURES = {"resolve": "rules.invalid", "validate": "configuration.invalid"}


@dataclass
class Runtime:
    """Stands for started components."""

    open: bool = True
    stubborn: bool = False

    def stop(self, grace_s: float = 10.0) -> None:
        self.open = False
        if self.stubborn:
            raise ProvisionError("redis", "did not stop")


@dataclass
class Facts(Mapping[str, str]):
    """Facts about a machine that may refuse to answer."""

    refuses: bool = False
    asked: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> str:
        if self.refuses:
            raise RuleTableError.of(f"machine fact {name}: no answer")
        return "found"

    def __iter__(self) -> Iterator[str]:
        return iter(("valkey.binary",))

    def __len__(self) -> int:
        return 1


class Walk(RuleBasedStateMachine):
    """Fires triggers, with and without a failing step, and keeps a model beside."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = Facts()
        self.started: list[Runtime] = []
        self.fails = False
        self.model = "unresolved"
        self.journal: list[tuple[str, str, str, str]] = []
        # A file in memory mode is a warning: whether it stops is a switch.
        configuration = configuration_of(load_rulebook(), Choice({"database.path": "kept.db"}))
        self.lifecycle = Lifecycle(configuration, facts=self.facts, provisioner=self.provision)

    def provision(self, _: Resolved, release: Any) -> Any:
        if self.fails:
            raise ProvisionError("temporal", "no answer", row="temporal-embedded")
        self.started.append(Runtime())
        return self.started[-1]

    @rule(trigger=st.sampled_from(["resolve", "validate", "provision", "release", "reset"]), fails=st.booleans())
    def fire(self, trigger: str, fails: bool) -> None:
        """Fire a trigger; with `fails`, its step fails if it can."""
        target = TARGETS.get((self.model, trigger))
        outcome = self.expected(trigger, fails) if target else ""
        self.prepare(fails)
        try:
            self.lifecycle.fire(trigger)
            seen = "done"
        except TransitionError:
            seen = ""
        except CompozyError as error:
            seen = error.id
        assert seen == outcome
        if target:
            self.journal.append((self.model, target, trigger, outcome))
            self.model = target if outcome == "done" else self.model

    def expected(self, trigger: str, fails: bool) -> str:
        if not fails or (trigger == "reset" and self.model != "provisioned"):
            return "done"
        return FAILURES.get(trigger, "provision.failed")

    def prepare(self, fails: bool) -> None:
        self.facts.refuses = self.lifecycle.strict = self.fails = fails
        for runtime in self.started:
            runtime.stubborn = fails

    @rule(word=st.text(max_size=8))
    def fire_a_trigger_that_nobody_knows(self, word: str) -> None:
        """An unknown trigger changes nothing."""
        if word in {trigger for _, trigger in TARGETS}:
            return
        with pytest.raises(TransitionError) as caught:
            self.lifecycle.fire(word)
        assert caught.value.state == self.model

    @invariant()
    def state_and_records_agree(self) -> None:
        """No state is half reached."""
        records = self.lifecycle.records
        assert self.lifecycle.state == self.model
        assert (records.resolved is not None) == (self.model in HAS_RESOLVED)
        assert (records.validated is not None) == (self.model in HAS_VALIDATED)
        assert (records.runtime is not None) == (self.model == "provisioned")

    @invariant()
    def only_the_present_runtime_may_be_open(self) -> None:
        """The remains of a failure or a release are closed."""
        present: Any = self.lifecycle.records.runtime
        assert [runtime for runtime in self.started if runtime.open and runtime is not present] == []

    @invariant()
    def the_journal_is_complete(self) -> None:
        """Every transition that was tried is there, in order, with its outcome."""
        seen = [(entry.source, entry.target, entry.trigger, entry.outcome) for entry in self.lifecycle.journal]
        assert seen == self.journal

    @invariant()
    def the_state_allows_what_the_contract_says(self) -> None:
        """Neither a door too many nor one too few."""
        assert set(self.lifecycle.allowed()) == {trigger for state, trigger in TARGETS if state == self.model}


TestLifecycle = Walk.TestCase
TestLifecycle.settings = settings(max_examples=60, stateful_step_count=25)
