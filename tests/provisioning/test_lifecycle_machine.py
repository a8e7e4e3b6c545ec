"""The state machine is the one of `transitions`: guards, steps, journal and locking are its callbacks and its lock."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compozy.errors import ConfigurationError, TransitionError
from compozy.provisioning.lifecycle import Lifecycle
from compozy.resolution.configuration import load_configuration
from compozy.rulebook import load_rulebook
from compozy.rulebook.states import STEPS

FACTS = {"valkey.binary": "found"}
APPROVAL = """
states:
  - {id: approved, about: "The names are in use here."}
transitions:
  - {trigger: approve, from: validated, to: approved, step: check, stages: [approval], because: "the audit agrees"}
  - {trigger: provision, from: approved, to: provisioned, step: provision, replaces: provision from validated,
     stages: [provision], because: "every driver is up"}
  - {trigger: reset, from: approved, to: unresolved, step: forget, because: "back to the sources"}
"""
GUARD = """
table: approval.name
stage: approval
hit: collect
inputs: {version: {setting: version}}
rows:
  - id: draft
    when: {version: "0.0.0"}
    finding: {severity: SEVERITY, key: version, text: "version 0.0.0 is not approved", good: {version: "0.1.0"},
              bad: {version: "0.0.0"}}
    because: x
"""


class FakeRuntime:
    """Stands for started components."""

    def stop(self, grace_s: float = 10.0) -> None:
        """Stop nothing."""

    def abandon(self) -> None:
        """Stop nothing."""


def lifecycle(directory: Path, *packs: Path, threads: bool = True, **flags: str) -> Lifecycle:
    folders = tuple(str(pack) for pack in packs)
    configuration = load_configuration(directory=str(directory), flags=flags, environment={}, packs=folders)
    start: Any = lambda resolved, release: FakeRuntime()  # noqa: E731 - the machine has a runtime of any kind
    return Lifecycle(configuration, facts=FACTS, provisioner=start, threads=threads)


class Word:
    """A machine that has the library's names and keeps one word: it calls no guard, no step and no journal."""

    def __init__(self, *, states: list[str], initial: str, transitions: list[dict[str, Any]], **_: Any) -> None:
        self.events = {row["trigger"]: row for row in transitions}
        self.targets = {(row["source"], row["trigger"]): row["dest"] for row in transitions}
        self.initial = initial

    def add_model(self, model: Any) -> None:
        model.state = self.initial
        model.trigger = lambda trigger, _: self.move(model, trigger)

    def move(self, model: Any, trigger: str) -> bool:
        target = self.targets.get((model.state, trigger))
        model.state = target or model.state
        return target is not None


def runs_steps(walked: Lifecycle) -> bool:
    return walked.resolve().mode == "memory"


def keeps_journal(walked: Lifecycle) -> bool:
    walked.fire("resolve")
    return [entry.outcome for entry in walked.journal] == ["done"]


def refuses_at_guard(walked: Lifecycle) -> bool:
    walked.configuration = load_configuration(
        directory=walked.configuration.inputs.directory, flags={"mode": "foo"}, environment={}
    )
    try:
        walked.fire("resolve")
        walked.fire("validate")
    except ConfigurationError:
        return walked.state == "resolved"
    return False


def refuses_from_wrong_state(walked: Lifecycle) -> bool:
    try:
        walked.fire("provision")
    except TransitionError:
        return walked.journal == ()
    return False


BEHAVIOURS = [runs_steps, keeps_journal, refuses_at_guard, refuses_from_wrong_state]


@pytest.mark.parametrize("threads", [True, False])
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_machine_of_the_library_behaves(behaviour: Callable[[Lifecycle], bool], threads: bool, tmp_path: Path) -> None:
    assert behaviour(lifecycle(tmp_path, threads=threads))


@pytest.mark.parametrize("threads", [True, False])
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_stub_without_the_library_fails_every_behaviour(
    behaviour: Callable[[Lifecycle], bool], threads: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the library none of the behaviours remains: the engine has no second state machine."""
    monkeypatch.setattr("transitions.Machine", Word)
    monkeypatch.setattr("transitions.extensions.locking.LockedMachine", Word)
    try:
        found = behaviour(lifecycle(tmp_path, threads=threads))
    except (TransitionError, ConfigurationError):
        found = False
    assert not found


def test_lock_of_the_library_keeps_other_threads_out(tmp_path: Path) -> None:
    """A trigger waits at the machine while its lock is held, and runs afterwards."""
    walked = lifecycle(tmp_path)
    arrived, returned = threading.Event(), list[Any]()

    @contextlib.contextmanager
    def announce() -> Iterator[None]:
        arrived.set()
        yield

    walked._machine.model_context_map[id(walked._model)].insert(0, announce())
    waiting = threading.Thread(target=lambda: returned.append(walked.resolve()))
    with walked._machine.machine_context[0]:
        waiting.start()
        assert arrived.wait(10)
        assert (returned, walked.state) == ([], "unresolved")
    waiting.join(10)
    assert walked.state == "resolved"


def test_machine_has_the_rows_of_the_lifecycle(tmp_path: Path) -> None:
    """The picture is drawn from the rows, so the library must hold the same graph."""
    walked = lifecycle(tmp_path)
    rows = {(row.source, row.target) for row in load_rulebook().lifecycle.transitions}
    assert {(one.source, one.dest) for one in walked._machine.get_transitions()} == rows
    assert set(walked._machine.states) == set(walked.graph.states)


@pytest.fixture
def approval(tmp_path: Path) -> Path:
    """A pack with a state, two transitions and a guard table of its own."""
    pack = tmp_path / "approval"
    pack.mkdir()
    (pack / "lifecycle.yaml").write_text(APPROVAL)
    (pack / "guard.yaml").write_text(GUARD.replace("SEVERITY", "error"))
    return pack


def test_transition_of_a_pack_is_taken_on_the_way(approval: Path, tmp_path: Path) -> None:
    """Provisioning resolves, validates and approves first; release returns to the state of the shipped row."""
    walked = lifecycle(tmp_path, approval)
    walked.provision()
    assert [entry.trigger for entry in walked.journal] == ["resolve", "validate", "approve", "provision"]
    assert walked.journal[2].tables == ("approval.name",)
    walked.release()
    assert walked.state == "validated"


def test_guard_table_of_a_pack_refuses_its_transition_alone(approval: Path, tmp_path: Path) -> None:
    walked = lifecycle(tmp_path, approval, version="0.0.0")
    walked.validate()
    with pytest.raises(ConfigurationError, match="version 0.0.0 is not approved"):
        walked.provision()
    assert (walked.state, walked.journal[-1].trigger, walked.journal[-1].outcome) == (
        "validated", "approve", "configuration.invalid",
    )  # fmt: skip


def test_warning_of_a_guard_table_joins_the_findings(approval: Path, tmp_path: Path) -> None:
    (approval / "guard.yaml").write_text(GUARD.replace("SEVERITY", "warning"))
    walked = lifecycle(tmp_path, approval, version="0.0.0")
    walked.provision()
    assert [finding.id for finding in walked.findings] == ["draft"]


def test_every_step_of_the_rows_is_built(tmp_path: Path) -> None:
    """A row with any known step makes a machine; STEPS and the callbacks are the same list."""
    pack = tmp_path / "all"
    pack.mkdir()
    rows = [
        f"  - {{trigger: t{at}, from: {'provisioned' if step.needs == {'runtime'} else 'validated'}, "
        f"to: {target}, step: {name}, because: x}}"
        for at, (name, step) in enumerate(STEPS.items())
        for target in [
            "provisioned" if "runtime" in step.makes else "resolved" if name == "resolve"
            else "unresolved" if "forget" in name else "validated"
        ]
    ]  # fmt: skip
    (pack / "all.yaml").write_text("transitions:\n" + "\n".join(rows))
    walked = lifecycle(tmp_path, pack)
    assert {f"t{at}" for at in range(len(STEPS))} <= set(walked._machine.events)
