"""Kill the parent process when it does not end after a signal; runs as a script in a process of its own.

Standard input is the socket in which the parent's interpreter records its signals, one byte each. They are read without
being taken out. The end of the socket is the end of the parent.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Collection

POLL_S = 0.2
# A parent that still runs Python code ends sooner than this after a second signal.
SECOND_S = 1.0
# How often the parent is looked for when another process holds its end of the socket open.
IDLE_S = 5.0


def watch(recorded: socket.socket, parent: int, grace_s: float, numbers: Collection[int]) -> None:
    """Return when `parent` has ended, killed or not."""
    # By number of signals, so that the second one has a deadline of its own.
    began: dict[int, float] = {}
    while os.getppid() == parent:
        select.select([recorded], [], [], IDLE_S)
        seen = _recorded(recorded)
        if seen is None:
            return
        count = min(2, sum(number in numbers for number in seen))
        began.setdefault(count, time.monotonic())
        if count and time.monotonic() - began[count] > (grace_s if count == 1 else SECOND_S):
            os.kill(parent, signal.SIGKILL)
            return
        # The bytes stay in the socket, so from the first signal on `select` returns at once.
        time.sleep(POLL_S)


def _recorded(source: socket.socket) -> bytes | None:
    """Return the recorded signals, None at the end."""
    try:
        return source.recv(4096, socket.MSG_PEEK | socket.MSG_DONTWAIT) or None
    except BlockingIOError:
        return b""


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Service managers signal all processes of a service; the watchdog must outlive the first signal.
        signal.signal(ignored, signal.SIG_IGN)
    watch(socket.socket(fileno=0), os.getppid(), float(sys.argv[1]), tuple(map(int, sys.argv[2:])))
