"""Start every step of a plan or none: order, parallelism, timeouts, rollback."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from tests.support.provisioning import (
    PATIENCE_S,
    Events,
    Script,
    fail,
    hang,
    no_threads_left,
    plan,
    press_ctrl_c,
    step,
    wait_for_the_end,
)

from compozy.drivers.protocol import StartContext
from compozy.errors import DriverError, ProvisionError, ProvisionErrors, RuleTableError
from compozy.provisioning import provision as module
from compozy.provisioning import runtime as runtime_module
from compozy.provisioning.provision import provision
from compozy.provisioning.step import Step
from compozy.state.state_directory import LAYOUT


@pytest.fixture
def events() -> Events:
    return []


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time that a start waits after a failure."""
    monkeypatch.setattr(module, "SETTLE_S", 0.2)
    monkeypatch.setattr(module, "SLACK_S", 0.2)


def started(events: Events) -> list[str]:
    return [name for verb, name in events if verb == "started"]


def stopped(events: Events) -> list[str]:
    return [name for verb, name in events if verb == "stopped"]


def test_driver_gets_the_handles_of_its_needs_only(events: Events) -> None:
    found: list[object] = []

    def start(context: StartContext) -> None:
        found.append((context.component, context.handle("a")))
        with pytest.raises(DriverError, match="b is not provisioned"):
            context.handle("b")

    scripts = [Script(events, "a"), Script(events, "b"), Script(events, "c", on_start=start)]
    with provision(plan(step(scripts[0]), step(scripts[1]), step(scripts[2], "a"))):
        assert found == [("c", "handle of a")]


def test_steps_without_order_start_at_the_same_time(events: Events) -> None:
    """Each waits for the other; one after the other they would never be up."""
    meeting = threading.Barrier(2)
    scripts = [Script(events, name, on_start=lambda context: void(meeting.wait(PATIENCE_S))) for name in ("a", "b")]
    with provision(plan(*map(step, scripts))):
        assert sorted(started(events)) == ["a", "b"]


def void(value: object) -> None:
    """Forget a value."""


def test_step_starts_after_its_needs(events: Events) -> None:
    """For any order in the plan."""
    mailer, queue, store = (Script(events, name) for name in ("mailer", "queue", "store"))
    with provision(plan(step(mailer, "queue"), step(queue, "store"), step(store))):
        assert started(events) == ["store", "queue", "mailer"]


def test_components_of_a_pack_have_their_handle(events: Events) -> None:
    """The code is independent of the three components of the product."""
    with provision(plan(step(Script(events, "mailer")))) as runtime:
        assert runtime.component("mailer").handle == "handle of mailer"


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        pytest.param(("ghost",), "a needs ghost", id="unknown"),
        pytest.param(("a",), "a needs a", id="circle"),
    ],
)
def test_unsatisfiable_needs_start_nothing(events: Events, needs: tuple[str, ...], expected: str) -> None:
    """It is a fault of the rules, found before anything is started."""
    with pytest.raises(RuleTableError, match=expected):
        provision(plan(step(Script(events, "a"), *needs)))
    assert events == []


@pytest.mark.parametrize(
    ("factory", "options"),
    [
        pytest.param("no.such.module:Driver", {}, id="module"),
        pytest.param("tests.support.provisioning:NoSuchDriver", {}, id="class"),
        pytest.param("tests.support.provisioning:ScriptedDriver", {"colour": "red"}, id="options"),
        pytest.param("tests.support.provisioning", {}, id="no-class"),
    ],
)
def test_incompatible_factory_starts_nothing(events: Events, factory: str, options: dict[str, str]) -> None:
    """The error names the provision row; the other steps are not started."""
    broken = Step("broken", "scripted", "row-broken", factory, options, (), PATIENCE_S)
    with pytest.raises(RuleTableError, match="provision row row-broken"):
        provision(plan(step(Script(events, "a")), broken))
    assert events == []


def test_failure_stops_started_components_in_reverse(events: Events) -> None:
    """The error names component, row, reason and what to do."""
    a, b, c = Script(events, "a"), Script(events, "b"), Script(events, "c", on_start=fail("disk full"))
    with no_threads_left(), pytest.raises(ProvisionError) as caught:
        provision(plan(step(a), step(b, "a"), step(c, "b")))
    assert str(caught.value) == (
        "c could not be provisioned (driver scripted, rule row row-c): disk full\nfix: mend disk full"
    )
    assert stopped(events) == ["c", "b", "a"]
    assert a.graces == [0]


def test_failed_stop_does_not_prevent_the_others(events: Events) -> None:
    """The rollback continues, and the first failure is reported."""

    def refuse(grace_s: float) -> None:
        raise DriverError("it does not let go")

    a, b, c = Script(events, "a"), Script(events, "b", on_stop=refuse), Script(events, "c", on_start=fail("no"))
    with pytest.raises(ProvisionError, match="c could not be provisioned"):
        provision(plan(step(a), step(b, "a"), step(c, "b")))
    assert stopped(events) == ["c", "b", "a"]


def test_all_failures_are_named(events: Events) -> None:
    """All failures are reported at once, each with driver, row, reason and fix."""
    a, b = Script(events, "a", on_start=fail("refused")), Script(events, "b", on_start=fail("unknown host"))
    with pytest.raises(ProvisionErrors) as caught:
        provision(plan(step(a), step(b)))
    assert str(caught.value) == (
        "2 components could not be provisioned\n"
        "  a (driver scripted, rule row row-a): refused\n"
        "    fix: mend refused\n"
        "  b (driver scripted, rule row row-b): unknown host\n"
        "    fix: mend unknown host"
    )
    assert ([failure.component for failure in caught.value.failures], caught.value.exit_code) == (["a", "b"], 4)


def test_cancelled_step_is_not_counted_as_failed(events: Events) -> None:
    """It gets a moment to fail as well, then it is stopped and named apart from the failures."""
    a, b = Script(events, "a", on_start=fail("refused")), Script(events, "b", on_start=wait_for_the_end)
    with no_threads_left(), pytest.raises(ProvisionErrors) as caught:
        provision(plan(step(a), step(b)))
    assert str(caught.value) == (
        "1 component could not be provisioned\n"
        "  a (driver scripted, rule row row-a): refused\n"
        "    fix: mend refused\n"
        "  b: its start was cancelled before it was ready"
    )
    assert ([failure.component for failure in caught.value.failures], caught.value.cancelled) == (["a"], ("b",))
    assert sorted(stopped(events)) == ["a", "b"]


def test_a_step_has_its_own_timeout(events: Events) -> None:
    """The others' does not matter."""
    slow = Script(events, "slow", on_start=wait_for_the_end)
    with pytest.raises(ProvisionError, match="slow could not be provisioned"):
        provision(plan(step(slow, timeout_s=0.05), step(Script(events, "a"))))
    assert sorted(stopped(events)) == ["a", "slow"]


def test_one_timeout_bounds_the_whole_start(events: Events) -> None:
    """It wins over a longer one of a step."""
    with pytest.raises(ProvisionError, match="it was not ready in time"):
        provision(plan(step(Script(events, "slow", on_start=wait_for_the_end))), timeout_s=0.05)


def test_hanging_driver_does_not_hang_the_start(events: Events) -> None:
    """A driver that ignores its deadline is abandoned."""
    with pytest.raises(ProvisionError, match="it was not ready in time"):
        provision(plan(step(Script(events, "stuck", on_start=hang), timeout_s=0.05)))
    assert stopped(events) == ["stuck"]


def test_driver_hanging_in_start_and_stop_does_not_hang_the_start(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One lock held by its start is enough for that; the others are stopped all the same."""
    monkeypatch.setattr(runtime_module, "UNDO_S", 0.05)
    held = threading.Lock()

    def hang_with_the_lock(context: StartContext) -> None:
        with held:
            hang(context)

    def stop_with_the_lock(grace_s: float) -> None:
        with held:
            pass

    a = Script(events, "a")
    b = Script(events, "b", on_start=hang_with_the_lock, on_stop=stop_with_the_lock)
    with pytest.raises(ProvisionError, match="it was not ready in time"):
        provision(plan(step(a), step(b, "a", timeout_s=0.05)))
    assert stopped(events) == ["b", "a"]


def test_exception_of_a_pack_driver_names_its_component(events: Events) -> None:
    """Everything is stopped, and the exception is the cause."""

    def stumble(context: StartContext) -> None:
        raise ZeroDivisionError

    a, b = Script(events, "a"), Script(events, "b", on_start=stumble)
    with no_threads_left(), pytest.raises(ProvisionError, match="b .*row-b.*: its start raised ZeroDivisionError"):
        provision(plan(step(a), step(b, "a")))
    assert stopped(events) == ["b", "a"]


def test_an_interrupted_start_is_rolled_back(events: Events) -> None:
    """Ctrl-C while starting stops what was started and what was about to be."""
    a, b = Script(events, "a"), Script(events, "b", on_start=press_ctrl_c)
    # A test run that was started in the background inherits an ignored SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with no_threads_left(), pytest.raises(KeyboardInterrupt):
            provision(plan(step(a), step(b, "a")))
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped(events) == ["b", "a"]


def test_notices_of_drivers_reach_the_caller(events: Events) -> None:
    """A moved port, for one."""
    notices: list[str] = []
    with provision(
        plan(step(Script(events, "a", on_start=lambda context: context.notice("moved")))), notice=notices.append
    ):
        assert notices == ["moved"]


def test_the_state_directory_is_ours_while_we_run(events: Events, tmp_path: Path) -> None:
    """A second start is refused with our process id, before any driver starts; afterwards it is free."""
    state = str(tmp_path / ".compozy")
    with provision(plan(step(Script(events, "a")), state_dir=state)) as runtime:
        assert runtime.state_dir == state
        assert (tmp_path / ".compozy" / "lock").read_text() == f"{os.getpid()}\n"
        with pytest.raises(ProvisionError, match=f"in use by process {os.getpid()}"):
            provision(plan(step(Script(events, "b")), state_dir=state))
        assert started(events) == ["a"]
    assert not (tmp_path / ".compozy" / "lock").exists()
    provision(plan(step(Script(events, "c")), state_dir=state)).close()


def test_a_failed_first_start_leaves_no_state_directory(events: Events, tmp_path: Path) -> None:
    """The directory that this start created is removed, with its contents."""
    state = tmp_path / ".compozy"
    writer = Script(events, "a", on_start=lambda context: void((state / "compozy.db").write_text("data")))
    with pytest.raises(ProvisionError):
        provision(plan(step(writer), step(Script(events, "b", on_start=fail("no")), "a"), state_dir=str(state)))
    assert list(tmp_path.iterdir()) == []


def test_failed_start_keeps_earlier_data(events: Events, tmp_path: Path) -> None:
    """A state directory of earlier is never removed; only the lock goes."""
    state = tmp_path / ".compozy"
    provision(plan(step(Script(events, "a")), state_dir=str(state))).close()
    (state / "compozy.db").write_text("data")
    with pytest.raises(ProvisionError):
        provision(plan(step(Script(events, "b", on_start=fail("no"))), state_dir=str(state)))
    assert sorted(path.name for path in state.iterdir()) == [".gitignore", "compozy.db", "version"]


def test_a_newer_state_directory_is_refused_and_kept(events: Events, tmp_path: Path) -> None:
    """Its content is unchanged."""
    (tmp_path / ".compozy").mkdir()
    (tmp_path / ".compozy" / "version").write_text(f'{{"layout": {LAYOUT + 1}}}')
    with pytest.raises(ProvisionError, match="written by a newer Compozy"):
        provision(plan(step(Script(events, "a")), state_dir=str(tmp_path / ".compozy")))
    assert (events, [path.name for path in (tmp_path / ".compozy").iterdir()]) == ([], ["version"])
