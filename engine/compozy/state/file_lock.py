"""A file lock that names its owner and ends with it.

The operating system's lock decides, so a file left by a dead owner is no obstacle. Only a file that holds a process id
or nothing is ever written to or removed: at the same name a checkout may have planted a link or a file of its own.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from functools import partial
from pathlib import Path

from compozy.base.system_hints import hint_for
from compozy.errors import DriverError, StateDirectoryError
from compozy.state.data_files import check_data_files
from compozy.state.lock_holders import in_use, is_running, take_lock
from compozy.state.undo import UndoLog

LOCK_SUFFIX = ".compozy-lock"
_OURS = re.compile(rb"\d{0,20}\n?")
_HELD: set[int] = set()


class FileLock:
    """A lock on `path`; the file holds the owner's process id and is removed with the lock."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Return True if this process holds the lock."""
        return self._descriptor is not None

    @property
    def inherited(self) -> tuple[int, ...]:
        """The descriptors that a child gets to hold the lock as well."""
        return () if self._descriptor is None else (self._descriptor,)

    def acquire(self, what: str, program: str | None = None) -> None:
        """Acquire the lock; `what` names the protected data in the error; `program`: see `take_lock`.

        Raises:
            StateDirectoryError: a running process holds it, or the file is not a lock file or cannot be written.
        """
        # The lock belongs to the inode, not to the name: a lock on a file that its last owner has just removed excludes
        # no process that creates a new file at the name. So the name is compared after locking, and the race is
        # repeated.
        while self._descriptor is None:
            descriptor = self._open(os.O_CREAT | os.O_RDWR)
            try:
                take_lock(descriptor, what, program, partial(_owner, descriptor))
            except BaseException:
                os.close(descriptor)
                raise
            if _same(descriptor, self.path):
                self._descriptor = descriptor
                close_on_fork(descriptor)
            # Its last owner removed the file between opening and locking it.
            else:
                os.close(descriptor)
        try:
            # The process id only helps the messages of others: it is not the lock, and a stale one is no obstacle.
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()
            reason = f"{self.path} cannot be written: {error.strerror}"
            raise StateDirectoryError(reason, hint=hint_for(error)) from error

    def _open(self, access: int) -> int:
        """Open the file if it is a lock file, or with `O_CREAT` in `access` missing.

        Raises:
            StateDirectoryError: it is missing, cannot be opened, or is not a lock file.
        """
        check_data_files(self.path)
        try:
            # A checkout may have planted a link or a pipe here: neither is followed, and opening a pipe does not block.
            descriptor = os.open(self.path, access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        except IsADirectoryError:
            pass
        except OSError as error:
            reason = f"{self.path} cannot be opened: {error.strerror}"
            raise StateDirectoryError(reason, hint=hint_for(error)) from error
        else:
            # A directory opens for reading; only the attempt to read it fails.
            with suppress(IsADirectoryError):
                if _OURS.fullmatch(os.pread(descriptor, 64, 0)):
                    return descriptor
            os.close(descriptor)
        raise StateDirectoryError(
            f"{self.path} is not a lock file of Compozy", hint="move it away; nothing was changed in it"
        )

    def release(self) -> None:
        """Remove the file and release the lock; idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor in _HELD:
            # The directory may have been moved, and the file of another owner be in its place.
            if _same(descriptor, self.path):
                Path(self.path).unlink(missing_ok=True)
            release(descriptor)

    def examine(self, what: str) -> None:
        """Refuse what `acquire` would refuse, and change nothing.

        Raises:
            StateDirectoryError: a running process holds it, or it is not a lock file.
        """
        try:
            descriptor = self._open(os.O_RDONLY)
        except StateDirectoryError:
            if os.path.lexists(self.path):
                raise
            return
        try:
            # Shared, and for a moment: a start that comes meanwhile tries again, because no process id stands there.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = _owner(descriptor)
            if is_running(owner) or not owner:  # `acquire` ends servers that outlived their owner
                raise in_use(what, owner) from error
        finally:
            os.close(descriptor)


def close_on_fork(descriptor: int) -> None:
    """Close `descriptor` in forked children, so that they do not keep the lock; see `release`."""
    _HELD.add(descriptor)


def release(descriptor: int) -> None:
    """Close `descriptor`, which ends its lock; do nothing if it is already closed or a parent's."""
    if descriptor in _HELD:
        _HELD.remove(descriptor)
        os.close(descriptor)


def _forget() -> None:
    """Close the locked descriptors in a forked child; the parent keeps the locks."""
    while _HELD:
        os.close(_HELD.pop())


# A child forked without exec, as of a process pool, would keep the locks after this process has ended.
os.register_at_fork(after_in_child=_forget)


def _owner(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode(errors="replace").strip()


def _same(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def beside(path: str) -> FileLock:
    """Return the lock of the data at `path`, a file beside it; links above it are resolved, so that there is one."""
    return FileLock(f"{Path(os.path.realpath(Path(path).parent)) / Path(path).name}{LOCK_SUFFIX}")


def lock_beside(path: str, undo: UndoLog, program: str | None = None) -> FileLock:
    """Lock the data at `path` by a file beside it, against other projects that use the same data.

    `program` is the binary of a server to which the lock is passed on; see `take_lock`.
    Missing directories are created and recorded in `undo`.

    Raises:
        StateDirectoryError: a running process uses the data.
        DriverError: the lock cannot be written.
    """
    lock = beside(path)
    try:
        undo.create_directory(Path(lock.path).parent)
    except OSError as error:
        raise DriverError(f"{path} cannot be used: {error.strerror}", hint=hint_for(error)) from error
    lock.acquire(path, program)
    return lock
