"""A lock on the data itself, shared with the child process that uses it.

It belongs to device and inode, so that links, bind mounts and renamed directories do not lead around it, and shows
whether the data is still in its place.
"""

from __future__ import annotations

import os
import sys

from compozy.base.system_hints import hint_for
from compozy.errors import DriverError
from compozy.state.file_lock import close_on_fork, release
from compozy.state.lock_holders import take_lock


class DataLock:
    """The lock of one file or directory; `program` is the binary of the server that inherits it, or None."""

    def __init__(self, path: str, program: str | None = None) -> None:
        self._path = path
        self._program = program
        self._descriptor: int | None = None

    @property
    def inherited(self) -> tuple[int, ...]:
        """The descriptors that a child gets to hold the lock as well."""
        return () if self._descriptor is None else (self._descriptor,)

    def acquire(self) -> None:
        """Lock what is at the path now, where something is; ends servers whose owner has ended.

        Raises:
            StateDirectoryError: a running process has the lock.
            DriverError: the data cannot be opened.
        """
        # A restart of the server comes here again with the lock held; only data that was replaced meanwhile needs a new
        # one.
        if self._descriptor is not None and self._is_same():
            return
        self.release()
        if os.path.isfile(self._path) and sys.platform != "linux":
            # Linux keeps `flock` apart from the `fcntl` locks of SQLite; elsewhere both conflict.
            return
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            raise DriverError(f"{self._path} cannot be opened: {error.strerror}", hint=hint_for(error)) from error
        try:
            # An exclusive lock needs no write access to the data on local file systems, so that it is opened for
            # reading only.
            take_lock(descriptor, self._path, self._program)
        except BaseException:
            os.close(descriptor)
            raise
        close_on_fork(descriptor)
        self._descriptor = descriptor

    def verify(self) -> None:
        """Refuse data that is no longer at its path.

        Raises:
            DriverError: it was moved or removed, or something else has its place.
        """
        if self._descriptor is not None and not self._is_same():
            raise DriverError(
                f"{self._path} was moved, removed or replaced while it is in use",
                hint="stop the server, put the data back in its place, and start again",
            )

    def _is_same(self) -> bool:
        try:
            return self._descriptor is not None and os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))
        except OSError:
            return False

    def release(self) -> None:
        """Release the lock; idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            release(descriptor)
