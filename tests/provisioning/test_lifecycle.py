"""The state machine: transitions are transactions, and each one is journalled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from compozy.errors import ConfigurationError, ProvisionError, TransitionError
from compozy.provisioning.lifecycle import Lifecycle
from compozy.resolution.configuration import Configuration, load_configuration
from compozy.rulebook import build_rulebook, shipped_files

FACTS = {"valkey.binary": "found"}


@dataclass
class FakeRuntime:
    """Stands for started components; remembers how it was closed."""

    closed: list[float] = field(default_factory=list)
    failure: Exception | None = None

    def stop(self, grace_s: float = 10.0) -> None:
        self.closed.append(grace_s)
        if self.failure is not None:
            raise self.failure

    def abandon(self) -> None:
        self.closed.append(0)


def configured(directory: Path, **flags: str) -> Configuration:
    return load_configuration(directory=str(directory), flags=flags, environment={})


def lifecycle(directory: Path, start: Callable[[], Any] = FakeRuntime, /, **flags: str) -> Lifecycle:
    return Lifecycle(configured(directory, **flags), facts=FACTS, provisioner=lambda _, release: start())


def provisioned(directory: Path, runtime: FakeRuntime) -> Lifecycle:
    found = lifecycle(directory, lambda: runtime)
    found.resolve()
    found.validate()
    found.provision()
    return found


def test_the_triggers_lead_through_the_states(tmp_path: Path) -> None:
    """Resolve, validate, provision, release, reset: each leads to the state that its row specifies."""
    walked = lifecycle(tmp_path)
    states = []
    for trigger in (walked.resolve, walked.validate, walked.provision, walked.release, walked.reset):
        trigger()
        states.append(walked.state)
    assert states == ["resolved", "validated", "provisioned", "validated", "unresolved"]


def test_invalid_trigger_is_an_error_with_the_valid_ones(tmp_path: Path) -> None:
    """The error names the state and what is possible."""
    with pytest.raises(TransitionError) as caught:
        lifecycle(tmp_path).fire("provision")
    assert str(caught.value) == "cannot provision in state unresolved\nfix: possible now: resolve"


@pytest.mark.parametrize("steps", [[], ["resolve"], ["resolve", "validate"]])
def test_provision_takes_the_missing_steps(steps: list[str], tmp_path: Path) -> None:
    walked = lifecycle(tmp_path)
    for step in steps:
        walked.fire(step)
    walked.provision()
    assert walked.state == "provisioned"
    assert [entry.trigger for entry in walked.journal] == ["resolve", "validate", "provision"]


def test_validate_resolves_first(tmp_path: Path) -> None:
    walked = lifecycle(tmp_path)
    walked.validate()
    assert walked.state == "validated"


def test_provision_stops_at_a_finding_of_a_missing_step(tmp_path: Path) -> None:
    walked = lifecycle(tmp_path, mode="foo")
    with pytest.raises(ConfigurationError):
        walked.provision()
    assert walked.state == "resolved"


def test_provision_is_refused_while_provisioned(tmp_path: Path) -> None:
    walked = lifecycle(tmp_path)
    walked.provision()
    with pytest.raises(TransitionError, match="cannot provision in state provisioned"):
        walked.provision()


def test_error_finding_leaves_state_and_records(tmp_path: Path) -> None:
    """An invalid configuration stays resolved, without findings of a state that it never reached."""
    walked = lifecycle(tmp_path, mode="foo")
    resolved = walked.resolve()
    with pytest.raises(ConfigurationError):
        walked.validate()
    assert (walked.state, walked.resolved is resolved, walked.findings) == ("resolved", True, ())


def test_warnings_stop_only_when_strict(tmp_path: Path) -> None:
    """`strict` makes of a warning a reason to stay."""
    walked = lifecycle(tmp_path, **{"database.path": "kept.db"})
    assert not walked.strict
    walked.resolve()
    walked.strict = True
    with pytest.raises(ConfigurationError):
        walked.validate()
    walked.strict = False
    walked.validate()
    assert [finding.severity for finding in walked.findings] == ["warning"] * len(walked.findings) != []


def test_a_failed_start_leaves_the_state_validated(tmp_path: Path) -> None:
    """After any failure in the provisioner the state is unchanged and the start can be retried."""
    answers: list[Any] = [ProvisionError("redis", "no binary", row="valkey"), FakeRuntime()]

    def provisioner() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    walked = lifecycle(tmp_path, provisioner)
    walked.resolve()
    walked.validate()
    with pytest.raises(ProvisionError, match="rule row valkey"):
        walked.provision()
    assert (walked.state, walked.records.runtime) == ("validated", None)
    walked.provision()
    assert walked.state == "provisioned"


def interrupted(_: Any) -> None:
    raise KeyboardInterrupt


def test_runtime_is_stopped_when_the_state_is_not_entered(tmp_path: Path) -> None:
    """An interruption between the start and the new state leaves nothing running."""
    started = FakeRuntime()
    walked = lifecycle(tmp_path, lambda: started)
    walked.validate()
    walked._machine.get_state("validated").add_callback("exit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        walked.provision()
    assert (started.closed, walked.records.runtime, walked.journal[-1].outcome) == ([0], None, "interrupted")


def test_interrupted_release_leaves_state_and_records(tmp_path: Path) -> None:
    """It may be tried again, because closing is idempotent."""
    runtime: Any = FakeRuntime()
    walked = provisioned(tmp_path, runtime)
    callbacks = walked._machine.get_state("provisioned").on_exit
    callbacks.append(interrupted)
    with pytest.raises(KeyboardInterrupt):
        walked.release()
    assert (walked.state, walked.runtime) == ("provisioned", runtime)
    callbacks.clear()
    walked.release()
    assert walked.state == "validated"


def test_release_and_reset_close_with_the_given_grace(tmp_path: Path) -> None:
    """The seconds reach the runtime."""
    first, second = FakeRuntime(), FakeRuntime()
    provisioned(tmp_path, first).release(2.5)
    provisioned(tmp_path, second).reset(0)
    assert (first.closed, second.closed) == ([2.5], [0])


def test_failed_release_can_be_repeated(tmp_path: Path) -> None:
    """A failing release leaves the state; the next one succeeds."""
    runtime = FakeRuntime(failure=ProvisionError("redis", "did not stop"))
    walked = provisioned(tmp_path, runtime)
    with pytest.raises(ProvisionError):
        walked.release()
    assert walked.state == "provisioned"
    runtime.failure = None
    walked.release()
    assert walked.state == "validated"


def test_every_transition_is_journalled(tmp_path: Path) -> None:
    """From, to, trigger, rules, tables and outcome, also of one that failed."""
    walked = lifecycle(tmp_path, mode="foo")
    walked.resolve()
    with pytest.raises(ConfigurationError):
        walked.validate()
    assert [(e.source, e.target, e.trigger, e.outcome) for e in walked.journal] == [
        ("unresolved", "resolved", "resolve", "done"),
        ("resolved", "validated", "validate", "configuration.invalid"),
    ]
    rulebook = walked.configuration.rulebook
    assert {entry.rules for entry in walked.journal} == {rulebook.digest}
    assert all(entry.duration_s >= 0 and entry.at.endswith("+00:00") for entry in walked.journal)
    resolving = {name for name, table in rulebook.ruleset.tables.items() if table.stage == "resolve"}
    assert set(walked.journal[0].tables) == resolving


def test_a_refused_trigger_is_not_journalled(tmp_path: Path) -> None:
    """The journal holds transitions, and that was none."""
    walked = lifecycle(tmp_path)
    with pytest.raises(TransitionError):
        walked.release()
    assert walked.journal == ()


def test_result_of_a_state_not_reached_is_an_error(tmp_path: Path) -> None:
    """Records of a later state are not there yet."""
    walked = lifecycle(tmp_path)
    with pytest.raises(TransitionError, match="cannot read the resolution in state unresolved"):
        _ = walked.resolved
    with pytest.raises(TransitionError, match="cannot read the runtime"):
        _ = walked.runtime


def test_a_transition_evaluates_exactly_the_stages_of_its_row(tmp_path: Path) -> None:
    """Without the stage `validate` in its row, validating finds nothing; with it in `provision`, that one does."""
    texts = dict(shipped_files())
    name = "rules/lifecycle.yaml"
    texts[name] = (
        texts[name].replace("stages: [validate]", "stages: []").replace("stages: [provision]", "stages: [validate]")
    )
    configuration = configured(tmp_path, mode="foo")
    other = Configuration(
        configuration.inputs,
        configuration.layers,
        configuration.candidates,
        configuration.problems,
        build_rulebook(texts),
    )
    walked = Lifecycle(other, facts=FACTS, provisioner=cast("Any", lambda _, release: FakeRuntime()))
    walked.resolve()
    assert walked.validate().findings == ()
    with pytest.raises(ConfigurationError):
        walked.provision()
    assert walked.state == "validated"


def test_one_transition_runs_at_a_time(tmp_path: Path) -> None:
    """A trigger from another thread waits for the one that runs."""
    entered, go = threading.Event(), threading.Event()

    def provisioner() -> Any:
        entered.set()
        go.wait(10)
        return FakeRuntime()

    walked = lifecycle(tmp_path, provisioner)
    walked.resolve()
    walked.validate()
    threads = [threading.Thread(target=walked.provision), threading.Thread(target=walked.release)]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert [entry.trigger for entry in walked.journal][-2:] == ["provision", "release"]
