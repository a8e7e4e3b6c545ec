"""A failed worker is restarted, and reported as unhealthy if restarts do not help."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.support.polling import eventually
from tests.workflows.bench import Bench

from compozy.drivers.protocol import LoopThread
from compozy.store import Store
from compozy.workflows.run.restart import USUAL, Health, Pace, Restarted
from compozy.workflows.run.worker import WorkerHost

QUICK = Pace(restart_s=0.001, steady_s=0.0, patience_s=0.0)


class Engine:
    """A coroutine that fails a given number of times."""

    def __init__(self, failures: int, failure: Exception | None) -> None:
        self.failures = failures
        self.failure = failure
        self.attempts = 0
        self.runs = False

    async def attempt(self) -> None:
        self.attempts += 1
        if self.attempts > self.failures:
            self.runs = True
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure


@contextmanager
def running(loop: LoopThread, engine: Engine, pace: Pace) -> Iterator[Restarted]:
    """Run the engine for the length of a block."""
    restarted = Restarted(engine.attempt, lambda: engine.runs, (ValueError,), pace)

    async def begin() -> asyncio.Task[None]:
        return asyncio.create_task(restarted.run())

    task = loop.call(begin(), 10)
    try:
        yield restarted
    finally:
        loop.loop.call_soon_threadsafe(task.cancel)
        eventually(task.done)


@pytest.mark.parametrize(
    ("failure", "error", "traceback"),
    [
        pytest.param(ValueError("no\nport"), "no port", False, id="expected"),
        pytest.param(KeyError("x"), "'x'", True, id="bug"),
        pytest.param(None, "it ended by itself", False, id="ended"),
    ],
)
def test_ended_worker_is_reported_and_restarted(
    loop: LoopThread, caplog: pytest.LogCaptureFixture, failure: Exception | None, error: str, traceback: bool
) -> None:
    """The reason is in the health and in the log, a bug with its traceback."""
    engine = Engine(10**9, failure)
    with running(loop, engine, QUICK) as restarted:
        eventually(lambda: engine.attempts > 2)
        assert restarted.health == Health(False, error)
    assert {record.getMessage() for record in caplog.records} == {"worker.failed"}
    assert {record.exc_info is not None for record in caplog.records} == {traceback}


def test_recovered_coroutine_is_healthy_again(loop: LoopThread) -> None:
    """The health recovers after a time without failure, without a call."""
    engine = Engine(10**9, ValueError("no"))
    with running(loop, engine, QUICK) as restarted:
        eventually(lambda: not restarted.health.healthy)
        engine.failures = 0
        eventually(lambda: restarted.health == Health(True))
        assert restarted.error is None


def test_short_failure_is_not_reported_as_unhealthy(loop: LoopThread) -> None:
    """A failure is reported only after the time for more attempts."""
    engine = Engine(3, ValueError("no"))
    with running(loop, engine, replace(QUICK, patience_s=60.0, steady_s=60.0)) as restarted:
        eventually(lambda: engine.runs)
        assert (restarted.health, restarted.error) == (Health(True), "no")


def test_short_run_does_not_restore_health(loop: LoopThread) -> None:
    """Failures are forgotten only when it has worked for a while."""
    engine = Engine(3, ValueError("no"))
    with running(loop, engine, replace(QUICK, steady_s=60.0)) as restarted:
        eventually(lambda: engine.runs)
        assert restarted.health == Health(False, "no")


def test_the_usual_patience_is_enough_for_two_attempts() -> None:
    """A worker that fails twice, as it may when Temporal comes back, is steady before it is reported."""
    assert 2 * USUAL.restart_s + USUAL.steady_s < USUAL.patience_s


def test_failed_worker_is_reported_and_replaced(bench: Bench, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Its place is taken by another worker, for as long as that runs."""
    caplog.set_level(logging.CRITICAL, "temporalio")

    def host() -> WorkerHost:
        directory = str(bench.directory)
        return WorkerHost(bench.client, store, task_queue=bench.task_queue, directory=directory, pace=pace)

    pace = replace(QUICK, restart_s=0.2)
    one, other = host(), host()
    assert one.health == Health(False, "it does not run")
    bench.call(one.start())
    assert one.health == Health(True)

    async def take_its_place() -> None:
        assert one._worker is not None
        await one._worker.shutdown()
        await other.start()

    bench.call(take_its_place())
    eventually(lambda: "multiple workers" in (one.health.error or ""))
    bench.call(other.stop(0))
    eventually(lambda: one.health.healthy)
    bench.call(one.stop(0))
    assert not one.health.healthy
