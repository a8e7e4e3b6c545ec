"""A start context, time limits and process checks for tests of drivers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import psutil

from compozy.drivers.protocol import LoopThread, StartContext

DEADLINE_S = 30.0


@dataclass
class Starting:
    """Create contexts and record the notices of the drivers."""

    loop: LoopThread
    notices: list[str] = field(default_factory=list)

    def context(self, timeout_s: float = DEADLINE_S, state_dir: str | None = None) -> StartContext:
        """Return a context whose time begins now."""
        return StartContext(self.loop, self.notices.append, time.monotonic() + timeout_s, state_dir)


@contextmanager
def starting() -> Iterator[Starting]:
    """Yield what drivers start with; its loop ends with the block."""
    loop = LoopThread()
    with closing(loop):
        yield Starting(loop)


def marked(marker: str) -> list[psutil.Process]:
    """Return the processes, zombies aside, in whose command line `marker` stands."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        arguments = process.info["cmdline"] or []
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(marker in argument for argument in arguments):
            found.append(process)
    return found
