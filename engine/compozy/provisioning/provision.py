"""Start every step of a plan, or none of them.

Steps start in parallel where their order allows it; after a failure all that were started are stopped in reverse and
the state directory is as it was. No component is known here by name.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from compozy.base.interruption import raise_noted
from compozy.base.record import dataclass
from compozy.drivers.inventory import Inventory, holding_of
from compozy.drivers.protocol import Driver, LoopThread, StartContext
from compozy.errors import CompozyError, DriverError, ProvisionError, ProvisionErrors
from compozy.provisioning.plan import Plan, make_plan, ordered
from compozy.provisioning.runtime import Caught, InstanceHealth, Runtime
from compozy.provisioning.step import Step, build_driver, step_failure
from compozy.resolution.resolve import Resolved
from compozy.state.move_journal import recover
from compozy.state.state_directory import StateDirectory

__all__ = ["InstanceHealth", "Runtime", "provision", "provision_components"]

log = logging.getLogger("compozy.provision")

# After the first failure the other steps get this time to report theirs.
SETTLE_S = 1.5
# A driver checks its own deadline and gives a better reason; the general one comes only after this.
SLACK_S = 1.0
# Health checks of a component that has started: one may time out on a busy machine.
_CHECKS = 3
# A signal handler only notes an interruption, so a wait must end now and then to see it.
SLICE_S = 0.1

_LATE_HINT = "see whether it can be reached; its timeout or --timeout may be raised"

Notice = Callable[[str], None]


def provision_components(
    resolved: Resolved,
    release: Callable[[float], None] | None = None,
    *,
    timeout_s: float = 60.0,
    notice: Notice = lambda line: None,
) -> Runtime:
    """Plan and start the components of a configuration, see `provision`."""
    return provision(make_plan(resolved, timeout_s), release, timeout_s=timeout_s, notice=notice)


def provision(
    plan: Plan,
    release: Callable[[float], None] | None = None,
    *,
    timeout_s: float = 60.0,
    notice: Notice = lambda line: None,
) -> Runtime:
    """Start every step; `timeout_s` bounds all of it, `notice` takes one line for each thing a user should know.

    Closing the runtime calls `release`, see `Runtime`.

    Raises:
        ProvisionError: a step failed; everything that was started is stopped again.
        RuleTableError: a provision row names a factory or options that do not exist.
    """
    steps = ordered(list(plan.steps))
    drivers = {step.component: build_driver(step, timeout_s) for step in steps}
    # Drivers are built before anything is locked: a wrong factory or option must leave no trace.
    with _locked(plan) as state:
        inventory = None if plan.state_dir is None else Inventory(plan.state_dir)
        if inventory is not None:
            _check_holdings(steps, drivers, inventory)
        # From here on the runtime owns the lock, and `abandon` undoes everything.
        runtime = Runtime(plan, LoopThread(), state, release)
        context = StartContext(runtime.loop, notice, time.monotonic() + timeout_s, plan.state_dir, undo=runtime.undo)
        try:
            _Start(steps, drivers, runtime, context).run()
        except BaseException:
            runtime.abandon()
            raise
        if inventory is not None:
            runtime.keep_inventory(inventory)
    return runtime


def _check_holdings(steps: Sequence[Step], drivers: Mapping[str, Driver], inventory: Inventory) -> None:
    """Refuse a start on data that is missing or has shrunk, before anything is started.

    Raises:
        ProvisionError: a component holds less than recorded, or the record cannot be read.
    """
    failures = []
    for step in steps:
        try:
            inventory.check(step.component, holding_of(drivers[step.component]))
        except DriverError as error:
            failures.append(step_failure(step, error))
    if failures:
        raise _together(failures, [])


@contextmanager
def _locked(plan: Plan) -> Iterator[StateDirectory | None]:
    """Hold the state directory, interrupted restores completed; after the block the runtime holds it."""
    state = None if plan.state_dir is None else StateDirectory(plan.state_dir)
    try:
        if state is not None:
            state.acquire()
        recover([os.path.dirname(path) for step in plan.steps for path in step.files])
    except DriverError as error:
        if state is not None:
            state.release(discard=True)
        raise ProvisionError("state directory", error.reason, hint=error.hint) from error
    try:
        yield state
    except BaseException:
        if state is not None:
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
        self._waiting = steps
        self._drivers = drivers
        self._runtime = runtime
        self._context = context
        self._running: dict[str, tuple[Step, float]] = {}
        self._threads: list[threading.Thread] = []
        self._done: set[str] = set()
        self._ended: queue.SimpleQueue[_Ended] = queue.SimpleQueue()
        self._failures: dict[str, ProvisionError] = {}
        self._cancelled: list[str] = []
        self._patience = float("inf")

    def run(self) -> None:
        """Start what can start, until all is up.

        Raises:
            ProvisionError: one or more steps failed; no step is starting any more.
        """
        try:
            self._launch()
            while self._running:
                self._wait()
                if not self._failures:
                    self._launch()
            if self._failures:
                raise self._failure()
        except BaseException:
            self._call_off()
            raise

    def _failure(self) -> ProvisionError:
        """Return the failures of all steps as one error; a step that was cancelled because of them is none."""
        failures = [self._failures[name] for name in self._drivers if name in self._failures]
        return _together(failures, self._cancelled)

    def _launch(self) -> None:
        for step in [step for step in self._waiting if self._done >= set(step.needs)]:
            self._waiting.remove(step)
            # The time of a step counts from its own start: one that waits for others must not have used up its time.
            deadline = min(self._context.deadline, time.monotonic() + step.timeout_s)
            self._running[step.component] = (step, deadline)
            driver = self._drivers[step.component]
            needed = {name: self._drivers[name] for name in step.needs}
            context = replace(self._context, deadline=deadline, component=step.component, needed=needed)
            log.info("component.starting", extra={"component": step.component, "driver": step.driver, "row": step.row})
            # Every component that begins to start is also stopped, in the reverse order.
            self._runtime.launched(step.component, driver)
            name = f"compozy-start-{step.component}"
            thread = threading.Thread(target=self._attempt, args=(step, driver, context), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _attempt(self, step: Step, driver: Driver, context: StartContext) -> None:
        outcome, began = Caught(), time.perf_counter()
        with outcome:
            driver.start(context)
            if context.cancelled.is_set():
                # The start was called off while this driver came up. Nothing has noted it as ready, and no other thread
                # will stop it.
                driver.stop(0)
            else:
                self._runtime.answered(step.component, _prove(driver, context))
                log_ready(step, driver, time.perf_counter() - began)
        # Always, also after an error of the driver: `_wait` counts on one entry for each thread.
        self._ended.put(_Ended(step, outcome.error))

    def _wait(self) -> None:
        """Wait for the next step to end, or for the time of one to be over, or a moment."""
        # A signal handler only notes the interrupt, since raising at any place could skip a cleanup; here it is safe.
        raise_noted()
        until = min(self._patience, *(deadline + SLACK_S for _, deadline in self._running.values()))
        try:
            self._note(self._ended.get(timeout=min(SLICE_S, max(0.0, until - time.monotonic()))))
        except queue.Empty:
            now = time.monotonic()
            for step, deadline in list(self._running.values()):
                if now >= deadline + SLACK_S:
                    self._note(_Ended(step, DriverError("it was not ready in time", hint=_LATE_HINT)))
                elif now >= self._patience:
                    self._running.pop(step.component)
                    self._cancelled.append(step.component)

    def _note(self, ended: _Ended) -> None:
        self._running.pop(ended.step.component, None)
        if ended.error is None:
            self._done.add(ended.step.component)
        elif isinstance(ended.error, CompozyError):
            self._failures[ended.step.component] = step_failure(ended.step, ended.error)
            # The others get a moment to fail too, so that all failures are reported at once.
            self._patience = min(self._patience, time.monotonic() + SETTLE_S)
        else:
            # A bug, or an interruption: it ends the start at once, with its traceback.
            raise ended.error

    def _call_off(self) -> None:
        """Cancel the steps that are starting, and wait for their end."""
        self._context.cancelled.set()
        until = time.monotonic() + SLACK_S
        # Drivers that ignore the cancellation are left behind: their threads are daemons and end with the process.
        # A thread whose start was interrupted has not begun, and cannot be joined.
        for thread in filter(threading.Thread.is_alive, self._threads):
            thread.join(max(0.0, until - time.monotonic()))


def log_ready(step: Step, driver: Driver, took_s: float) -> None:
    """Log that a component is ready, where it is and where its data is."""
    about = driver.describe()
    where = {"address": about.address, "data": about.data, "duration_s": round(took_s, 3)}
    part = {"component": step.component, "mode": step.mode, "driver": step.driver}
    log.info("component.ready", extra={**part, **where})


def _together(failures: Sequence[ProvisionError], cancelled: Sequence[str]) -> ProvisionError:
    return failures[0] if len(failures) + len(cancelled) == 1 else ProvisionErrors(failures, cancelled)


def _prove(driver: Driver, context: StartContext) -> InstanceHealth:
    """Require that a driver that has started answers and describes itself, so that `provisioned` means ready.

    Returns its health, with the time of the answer in milliseconds.

    Raises:
        DriverError: several health checks failed; a single one may take too long on a busy machine.
    """
    # `start` has returned, but only an answer proves readiness. A single check may time out on a busy machine.
    for left in reversed(range(_CHECKS)):
        began = time.perf_counter()
        try:
            driver.ping()
        except DriverError as error:
            if not left or not context.left_s():
                reason = f"it has started, but does not answer: {error.reason}"
                raise DriverError(reason, hint=error.hint or "`start` returns when `ping` succeeds") from error
        else:
            break
    return InstanceHealth(True, (time.perf_counter() - began) * 1000, None, driver.describe())
