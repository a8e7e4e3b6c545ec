"""A child process that never outlives us, written once for every embedded server.

What comes in: a command. What goes out: a running child whose log lines reach ours. A tiny shell, the
guardian, starts the child and holds the read end of a pipe whose write end only we hold: when we end,
whatever ended us, the pipe closes and the guardian kills the child. Unlike a parent-death signal this is
independent of threads, and works on Linux and macOS.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from compozy.errors import DriverError

log = logging.getLogger("compozy.child")

# The watcher ends the child when the pipe closes; the guardian ends the watcher when the child ends.
# `trap` lets the child's own signals pass the guardian by. $1 is what to remove afterwards, or empty.
_GUARDIAN = """
trap '' INT TERM HUP
input=$1
shift
exec 3<&0
"$@" <"/dev/fd/$input" 3<&- &
child=$!
( read -r _ <&3; kill -9 $child ) 2>/dev/null &
watcher=$!
exec 0</dev/null 3<&-
echo $child
wait $child
code=$?
kill -9 $watcher 2>/dev/null
exit $code
"""
_TAIL = 40


class Child:
    """One supervised process; `name` is how it is called in logs and errors."""

    def __init__(self, name: str, command: Sequence[str], *, config: str = "", directory: str = "/") -> None:
        """Prepare a child; `config` is what it reads on its standard input."""
        self.name = name
        self._command = tuple(command)
        self._config = config
        self._directory = directory
        self._guardian: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._reader: threading.Thread | None = None
        self.pid = 0

    def start(self) -> None:
        """Start the process; returns when it exists.

        Raises:
            DriverError: it could not be started.
        """
        read_end, self._pipe = os.pipe()
        input_end = _filled_pipe(self._config)
        try:
            self._guardian = subprocess.Popen(
                ["/bin/sh", "-c", _GUARDIAN, "guardian", str(input_end), *self._command],
                stdin=read_end, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                pass_fds=(input_end,), start_new_session=True, cwd=self._directory,
            )  # fmt: skip
        except OSError as error:
            os.close(self._pipe)
            raise DriverError(f"{self.name} could not be started: {error.strerror}") from error
        finally:
            os.close(read_end)
            os.close(input_end)
        self.pid = int(self._output().readline() or 0)
        self._reader = threading.Thread(target=self._read, name=f"compozy-log-{self.name}", daemon=True)
        self._reader.start()

    def _output(self) -> "subprocess.IO[bytes]":  # type: ignore[name-defined]
        if self._guardian is None or self._guardian.stdout is None:
            raise DriverError(f"{self.name} was not started")
        return self._guardian.stdout

    def _read(self) -> None:
        with contextlib.suppress(ValueError, OSError):
            for line in self._output():
                text = line.decode(errors="replace").rstrip()
                self._tail.append(text)
                log.info("child.log", extra={"child": self.name, "line": text})

    def running(self) -> bool:
        """Tell whether the process still runs."""
        return self._guardian is not None and self._guardian.poll() is None

    def tail(self) -> str:
        """Return the last lines that the process wrote."""
        if self._reader is not None and not self.running():
            self._reader.join(1.0)
        return "\n".join(self._tail)

    def wait_until(self, ready: Callable[[], bool], deadline: float) -> None:
        """Return when `ready`; polls every 5 ms.

        Raises:
            DriverError: the process ended, or `deadline` (`time.monotonic`) passed.
        """
        while not ready():
            if not self.running():
                raise DriverError(f"{self.name} ended while starting:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise DriverError(f"{self.name} was not ready in time", hint="see its log, or raise the timeout")
            time.sleep(0.005)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process; one that has ended is no error."""
        if self.running() and self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def stop(self, number: signal.Signals, grace_s: float) -> None:
        """Ask the process to end, kill it after `grace_s`; idempotent."""
        if self._guardian is None:
            return
        self.signal(signal.SIGKILL if grace_s <= 0 else number)
        try:
            self._guardian.wait(max(grace_s, 1.0))
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self._guardian.wait(5.0)
        self._close()

    def _close(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        if self._reader is not None:
            self._reader.join(1.0)
        self._output().close()
        self._guardian = None


def _filled_pipe(text: str) -> int:
    """Return the read end of a pipe that holds `text` (at most 64 KiB) and then ends."""
    read_end, write_end = os.pipe()
    os.write(write_end, text.encode())
    os.close(write_end)
    return read_end
