"""A supervised child process, written once for every embedded server.

What comes in: a `Command` and the context of the start. What goes out: a process that is restarted when it
crashes, with growing pauses and a visible record, and that never outlives us (see `process`).
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable

from compozy.drivers.driver import StartContext
from compozy.drivers.process import Command, Process
from compozy.errors import DriverError

log = logging.getLogger("compozy.child")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
_DOUBLINGS = 16  # more than it takes from the first pause to the longest one
STABLE_S = 30.0  # a life as long as this starts the pauses anew
SHOWN_LINES = 12
POLL_S = 0.003


class Child:
    """One supervised process; `restarts` counts how often it came back after a crash."""

    def __init__(self, command: Command, notice: Callable[[str], None], *, after_crash: str = "") -> None:
        """Prepare a child; `after_crash` ends the notice of a restart, and says what is lost."""
        self.command = command
        self.restarts = 0
        self._notice = notice
        self._after_crash = after_crash
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._supervised = False
        self._missed: Process | None = None
        self._pauses = 0
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None when it does not run."""
        process = self._process
        return process.pid if process is not None and process.running() else None

    def start(self) -> None:
        """Start the process; returns when it exists.

        Raises:
            DriverError: it could not be started.
        """
        with self._lock:
            if not self._stopping.is_set():
                self._process = Process(self.command, self._line, self._ended)

    def running(self) -> bool:
        """Tell whether the process runs."""
        process = self._process
        return process is not None and process.running()

    def tail(self) -> str:
        """Return the last lines that the process wrote."""
        return self._process.tail() if self._process is not None else ""

    def wait_until(self, ready: Callable[[], bool], context: StartContext) -> None:
        """Return when `ready`, asked every few milliseconds.

        Raises:
            DriverError: the process ended, or the time is over; it carries the last lines of its log.
        """
        while True:
            if not self.running():
                raise DriverError(self._with_tail("ended while starting"))
            if context.left_s() <= 0:
                raise DriverError(self._with_tail("was not ready in time"), hint="see its log, or raise the timeout")
            if ready():
                return
            time.sleep(POLL_S)

    def supervise(self) -> None:
        """From now on bring the process back when it ends by itself."""
        with self._lock:
            self._supervised, missed = True, self._missed
        if missed is not None:
            threading.Thread(target=self._restart, args=(missed,), daemon=True).start()

    def stop(self, number: signal.Signals, grace_s: float) -> None:
        """Ask the process to end with a signal, kill it after `grace_s` seconds (0 at once); idempotent."""
        self._stopping.set()
        with self._lock:
            process = self._process
        if process is None:
            return
        if grace_s > 0:
            process.signal(number)
            process.wait(grace_s)
        process.kill()

    def _with_tail(self, what: str) -> str:
        lines = self.tail().splitlines()
        telling = [line for line in lines if self._level(line) >= logging.ERROR] or lines
        shown = "\n".join(telling[-SHOWN_LINES:])
        return f"{self.command.name} {what}" + (f":\n{shown}" if shown else "")

    def _level(self, line: str) -> int:
        return self.command.level(line) if self.command.level else logging.INFO

    def _line(self, text: str) -> None:
        # What goes wrong while starting is told by the error of the start, or was a port that another try replaced.
        # What it says while it is stopped by us tells of calls that were cut off.
        telling = self._supervised and not self._stopping.is_set()
        level = self._level(text) if telling else min(self._level(text), logging.INFO)
        log.log(level, "child.log %s: %s", self.command.name, text, extra={"child": self.command.name, "line": text})

    def _ended(self, process: Process) -> None:
        """Take note of an end; runs in the thread that followed the process."""
        with self._lock:
            if not self._supervised:
                self._missed = process
                return
        self._restart(process)

    def _restart(self, process: Process) -> None:
        if process.lasted_s > STABLE_S:
            self._pauses = 0
        while not self._stopping.is_set():
            pause_s = min(FIRST_PAUSE_S * 2 ** min(self._pauses, _DOUBLINGS), LONGEST_PAUSE_S)
            self._pauses += 1
            log.warning("child.ended", extra={"child": self.command.name, "code": process.code(), "pause_s": pause_s})
            if self._stopping.wait(pause_s) or self._revived(process):
                return

    def _revived(self, process: Process) -> bool:
        self.restarts += 1
        how = f"{self.command.name} ended unexpectedly (exit code {process.code()}) and is started again"
        self._notice(f"{how}, restart {self.restarts}{self._after_crash}")
        try:
            self.start()
        except DriverError as error:
            log.error("child.not-started", extra={"child": self.command.name, "reason": error.reason})
            return False
        return True
