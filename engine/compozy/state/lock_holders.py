"""Acquire a file lock, and end the servers that still hold it after their owner was killed.

A lock (`flock`) belongs to the open file description, so that a server to which the descriptor was passed on holds it
as well. When its guardian and its owner are killed together, it continues to use the data; the lock leads to it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path

from compozy.errors import InUseError

WAIT_S = 5.0
_PAUSE_S = 0.02
_EXCLUSIVE = re.compile(r"FLOCK\s+\S+\s+WRITE")  # `doctor` has a shared lock for a moment
_GUARDIANS = ("sh", "dash", "bash", "busybox")
# What `flock` reports on file systems without such locks; EBADF on NFS, where the file must be open for writing.
_UNSUPPORTED = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
log = logging.getLogger("compozy.supervision")


def take_lock(descriptor: int, what: str, program: str | None, recorded: Callable[[], str] = lambda: "") -> None:
    """Lock an open file; servers that run `program` and hold the lock without an owner are killed.

    `what` is locked, for the error. `recorded` returns the process id that the last owner wrote down. On file systems
    without such locks (NFS) nothing is locked.

    Raises:
        InUseError: a running process has the lock.
    """
    # A lock without an owner is either a server whose owner was killed, which is ended, or the moment between locking
    # and writing the process id, or between the end of the last holder and the release of its lock: then waiting helps.
    until = time.monotonic() + WAIT_S
    while not _try(descriptor):
        holders = dict(_holders(descriptor))
        # Only the server's own binary is ended, and guardians are left to it; any other holder is a user of the data.
        servers = [pid for pid, name in holders.items() if program and name == os.path.basename(program)]
        others = [pid for pid, name in holders.items() if pid not in servers and name not in _GUARDIANS]
        owner = recorded()
        if others or (not holders and is_running(owner)) or time.monotonic() > until:
            raise in_use(what, str(next(iter(others or servers or holders), owner)))
        for pid in servers:
            _end(pid, descriptor, what)
        # The owner is about to write its process id, or the last holder about to end.
        time.sleep(_PAUSE_S)


def in_use(what: str, owner: str) -> InUseError:
    """Return the error of data that a running process uses; `owner` is its process id where it is known."""
    process = f"process {owner or 'unknown'}"
    error = InUseError(f"{what} is in use by {process}", hint=f"stop {process}, or use another directory")
    error.owner = int(owner) if owner.isdigit() else None
    return error


def is_running(owner: str) -> bool:
    """Return True if a process has the id that stands in a lock file."""
    try:
        os.kill(int(owner), 0)
    except ValueError:
        return False
    except OSError as error:
        # The process exists, but belongs to another user.
        return error.errno == errno.EPERM
    return True


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    return True


def _holders(descriptor: int) -> Iterator[tuple[int, str]]:
    """Yield process id and program of each process that has the lock, as far as the system shows them (Linux)."""
    wanted = os.fstat(descriptor)
    # /proc/locks names the process that locked first, not those that inherited the descriptor.
    for link in glob("/proc/[0-9]*/fd/*"):
        _, _, pid, _, number = link.split("/")
        try:
            if not os.path.samestat(os.stat(link), wanted):
                continue
            if _EXCLUSIVE.search(Path(f"/proc/{pid}/fdinfo/{number}").read_text()):
                program = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
                yield int(pid), os.path.basename(program)
        except OSError:
            continue


def _end(pid: int, descriptor: int, what: str) -> None:
    """Kill a server without an owner; the handle keeps its number from being given to another process meanwhile."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Checked again with the handle open: the number may have passed to another process since the first look.
        if pid in dict(_holders(descriptor)):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            text = "process %d still used %s after its owner was killed, and was ended"
            log.warning(text, pid, what, extra={"event": "orphan.killed", "pid": pid})
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
