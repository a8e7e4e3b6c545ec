"""A provisioned runtime: health checks run in parallel, components close in reverse order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.polling import eventually
from tests.support.provisioning import PATIENCE_S, Events, Script, no_threads_left, plan, step

import compozy
from compozy.errors import DriverError, ProvisionError
from compozy.provisioning import runtime as module
from compozy.provisioning.lifecycle import Lifecycle
from compozy.provisioning.plan import make_plan
from compozy.provisioning.provision import provision
from compozy.resolution.configuration import load_configuration

FACTS = {"valkey.binary": "found"}


@pytest.fixture
def events() -> Events:
    return []


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """An event that hanging pings wait for; it comes with the end of the test."""
    released = threading.Event()
    yield released
    released.set()


def no_answer() -> None:
    refuse("away")


def refuse(reason: str) -> None:
    raise DriverError(reason)


def test_health_has_a_latency_or_an_error(events: Events) -> None:
    """Of every component, by its name."""
    well, ill = Script(events, "well"), Script(events, "ill")
    with provision(plan(step(well), step(ill))) as runtime:
        ill.on_ping = lambda: refuse("closed")
        health = runtime.health()
    assert (health["well"].healthy, health["well"].error) == (True, None)
    assert health["well"].latency_ms is not None
    assert (health["ill"].healthy, health["ill"].latency_ms, health["ill"].error) == (False, None, "closed")


@pytest.mark.parametrize(("failing", "asked"), [(2, 3), (3, 3)])
def test_start_survives_failed_health_checks_on_a_busy_machine(events: Events, failing: int, asked: int) -> None:
    """A component that never answers fails the start."""
    answers = [no_answer] * failing + [lambda: None]
    count = len(answers)
    script = Script(events, "busy", on_ping=lambda: answers.pop(0)())
    if failing == asked:
        with pytest.raises(ProvisionError, match="it has started, but does not answer: away"):
            provision(plan(step(script)))
    else:
        provision(plan(step(script))).close(0)
    assert count - len(answers) == asked


def test_components_are_asked_at_the_same_time(events: Events) -> None:
    """Two pings that wait for each other both succeed."""
    meeting = threading.Barrier(2)

    def meet() -> None:
        meeting.wait(PATIENCE_S)

    with provision(plan(*(step(Script(events, name, on_ping=meet)) for name in ("a", "b")))) as runtime:
        assert [part.healthy for part in runtime.health().values()] == [True, True]


def test_hanging_ping_is_unhealthy_and_not_repeated(
    events: Events, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported within its timeout, and the next health check does not start another thread."""
    monkeypatch.setattr(module, "PING_S", 0.05)
    asked: list[int] = []

    def hang() -> None:
        asked.append(1)
        stuck.wait(PATIENCE_S)

    script = Script(events, "a")
    with provision(plan(step(script))) as runtime:
        script.on_ping = hang
        looks = [runtime.health()["a"] for _ in range(3)]
        assert [(look.healthy, look.error) for look in looks] == [(False, "no answer within 0.05 s")] * 3
        assert asked == [1]
        stuck.set()


def test_recovered_component_is_healthy_again(events: Events) -> None:
    """Health is asked anew each time."""
    answers: Iterator[Callable[[], None]] = iter([no_answer, lambda: None])
    script = Script(events, "a")
    with provision(plan(step(script))) as runtime:
        script.on_ping = lambda: next(answers)()
        assert [runtime.health()["a"].healthy for _ in range(2)] == [False, True]


def test_outage_is_logged_when_it_begins_and_ends(events: Events, caplog: pytest.LogCaptureFixture) -> None:
    """At the default level, and once, however often health is asked."""
    answers: Iterator[Callable[[], None]] = iter([no_answer, no_answer, lambda: None, lambda: None])
    script = Script(events, "a")
    with provision(plan(step(script))) as runtime:
        script.on_ping = lambda: next(answers)()
        for _ in range(4):
            runtime.health()
    logged = [(record.levelno, record.getMessage()) for record in caplog.records if record.name == "compozy.provision"]
    assert logged == [(logging.WARNING, "component.down"), (logging.WARNING, "component.up")]


def test_health_omits_the_text_of_a_foreign_error(events: Events) -> None:
    """It may hold a secret; its kind is enough."""

    def stumble() -> None:
        raise ValueError("password=hunter2")

    script = Script(events, "a")
    with provision(plan(step(script))) as runtime:
        script.on_ping = stumble
        error = str(runtime.health()["a"].error)
    assert error.startswith(f"its ping raised ValueError ({__file__}:")
    assert "hunter2" not in error


def test_close_stops_in_reverse_with_the_grace(events: Events) -> None:
    """The component started last is stopped first."""
    a, b = Script(events, "a"), Script(events, "b")
    with no_threads_left():
        provision(plan(step(a), step(b, "a"))).close(3.0)
    assert events == [("started", "a"), ("started", "b"), ("stopped", "b"), ("stopped", "a")]
    assert 0 < a.graces[0] <= b.graces[0] <= 3.0


def test_grace_is_shared_by_all_components(events: Events) -> None:
    """A component that uses all of it leaves none for the next."""
    a, b = Script(events, "a"), Script(events, "b", on_stop=time.sleep)
    provision(plan(step(a), step(b, "a"))).close(0.05)
    assert a.graces == [0.0]


def test_hanging_component_is_abandoned(
    events: Events, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNDO_S", 0.05)

    def hang(grace_s: float) -> None:
        stuck.wait(PATIENCE_S)

    hanging = Script(events, "b", on_stop=hang)
    with pytest.raises(DriverError, match=r"b \(rule row row-b\) did not stop: no end within 0.05 s"):
        provision(plan(step(Script(events, "a")), step(hanging, "a"))).close(0)
    assert [name for verb, name in events if verb == "stopped"] == ["b", "a"]


def test_watched_health_is_the_last_answer_and_asks_no_one(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask, one question is open; the answers of the background are those that are returned."""
    monkeypatch.setattr(module, "WATCH_S", 0.01)
    asked, away = threading.Event(), threading.Event()
    threads = set()

    def ping() -> None:
        threads.add(threading.current_thread().name)
        asked.set()
        if away.is_set():
            refuse("closed")

    with provision(plan(step(Script(events, "a", on_ping=ping)))) as runtime:
        runtime.watch()
        assert runtime.health()["a"].healthy
        away.set()
        eventually(lambda: runtime.health()["a"].error == "closed", "the outage")
        away.clear()
        eventually(lambda: runtime.health()["a"].healthy, "the recovery")
        asked.clear()
        eventually(asked.is_set, "a question that no caller asked")
    assert threads == {"compozy-start-a", "compozy-health"}


def test_watch_begins_with_the_answers_to_the_starts(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    """A component that has just answered is not asked again before the start returns."""
    monkeypatch.setattr(module, "WATCH_S", PATIENCE_S)
    pings: list[str] = []
    with provision(plan(step(Script(events, "a", on_ping=lambda: pings.append("a"))))) as runtime:
        runtime.watch()
        health = runtime.health()["a"]
        assert (health.healthy, health.latency_ms is not None, pings) == (True, True, ["a"])


def test_hanging_watched_component_is_reported_without_waiting(
    events: Events, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_S", 0.01)
    hanging = threading.Event()

    def ping() -> None:
        if hanging.is_set():
            stuck.wait(PATIENCE_S)

    with provision(plan(step(Script(events, "a", on_ping=ping)))) as runtime:
        runtime.watch()
        monkeypatch.setattr(module, "PING_S", 0.05)
        hanging.set()
        eventually(lambda: runtime.health()["a"].error == "no answer within 0.05 s", "the outage")
        stuck.set()
        hanging.clear()
        eventually(lambda: runtime.health()["a"].healthy, "the recovery")


def test_end_of_a_watched_runtime_is_not_an_outage(
    events: Events, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "WATCH_S", 0.001)
    stopped = threading.Event()
    script = Script(events, "a", on_ping=lambda: refuse("stopped") if stopped.is_set() else None)
    script.on_stop = lambda grace_s: stopped.set()
    with provision(plan(step(script))) as runtime:
        runtime.watch()
    eventually(lambda: "compozy-health" not in {thread.name for thread in threading.enumerate()}, "the last question")
    assert caplog.records == []


def test_closing_twice_is_allowed(events: Events) -> None:
    """The drivers' stops are idempotent too."""
    runtime = provision(plan(step(Script(events, "a"))))
    runtime.close()
    runtime.close()


def test_failures_of_closing_are_collected(events: Events) -> None:
    """All are stopped, then one error names all that refused."""
    a, b, c = (Script(events, name, on_stop=stop) for name, stop in zip("abc", (no, yes, no), strict=True))
    runtime = provision(plan(step(a), step(b, "a"), step(c, "b")))
    with pytest.raises(
        DriverError, match=r"c \(rule row row-c\) did not stop: busy; a \(rule row row-a\) did not stop: busy"
    ):
        runtime.close()
    assert [name for verb, name in events if verb == "stopped"] == ["c", "b", "a"]


def test_failure_of_closing_does_not_hide_the_error_of_the_block(
    events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match="original"), provision(plan(step(Script(events, "a", on_stop=no)))):
        raise ValueError("original")
    assert [getattr(record, "reason", "") for record in caplog.records] == ["a (rule row row-a) did not stop: busy"]


def test_failure_of_closing_ends_a_block_without_an_error(events: Events) -> None:
    with pytest.raises(DriverError, match="did not stop"), provision(plan(step(Script(events, "a", on_stop=no)))):
        pass


def no(grace_s: float) -> None:
    refuse("busy")


def yes(grace_s: float) -> None:
    """Stop without fuss."""


def test_after_closing_nothing_is_healthy(events: Events) -> None:
    """No component is left to ask."""
    runtime = provision(plan(step(Script(events, "a"))))
    runtime.close()
    assert runtime.health() == {}


def test_abandoned_component_is_not_stopped_again(events: Events, tmp_path: Path) -> None:
    """A failed stop is logged; the caller reports the failure of the start, and the directory is removed."""
    state = tmp_path / ".compozy"
    runtime = provision(plan(step(Script(events, "a", on_stop=no)), state_dir=str(state)))
    assert state.exists()
    runtime.abandon()
    runtime.close()
    assert ([name for verb, name in events if verb == "stopped"], state.exists()) == (["a"], False)


def test_the_components_of_the_product_stop_in_the_promised_order(tmp_path: Path) -> None:
    """Temporal, then Redis, then the database; they are stopped in the reverse of the plan."""
    resolved = Lifecycle(load_configuration(directory=str(tmp_path), environment={}), facts=FACTS).resolve()
    assert [step.component for step in make_plan(resolved).steps] == ["database", "redis", "temporal"]


def test_the_end_of_the_block_is_a_transition(tmp_path: Path) -> None:
    """The state shows that no component runs any more, and the lifecycle may provision again."""
    settings = {"mode": "memory", "temporal.standalone.enable_ui": False}
    lifecycle = compozy.load(directory=str(tmp_path), settings=settings, environment={})
    lifecycle.resolve()
    lifecycle.validate()
    for _ in range(2):
        with lifecycle.provision() as runtime:
            assert (lifecycle.state, runtime.redis.ping()) == ("provisioned", True)
        assert (lifecycle.state, lifecycle.journal[-1].trigger) == ("validated", "release")
    runtime.close()
    assert [entry.trigger for entry in lifecycle.journal].count("release") == 2
