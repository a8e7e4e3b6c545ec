"""The runtime of a provisioned plan: handles, health, and one way to close everything.

Components are closed in the reverse order of their start; a failure does not stop the others from being closed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from compozy.base.foreign import join_within
from compozy.base.record import dataclass
from compozy.drivers.inventory import Inventory, InventoryRecorder
from compozy.drivers.protocol import Description, Driver, LoopThread
from compozy.errors import CompozyError, DriverError
from compozy.provisioning.plan import Plan
from compozy.state.state_directory import StateDirectory
from compozy.state.undo import UndoLog

PING_S = 1.0
WATCH_S = 0.5  # the pause between two health checks in the background
# Longer than `Process.kill` takes for a child that does not end.
UNDO_S = 12.0
log = logging.getLogger("compozy.provision")


@dataclass(frozen=True, slots=True)
class InstanceHealth:
    """The result of a health check: `latency_ms` in milliseconds, or the `error`; `about` is where it was last."""

    healthy: bool
    latency_ms: float | None
    error: str | None = None
    about: Description = Description()


class Caught:
    """A block whose exception is kept instead of raised."""

    error: BaseException | None = None

    def __enter__(self) -> Caught:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        self.error = error
        return True


class Runtime:
    """Provisioned components; a context manager that stops them.

    Closing calls `release` with the grace in seconds, which must call `stop`; without it, `close` stops them itself.
    """

    def __init__(
        self,
        plan: Plan,
        loop: LoopThread,
        state: StateDirectory | None = None,
        release: Callable[[float], None] | None = None,
    ) -> None:
        self.plan = plan
        self.loop = loop
        self._state = state
        self._drivers: dict[str, Driver] = {}
        self._probes: dict[str, _Probe] = {}
        self.undo = UndoLog()
        self._release = release
        self._stopped = False
        self.make_workflows: Callable[[], object] | None = None
        self.find_memory: Callable[[str], object] | None = None
        self._workflows: Any = None
        self._opening = threading.Lock()
        self._closing = threading.Lock()
        self._watched = False
        self._unwatched = threading.Event()
        self._undone = False
        self._recorder: InventoryRecorder | None = None

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.close()
        except CompozyError as problem:
            if error is None:
                raise
            # The error of the block is the one that is raised.
            log.error("close.failed", extra={"reason": _reason(problem)})

    @property
    def state_dir(self) -> str | None:
        """The state directory, or None when nothing is kept in one."""
        return self.plan.state_dir

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

    @property
    def workflows(self) -> Any:
        """The workflows of the project, such as `workflows.run("order", {...})`; the first use starts the worker.

        Raises:
            DriverError: the runtime was provisioned for its components alone.
        """
        with self._opening:
            if self._workflows is None:
                if self.make_workflows is None:
                    raise DriverError("this runtime has no workflows", hint="provision it with compozy.load(...)")
                self._workflows = self.make_workflows()
            return self._workflows

    def memory(self, memory_id: str) -> Any:
        """Return a conversation memory, such as `memory("chat").append("ada", {"role": "user", "content": "Hi"})`.

        Raises:
            NotFoundError: the configuration declares no such memory.
            DriverError: the runtime was provisioned for its components alone.
        """
        if self.find_memory is None:
            raise DriverError("this runtime has no memories", hint="provision it with compozy.load(...)")
        return self.find_memory(memory_id)

    def knowledge(self, base: str) -> object:
        """Return a knowledge base, such as `knowledge("docs").query("When does the ferry leave?")`.

        Raises:
            DriverError: the runtime was provisioned for its components alone.
            NotFoundError: the configuration declares no base of this id.
        """
        return self.workflows.base(base)

    def component(self, name: str) -> Driver:
        """Return the driver of a component; KeyError for an unknown one."""
        return self._drivers[name]

    def launched(self, name: str, driver: Driver) -> None:
        """Register a driver that begins to start."""
        self._drivers[name] = driver
        self._probes[name] = _Probe(name, driver)

    def keep_inventory(self, inventory: Inventory) -> None:
        """Record what the components keep, from now until they have stopped."""
        self._recorder = InventoryRecorder(inventory, self._drivers)
        self._recorder.start()

    def answered(self, name: str, health: InstanceHealth) -> None:
        """Note the health of a component whose start has just ended."""
        self._probes[name].note(health)

    def watch(self) -> None:
        """Ask every component again and again in the background; from now on `health` returns the last answers.

        The first ones are those with which the starts ended.
        """
        for probe in self._probes.values():
            probe.watch(self._unwatched)
        self._watched = True

    def health(self) -> Mapping[str, InstanceHealth]:
        """Return the health of every component; one that does not answer within a second is not healthy.

        Without `watch` all of them are asked at once, and their answers waited for.
        """
        # A copy, because a start in another thread may add components meanwhile.
        probes = dict(self._probes)
        if self._watched:
            return {name: probe.last() for name, probe in probes.items()}
        for probe in probes.values():
            probe.ask()
        until = time.monotonic() + PING_S
        return {name: probe.answer(until - time.monotonic()) for name, probe in probes.items()}

    def close(self, grace_s: float = 10.0) -> None:
        """Stop every component as `stop` does; a lifecycle that provisioned them returns to the state `validated`.

        Raises:
            DriverError: components did not stop; it names all of them, and the others are stopped.
        """
        if self._release is None or self._stopped:
            self.stop(grace_s)
        else:
            self._release(grace_s)

    def stop(self, grace_s: float = 10.0) -> None:
        """Stop every component in reverse, all of them within `grace_s` seconds; idempotent.

        The next component gets what is left of the grace; one that does not end `UNDO_S` after it is left behind.

        Raises:
            DriverError: components did not stop; it names all of them, and the others are stopped.
        """
        failures = [] if self._undone else self._close(grace_s, discard=False)
        bugs = [error for _, error in failures if not isinstance(error, CompozyError)]
        if bugs:
            raise bugs[0]
        if failures:
            rows = {step.component: f" (rule row {step.row})" for step in self.plan.steps}
            texts = [f"{name}{rows.get(name, '')} did not stop: {error}" for name, error in failures]
            raise DriverError("; ".join(texts))
        self._stopped = True

    def abandon(self) -> None:
        """Undo a start that has failed: stop everything at once and remove the files that it created.

        What does not stop is logged, because the failure of the start is what matters. Closing it then does nothing.
        """
        self._undone = True
        for name, error in self._close(0, discard=True):
            log.error("rollback.failed", extra={"component": name, "reason": _reason(error)})

    def _close(self, grace_s: float, *, discard: bool) -> list[tuple[str, BaseException]]:
        # Before anything stops: a health check of a component that is being stopped would report an outage.
        self._unwatched.set()
        with self._closing:
            until = time.monotonic() + grace_s
            # Workflows first, as long as their database and Temporal run: draining writes the last rows.
            failures = [*self._close_workflows(grace_s), *self._stop_all(until)]
            recorder, self._recorder = self._recorder, None
            if recorder is not None:
                # After the components, so that it records what they hold at the end.
                recorder.close(discard=discard)
            self.loop.close()
            if discard:
                # After the drivers have stopped, which may still write, and before the lock is released.
                self.undo.roll_back()
            if self._state is not None:
                self._state.release(discard=discard)
        return failures

    def _close_workflows(self, grace_s: float) -> list[tuple[str, BaseException]]:
        with self._opening:
            opened, self._workflows = self._workflows, None
        outcome = Caught()
        with outcome:
            if opened is not None:
                opened.close(grace_s)
        return [] if outcome.error is None else [("workflows", outcome.error)]

    def _stop_all(self, until: float) -> list[tuple[str, BaseException]]:
        failures: list[tuple[str, BaseException]] = []
        for name, driver in reversed(self._drivers.items()):
            # The grace is one for all: a component that uses it up leaves the others a stop at once, which is safe for
            # their data.
            error = _stop_within(driver, max(0.0, until - time.monotonic()))
            if error is not None:
                failures.append((name, error))
        self._probes.clear()
        return failures


def _stop(driver: Driver, grace_s: float) -> BaseException | None:
    outcome = Caught()
    with outcome:
        driver.stop(grace_s)
    return outcome.error


def _stop_within(driver: Driver, grace_s: float) -> BaseException | None:
    """Stop a driver that may hang, as one does whose start hangs as well."""
    patience_s = grace_s + UNDO_S
    errors: list[BaseException | None] = []
    # `stop` is foreign code as well and may never return; a daemon thread does not keep the process from ending.
    thread = threading.Thread(target=lambda: errors.append(_stop(driver, grace_s)), name="compozy-undo", daemon=True)
    thread.start()
    join_within(thread, patience_s)
    return errors[0] if errors else DriverError(f"no end within {patience_s:g} s")


class _Probe:
    """Asks one driver; at most one question is open, however often it is asked."""

    def __init__(self, name: str, driver: Driver) -> None:
        self._name = name
        self._driver = driver
        self._lock = threading.Lock()
        self._down = False
        self._answered = threading.Event()
        self._open = False
        self._began = 0.0
        self._about = Description()
        self._health = InstanceHealth(False, None, "it was not asked")

    def ask(self) -> None:
        """Ask in a thread, unless the last question is still open."""
        if self._begin():
            threading.Thread(target=self._ping, name="compozy-health", daemon=True).start()

    def watch(self, ended: threading.Event) -> None:
        """Ask every `WATCH_S` seconds from one thread until `ended`."""
        threading.Thread(target=self._repeat, args=(ended,), name="compozy-health", daemon=True).start()

    def _repeat(self, ended: threading.Event) -> None:
        while not ended.wait(WATCH_S):
            if self._begin():
                self._ping()
                if not ended.is_set():
                    self._log_change(self._health)

    def _begin(self) -> bool:
        with self._lock:
            # A driver that hangs gets one thread and not one for each question, of which a load balancer asks many.
            if self._open:
                return False
            self._open = True
            self._began = time.monotonic()
            self._answered.clear()
            return True

    def _ping(self) -> None:
        began = time.perf_counter()
        outcome = Caught()
        with outcome:
            self._driver.ping()
        took_ms = (time.perf_counter() - began) * 1000
        described = Caught()
        with described:
            self._about = self._driver.describe()
        error = outcome.error or described.error
        failure = None if error is None else _reason(error)
        # One assignment of a frozen record: readers need no lock.
        self._health = InstanceHealth(error is None, took_ms if error is None else None, failure, self._about)
        with self._lock:
            self._open = False
            self._answered.set()

    def note(self, health: InstanceHealth) -> None:
        """Record the answer to a further health check."""
        self._about, self._health = health.about, health

    def last(self) -> InstanceHealth:
        """Return the last answer at once, or that the question that is open has none in time."""
        with self._lock:
            # An answer of earlier must not hide that the present question has none for too long.
            late = self._open and time.monotonic() - self._began > PING_S
        health = _late(self._about) if late else self._health
        self._log_change(health)
        return health

    def answer(self, timeout_s: float) -> InstanceHealth:
        """Return the answer, or a failure if none came in time."""
        answered = self._answered.wait(max(0.0, timeout_s))
        health = self._health if answered else _late(self._about)
        self._log_change(health)
        return health

    def _log_change(self, health: InstanceHealth) -> None:
        """Log the first failed health check of an outage, and its end."""
        with self._lock:
            was_down, self._down = self._down, not health.healthy
        if was_down and health.healthy:
            log.warning("component.up", extra={"component": self._name})
        elif not was_down and not health.healthy:
            log.warning("component.down", extra={"component": self._name, "reason": health.error})


def _late(about: Description) -> InstanceHealth:
    return InstanceHealth(False, None, f"no answer within {PING_S:g} s", about)


def _reason(error: BaseException) -> str:
    """Return the reason of an error; only the type of a foreign one, whose text may contain a secret."""
    return error.message if isinstance(error, CompozyError) else type(error).__name__
