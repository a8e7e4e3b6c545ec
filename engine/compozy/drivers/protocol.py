"""The protocol of drivers, and what they get to start with.

A driver gets resolved values through its constructor, never reads configuration and never prints.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import field
from typing import Any, Protocol, TypeVar

from compozy.base.record import dataclass
from compozy.errors import DriverError
from compozy.state.undo import UndoLog

Result = TypeVar("Result")
_LET_END_S = 0.2
_CLOSE_S = 2.0
_JOIN_S = 5.0
_QUIET_S = 60.0
log = logging.getLogger("compozy.loop")


@dataclass(frozen=True, slots=True)
class Description:
    """The address and data directory of a component, or None; `details` are further facts. Never secrets."""

    address: str | None = None
    data: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class LoopThread:
    """An asyncio event loop in a daemon thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(_LoopLog())
        self._lock = threading.Lock()
        self._ended = False
        self._calls: dict[Future[Any], Coroutine[object, object, object]] = {}
        self._thread = threading.Thread(target=self._run, name="compozy-loop", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            self._end_tasks()
        finally:
            with self._lock:
                self._ended, calls = True, dict(self._calls)
            self.loop.close()
            # A call that came last may never have begun: its coroutine is closed, or Python reports it as never
            # awaited.
            for future, coroutine in calls.items():
                future.cancel()
                with contextlib.suppress(RuntimeError):
                    coroutine.close()

    def _end_tasks(self) -> None:
        """Wait for tasks that are about to end, and cancel the rest.

        A cancelled call into a native library keeps running for a moment, which must not be the moment in
        which the interpreter ends.
        """
        for patience_s in (_LET_END_S, _CLOSE_S):
            tasks = asyncio.all_tasks(self.loop)
            if tasks:
                self.loop.run_until_complete(asyncio.wait(tasks, timeout=patience_s))
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())

    def call(self, coroutine: Coroutine[object, object, Result], timeout_s: float) -> Result:
        """Run `coroutine` on the loop and return its result, from any other thread.

        Raises:
            DriverError: it did not end within `timeout_s`, or the loop is closed.
        """
        with self._lock:
            if self._ended:
                coroutine.close()
                raise DriverError("it was stopped")
            future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
            self._calls[future] = coroutine
        try:
            _clear_frames(future.exception(timeout_s))
            return future.result()
        except CancelledError as error:
            raise DriverError("it was stopped") from error
        except FutureTimeout as error:
            # The coroutine itself raised TimeoutError, which is its result.
            if future.done():
                raise
            raise DriverError(f"no answer within {timeout_s:g} s") from error
        finally:
            future.cancel()
            with self._lock:
                self._calls.pop(future, None)

    def close(self) -> None:
        """Cancel what runs on the loop, stop it and wait for its thread; idempotent."""
        if self._thread.is_alive() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(_JOIN_S)


def _clear_frames(error: BaseException | None) -> None:
    """Clear the variables of the frames that an error came through.

    The library of Temporal keeps an error until its next call, and the frames refer to the client: its connection would
    stay open after `stop`.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


class _LoopLog:
    """Logs what no task handles, each kind once a minute: running out of files is reported for every connection."""

    def __init__(self) -> None:
        self._logged: dict[str, float] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        message, now = str(context.get("message", "")), time.monotonic()
        if now - self._logged.get(message, -_QUIET_S) >= _QUIET_S:
            self._logged[message] = now
            log.error("loop.failed", extra={"reason": message}, exc_info=context.get("exception"))


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check; `status` is `pass`, `warn`, `fail` or `skip`, `fix` the remedy when it is not `pass`.

    `user` is the id of the process that uses what was checked, where one does.
    """

    id: str
    status: str
    message: str
    fix: str = ""
    user: int | None = None


@dataclass(frozen=True, slots=True)
class Storage:
    """A file or directory in which a driver keeps data, at an absolute path.

    `name` distinguishes it from other data of the driver, also in a backup. While a backup is taken, writers of a
    SQLite file that is `locked` wait for the moment at which everything is copied, and the writer of a directory that
    is `locked` (see `WriteGate`) until it is copied.
    """

    name: str
    path: str
    locked: bool = False


@dataclass(frozen=True, slots=True)
class StartContext:
    """The context of a driver's start and of its preflight.

    `notice` takes one line for the user; `deadline` is on the clock of `time.monotonic`; `state_dir` is the
    project's state directory, or None when nothing is kept there. `cancelled` is set when another component has
    failed and the start ends. Paths recorded in `undo` are removed when the whole start fails. `component` is the text
    form of the instance; `needed` are the drivers of the instances that it needs.
    """

    loop: LoopThread
    notice: Callable[[str], None]
    deadline: float
    state_dir: str | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    undo: UndoLog = field(default_factory=UndoLog)
    component: str = ""
    needed: Mapping[str, Driver] = field(default_factory=dict)

    def handle(self, instance: str) -> object:
        """Return the handle of an instance that the driver's row needs, such as `redis`.

        Raises:
            DriverError: the row does not need it, or it has not been started, as in a preflight.
        """
        if instance not in self.needed:
            hint = f"`needs` of the driver's row names its component; compozy start provisions {instance} before"
            raise DriverError(f"{instance} is not provisioned", hint=hint)
        return self.needed[instance].handle

    def left_s(self) -> float:
        """Return the seconds until the deadline, zero when it is over or the start was cancelled."""
        return 0.0 if self.cancelled.is_set() else max(0.0, self.deadline - time.monotonic())


class Driver(Protocol):
    """One backend of one instance of a component.

    A driver that keeps data may have `holding()`, which returns how much that is (see `inventory.Holding`), also before
    `start` and after `stop`.
    """

    @property
    def handle(self) -> Any:
        """The object that users get; available after `start`."""

    def start(self, context: StartContext) -> None:
        """Start or reach the backend, blocking; raises DriverError and then leaves nothing behind."""

    def ping(self) -> None:
        """Do a real operation; raises DriverError when the backend does not answer."""

    def stop(self, grace_s: float) -> None:
        """Release everything; idempotent; `grace_s` 0 is at once."""

    def describe(self) -> Description:
        """Return where the backend is and where its data is."""

    def preflight(self, context: StartContext) -> Iterable[Check]:
        """Check what `start` depends on, before it and instead of it; see `drivers.preflight`."""

    def storage(self) -> Sequence[Storage]:
        """Return where data is kept on this machine, whether it is there already or not."""
