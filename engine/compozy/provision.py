"""Start every step of a plan, or none of them.

What comes in: a `Plan`. What goes out: a `Runtime` with the handles. Steps start in parallel where their order
allows it; after a failure whatever was started is stopped in reverse and the state directory is as it was.
Nothing here knows which components there are.
"""

from __future__ import annotations

import inspect
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from compozy.drivers.driver import Driver, LoopThread, StartContext
from compozy.drivers.state_directory import StateDirectory
from compozy.errors import CompozyError, DriverError, ProvisionError, RuleTableError
from compozy.plan import Plan, Step, ordered
from compozy.runtime import Outcome, Runtime

SETTLE_S = 1.0  # after a failure the others may still say that they fail too
SLACK_S = 1.0  # a driver may take this long to notice that its time is over

Notice = Callable[[str], None]


def provision(plan: Plan, *, timeout_s: float = 60.0, notice: Notice = lambda line: None) -> Runtime:
    """Start every step; `timeout_s` bounds all of it, `notice` takes one line for each thing a user should know.

    Raises:
        ProvisionError: a step failed; everything that was started is stopped again.
        RuleTableError: a provision row names a factory or options that do not exist.
    """
    steps = ordered(list(plan.steps))
    drivers = {step.component: build_driver(step) for step in steps}
    with _locked(plan) as state:
        runtime = Runtime(plan, LoopThread(), state)
        context = StartContext(runtime.loop, notice, time.monotonic() + timeout_s, plan.state_dir)
        try:
            _Start(steps, drivers, runtime, context).run()
        except BaseException:
            context.cancelled.set()
            runtime.close(0, discard=True)
            raise
    return runtime


def build_driver(step: Step) -> Driver:
    """Return the driver of a step, not started.

    Raises:
        RuleTableError: its factory does not exist or does not take its options.
    """
    module, _, name = step.factory.partition(":")
    try:
        factory = getattr(import_module(module), name)
        inspect.signature(factory).bind(**step.options)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise RuleTableError([f"provision row {step.row}: {step.factory} cannot be used: {error}"]) from error
    driver: Driver = factory(**step.options)
    return driver


@contextmanager
def _locked(plan: Plan) -> Iterator[StateDirectory | None]:
    """Hold the state directory; from the end of the block on it is held by the runtime."""
    if plan.state_dir is None:
        yield None
        return
    state = StateDirectory(plan.state_dir)
    try:
        state.acquire()
    except DriverError as error:
        raise _failed("state directory", "", error) from error
    try:
        yield state
    except BaseException:
        state.release(discard=True)
        raise


@dataclass(frozen=True, slots=True)
class _Ended:
    """A step whose start has ended, with the error that it ended with."""

    step: Step
    error: BaseException | None


class _Start:
    """One attempt to start all steps."""

    def __init__(
        self, steps: list[Step], drivers: Mapping[str, Driver], runtime: Runtime, context: StartContext
    ) -> None:
        self._waiting = list(steps)
        self._drivers = drivers
        self._runtime = runtime
        self._context = context
        self._running: dict[str, tuple[Step, float]] = {}
        self._done: set[str] = set()
        self._ended: queue.SimpleQueue[_Ended] = queue.SimpleQueue()
        self._failures: list[_Ended] = []

    def run(self) -> None:
        """Start what can start, until all is up.

        Raises:
            ProvisionError: one or more steps failed.
        """
        self._launch()
        while self._running:
            for ended in self._next():
                self._note(ended)
            if not self._failures:
                self._launch()
        if self._failures:
            raise self._failure()

    def _launch(self) -> None:
        for step in [step for step in self._waiting if self._done >= set(step.needs)]:
            self._waiting.remove(step)
            deadline = min(self._context.deadline, time.monotonic() + step.timeout_s)
            self._running[step.component] = (step, deadline)
            driver, context = self._drivers[step.component], replace(self._context, deadline=deadline)
            # Reverse order of stopping is the order of launching; whatever begins to start is also stopped.
            self._runtime.launched(step.component, driver)
            threading.Thread(
                target=self._attempt, args=(step, driver, context), name=f"compozy-start-{step.component}", daemon=True
            ).start()

    def _attempt(self, step: Step, driver: Driver, context: StartContext) -> None:
        outcome = Outcome()
        with outcome:
            driver.start(context)
        self._ended.put(_Ended(step, outcome.error))

    def _next(self) -> Iterator[_Ended]:
        """Yield the next end, or the steps whose time is over."""
        until = min(deadline for _, deadline in self._running.values()) + SLACK_S
        try:
            yield self._ended.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            for step, deadline in list(self._running.values()):
                if deadline + SLACK_S <= time.monotonic():
                    yield _Ended(step, DriverError("it was not ready in time", hint="raise its timeout, or --timeout"))

    def _note(self, ended: _Ended) -> None:
        self._running.pop(ended.step.component, None)
        if ended.error is None:
            self._done.add(ended.step.component)
            return
        if not isinstance(ended.error, DriverError):
            raise ended.error
        if not self._failures:
            self._settle()
        if not self._context.cancelled.is_set():
            self._failures.append(ended)

    def _settle(self) -> None:
        """Give the steps that are still starting a moment to fail as well, then call them off."""
        timer = threading.Timer(SETTLE_S, self._context.cancelled.set)
        timer.daemon = True
        timer.start()

    def _failure(self) -> ProvisionError:
        first, *others = [
            _failed(ended.step.component, ended.step.row, ended.error)
            for ended in self._failures
            if isinstance(ended.error, DriverError)
        ]
        if not others:
            return first
        reasons = "\n".join([first.reason, *(error.message for error in others)])
        hints = "; ".join(dict.fromkeys(error.hint for error in (first, *others) if error.hint))
        return ProvisionError(first.component, reasons, row=first.row, hint=hints or None)


def _failed(component: str, row: str, error: DriverError) -> ProvisionError:
    failure = ProvisionError(component, error.reason, row=row, hint=error.hint)
    failure.__cause__ = error
    return failure
