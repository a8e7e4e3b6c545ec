"""A directory that another process removes when this one ends, `kill -9` included; in memory where it fits."""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from pathlib import Path

from compozy.drivers.process import Command, Process
from compozy.errors import DriverError

_MAKE_S = 30.0
_POLL_S = 0.002
# Bytes that memory must have left.
_ROOM = 512 * 1024 * 1024
# Characters: the path of a socket below it has to stay below 107.
_LONGEST = 60


class Scratch:
    """A directory of mode 0700 that is there until `remove`, or until this process ends."""

    def __init__(self, name: str) -> None:
        """Make the directory.

        Raises:
            DriverError: it could not be made.
        """
        self.path = _roomy() / f"compozy-{name}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        # The guardian of this process removes the directory; the process itself has nothing to do.
        command = Command(f"{name}-files", ("sleep", "2147483647"), scratch=str(self.path))
        self._keeper = Process(command, ignore, ignore)
        deadline = time.monotonic() + _MAKE_S
        while not self.path.exists():
            if not self._keeper.running() or time.monotonic() > deadline:
                raise DriverError(f"{self.path} could not be made: {self._keeper.tail()}")
            time.sleep(_POLL_S)

    def remove(self) -> None:
        """Remove the directory with all its content; idempotent."""
        self._keeper.kill()


def ignore(_: object) -> None:
    """Ignore a log line or an end of the process; the process keeps its last lines."""


def _roomy() -> Path:
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK | os.X_OK):
        seen = os.statvfs(memory)
        if seen.f_bavail * seen.f_frsize > _ROOM:
            return memory
    chosen = Path(tempfile.gettempdir())
    return chosen if len(str(chosen)) < _LONGEST else Path("/tmp")
