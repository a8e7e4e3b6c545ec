"""A server process for the duration of a test run, on a free loopback port.

It keeps its data over `stop` and `start`, so that outages can be tested, ends with this process, `kill -9` included,
and leaves no file behind.
"""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from compozy.drivers.ports import free_port, listening
from compozy.drivers.process import Command, Process
from compozy.errors import DriverError
from compozy.testing.scratch import Scratch, ignore

HOST = "127.0.0.1"
START_S = 30.0
_STOP_S = 10.0
_POLL_S = 0.003
_ATTEMPTS = 3
_PORT_TAKEN = "ddress already in use"


class Server(ABC):
    """A server process with a directory of its own; a context manager that removes both."""

    name: str
    stop_signal = signal.SIGTERM
    close_signal: signal.Signals | None = None  # None kills

    def __init__(self) -> None:
        self.port = 0
        self._scratch: Scratch | None = None
        self._process: Process | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id, or None when it does not run."""
        return self._process.pid if self._process is not None and self.running() else None

    def running(self) -> bool:
        """Return True if the server process exists."""
        return self._process is not None and self._process.running()

    def start(self) -> None:
        """Start the server and return when it answers; no effect on one that runs.

        Raises:
            DriverError: the binary is missing, or the server did not answer in time.
        """
        if self.running():
            return
        try:
            if self._scratch is None:
                self._scratch = Scratch(self.name)
            self._launch(self._scratch.path)
        except BaseException:
            self.close()
            raise

    def stop(self) -> None:
        """Shut down as an administrator does; data stays; idempotent."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """Kill the server with `kill -9`; data stays."""
        self._end(None)

    def close(self) -> None:
        """End the server and remove its data; idempotent."""
        self._end(self.close_signal)
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            scratch.remove()

    @abstractmethod
    def _command(self, folder: Path) -> Command:
        """Return what to run on `port` with data in `folder`."""

    @abstractmethod
    def _answers(self) -> bool:
        """Return True if the listening server does its work."""

    def _launch(self, folder: Path) -> None:
        """Try again when another process took the port after it was found free; a restart keeps its port."""
        chosen = self.port
        for left in reversed(range(_ATTEMPTS)):
            self.port = chosen or free_port(HOST)
            process = self._process = Process(self._command(folder), ignore, ignore)
            if self._comes_up(process):
                return
            process.kill()
            if chosen or not left or _PORT_TAKEN not in process.tail():
                raise DriverError(f"{self.name} did not start:\n{process.tail()}")

    def _comes_up(self, process: Process) -> bool:
        deadline = time.monotonic() + START_S
        while process.running() and time.monotonic() < deadline:
            if listening(HOST, self.port) and self._answers():
                return True
            time.sleep(_POLL_S)
        return False

    def _end(self, number: signal.Signals | None) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if number is not None:
            process.signal(number)
            process.wait(_STOP_S)
        process.kill()
