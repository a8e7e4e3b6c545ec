"""A supervised child process, written once for every embedded server.

It is restarted when it crashes or stops answering, with growing pauses, and never outlives us (see `process`). No
failure to report an end, such as a closed terminal, keeps it from being restarted.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping

from compozy.drivers.process import Command, Process
from compozy.drivers.protocol import StartContext
from compozy.errors import DriverError

lines = logging.getLogger("compozy.child")
log = logging.getLogger("compozy.supervision")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
# Bounds the exponent: 16 doublings exceed the longest pause, and `0.1 * 2 ** 1024` raises OverflowError.
_DOUBLINGS = 16
# A process that ran this long before it ended is restarted after the first pause again.
STABLE_S = 30.0
WATCH_S = 5.0
# Unanswered health checks in a row, after which SIGCONT is sent to a process that may be stopped.
CONTINUED_AFTER = 2
# Unanswered health checks in a row, after which the process is killed and replaced.
REPLACED_AFTER = 6
REPEAT_S = 60.0
SHOWN_LINES = 12
# Servers are ready after 60 to 300 ms, and half of this interval is added to the time of a start.
POLL_S = 0.003


def responds(ask: Callable[[], object]) -> bool:
    """Return True unless `ask` raises DriverError."""
    try:
        ask()
    except DriverError:
        return False
    return True


class Child:
    """One supervised process; `restarts` counts how often it came back after a crash."""

    def __init__(
        self, command: Command, *, after_crash: str = "", check: Callable[[], None] = lambda: None
    ) -> None:  # fmt: skip
        """Prepare a child.

        `after_crash` ends the log line of a restart, and names what is lost. `check` is called before each restart and
        raises DriverError where the process must not run now.
        """
        self.command = command
        self.restarts = 0
        self._after_crash = after_crash
        self._check = check
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._supervised = False
        self._missed: Process | None = None
        self._pauses = 0
        self._failures: dict[str, float] = {}
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
            # A stop during the pause before a restart must not be followed by a process that is never ended.
            if not self._stopping.is_set():
                self._process = Process(self.command, self._line, self._ended)

    def running(self) -> bool:
        """Return True if the process runs."""
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

    def supervise(self, answers: Callable[[], bool]) -> None:
        """From now on restart the process when it ends by itself, or no longer `answers`."""
        with self._lock:
            # A crash between readiness and this call was recorded by `_ended`; without the hand-over it would be lost.
            self._supervised, missed = True, self._missed
        if missed is not None:
            # In a thread of its own: the pause before a restart must not delay the start of the other components.
            threading.Thread(target=self._restart, args=(missed,), daemon=True).start()
        name = f"compozy-watch-{self.command.name}"
        threading.Thread(target=self._watch, args=(answers, self._process), name=name, daemon=True).start()

    def stop(self, number: signal.Signals, grace_s: float) -> None:
        """Ask the process to end with a signal, kill it after `grace_s` seconds (0 at once); idempotent."""
        # Before the signal, so that the thread that notices the end does not restart the process.
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
        # Servers log many routine lines while they start; the errors among them are the reason of a failure.
        telling = [line for line in lines if self._level(line) >= logging.ERROR] or lines
        shown = "\n".join(telling[-SHOWN_LINES:])
        return f"{self.command.name} {what}" + (f":\n{shown}" if shown else "")

    def _level(self, line: str) -> int:
        return self.command.level(line) if self.command.level else logging.INFO

    def _line(self, text: str) -> None:
        # A failure during the start is in the error of the start, or concerned a port that was replaced. Lines that are
        # written during a shutdown report aborted calls. Neither is logged as a warning or error.
        steady = self._supervised and not self._stopping.is_set()
        level = self._level(text) if steady else min(self._level(text), logging.INFO)
        extra = {"child": self.command.name, "line": text}
        report(lines, level, "child.log", f"child.log {self.command.name}: {text}", extra)

    def _ended(self, process: Process) -> None:
        """Record the end of a process; runs in the thread that followed it."""
        with self._lock:
            if not self._supervised:
                self._missed = process
                return
        self._restart(process)

    def _restart(self, process: Process) -> None:
        # A process that ran for a while does not pay for crashes of long ago; one that crashes at once waits longer
        # each time.
        if process.lasted_s > STABLE_S:
            self._pauses = 0
        while not self._stopping.is_set():
            pause_s = min(FIRST_PAUSE_S * 2 ** min(self._pauses, _DOUBLINGS), LONGEST_PAUSE_S)
            self._pauses += 1
            if self._stopping.wait(pause_s) or self._revived(process):
                return

    def _revived(self, process: Process) -> bool:
        child = self.command.name
        try:
            # The data may have been moved while the process was down; a server would create empty data in its place.
            self._check()
            self.start()
        except DriverError as error:
            self._report_failure(f"{child} ended unexpectedly and cannot be started again: {error.reason}")
            return False
        self.restarts += 1
        how = f"{child} ended unexpectedly (exit code {process.code()}) and is started again"
        text = f"{how}, restart {self.restarts}{self._after_crash}"
        report(log, logging.WARNING, "child.restarted", text, {"child": child, "restarts": self.restarts})
        return True

    def _report_failure(self, text: str) -> None:
        """Log why a restart failed, once a minute for each reason."""
        now = time.monotonic()
        if now - self._failures.get(text, -REPEAT_S) >= REPEAT_S:
            self._failures[text] = now
            report(log, logging.ERROR, "child.not_restarted", text, {"child": self.command.name})

    def _watch(self, answers: Callable[[], bool], healthy: Process | None) -> None:
        """Replace a process that has answered health checks and no longer does; `healthy` is one that has."""
        unanswered = 0
        # A health check may fail while the machine is busy. Therefore only several failures in a row of a process that
        # has already answered count, and the first measure is harmless: SIGCONT helps a process that was stopped.
        while not self._stopping.wait(WATCH_S):
            process = self._process
            # `_restart` replaces a process that has ended, and may be in the pause before.
            if process is None or not process.running():
                continue
            try:
                answered = answers()
            # A failure of this process, such as too many open files, is not one of the server.
            except OSError:
                continue
            if answered:
                unanswered, healthy = 0, process
            # A process that has just been started may take its time to answer.
            elif process is healthy:
                unanswered += 1
                self._revive(process, unanswered)

    def _revive(self, process: Process, unanswered: int) -> None:
        fields = {"child": self.command.name, "health_checks": unanswered}
        if unanswered == CONTINUED_AFTER:
            report(log, logging.WARNING, "child.unresponsive", f"{self.command.name} does not answer", fields)
            process.signal(signal.SIGCONT)
        elif unanswered >= REPLACED_AFTER:
            report(log, logging.ERROR, "child.killed", f"{self.command.name} does not answer and is killed", fields)
            process.kill()


def report(logger: logging.Logger, level: int, event: str, text: str, fields: Mapping[str, object]) -> None:
    """Log an event with a text, from a thread that must survive every failure of the application's handlers."""
    try:
        logger.log(level, "%s", text, extra={"event": event, **fields})
    except Exception:  # noqa: BLE001, S110 - a handler of the application failed, and there is nowhere else to report it
        return
