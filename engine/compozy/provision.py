"""Start every step of a plan, or none of them.

What comes in: a `Plan`. What goes out: a `Runtime` with the handles. Steps start in parallel where their order
allows it; after a failure whatever was started is stopped in reverse.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from compozy.drivers.driver import Driver, LoopThread, StartContext
from compozy.errors import CompozyError, DriverError, ProvisionError
from compozy.plan import Plan, Step


@dataclass(frozen=True, slots=True)
class Health:
    """What a component answered: `latency_ms` in milliseconds, or the `error`."""

    healthy: bool
    latency_ms: float | None
    error: str | None = None


class Runtime:
    """Provisioned components; a context manager that stops them."""

    def __init__(self, plan: Plan, loop: LoopThread) -> None:
        self.plan = plan
        self.loop = loop
        self._started: dict[str, Driver] = {}

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def database(self) -> Any:
        """The peewee database."""
        return self.component("database").handle

    @property
    def temporal(self) -> Any:
        """The Temporal client; it lives on `loop`."""
        return self.component("temporal").handle

    @property
    def redis(self) -> Any:
        """The Redis client."""
        return self.component("redis").handle

    def component(self, name: str) -> Driver:
        """Return the driver of a component; KeyError when there is none."""
        return self._started[name]

    def started(self, name: str, driver: Driver) -> None:
        """Take over a driver that was started."""
        self._started[name] = driver

    def health(self) -> Mapping[str, Health]:
        """Ask every component."""
        with ThreadPoolExecutor(max(1, len(self._started)), thread_name_prefix="compozy-health") as pool:
            return dict(zip(self._started, pool.map(_health, self._started.values()), strict=True))

    def close(self, grace_s: float = 10.0) -> None:
        """Stop every component in reverse; a failure does not stop the others; idempotent."""
        failures: list[CompozyError] = []
        for name, driver in reversed(list(self._started.items())):
            try:
                driver.stop(grace_s)
            except CompozyError as error:
                failures.append(ProvisionError(name, f"did not stop: {error.message}"))
        self._started.clear()
        self.loop.close()
        if failures:
            raise failures[0]


def _health(driver: Driver) -> Health:
    began = time.perf_counter()
    try:
        driver.ping()
    except DriverError as error:
        return Health(False, None, error.message)
    return Health(True, (time.perf_counter() - began) * 1000)


def provision(plan: Plan, *, timeout_s: float = 60.0, notice: Callable[[str], None] = lambda line: None) -> Runtime:
    """Start every step.

    Raises:
        ProvisionError: a step failed; everything that was started is stopped again.
    """
    runtime = Runtime(plan, LoopThread())
    deadline = time.monotonic() + timeout_s
    try:
        _start_all(plan, runtime, notice, deadline)
    except BaseException:
        runtime.close(0)
        raise
    return runtime


def _start_all(plan: Plan, runtime: Runtime, notice: Callable[[str], None], deadline: float) -> None:
    done: set[str] = set()
    running: dict[Future[Driver], Step] = {}
    with ThreadPoolExecutor(max(1, len(plan.steps)), thread_name_prefix="compozy-start") as pool:
        waiting = list(plan.steps)
        while waiting or running:
            for step in [step for step in waiting if done >= set(step.needs)]:
                waiting.remove(step)
                context = StartContext(runtime.loop, notice, min(deadline, time.monotonic() + step.timeout_s), plan.state_dir)
                running[pool.submit(_start, step, context)] = step
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                step = running.pop(future)
                done.add(step.component)
                _take(runtime, step, future)


def _take(runtime: Runtime, step: Step, future: Future[Driver]) -> None:
    try:
        runtime.started(step.component, future.result())
    except DriverError as error:
        raise ProvisionError(step.component, error.message, row=step.row, hint=error.hint) from error


def _start(step: Step, context: StartContext) -> Driver:
    module, _, name = step.factory.partition(":")
    driver: Driver = getattr(import_module(module), name)(**step.options)
    driver.start(context)
    return driver
