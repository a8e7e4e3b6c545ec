"""A lock between the writer of a directory and a backup of it, for data that is overwritten in place.

The writer holds it for each operation, a backup while it copies. It ends with its process.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NAME = ".write-gate"


class WriteGate:
    """The gate of one directory, which exists; it is not shared between threads."""

    def __init__(self, folder: str | Path) -> None:
        # A checkout may have planted a link under this name, which must not be followed.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(os.path.join(folder, _NAME), flags, 0o600)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other holder out for the length of the block."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file, which releases the gate; idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
