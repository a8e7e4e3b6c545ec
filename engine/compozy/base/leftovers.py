"""Private temporary directories beside the data, and the removal of what killed processes left of them.

A temporary directory or file is locked while its process lives, which distinguishes it from a leftover.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from compozy.base.output_file import TEMPORARY


@contextmanager
def private_directory(
    parent: str | Path, prefix: str = TEMPORARY, keep: Callable[[], object] = lambda: False
) -> Iterator[Path]:
    """Yield a new directory of mode 0700 in `parent`; it is removed when the block ends, unless `keep` returns true.

    Raises:
        OSError: it cannot be created.
    """
    path, descriptor = _create_locked(parent, prefix)
    try:
        yield path
    finally:
        if not keep():
            # While it is locked, so that no other process removes it as a leftover at the same time.
            shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def _create_locked(parent: str | Path, prefix: str) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # Another process may have removed it as a leftover before it was locked.
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Another process may have removed it between its creation and the lock, as a leftover.
            if os.path.exists(path):
                return path, descriptor
            os.close(descriptor)


def remove_leftovers(parent: str | Path, *prefixes: str) -> None:
    """Remove the temporary entries of `parent` whose process has ended; entries that cannot be removed stay."""
    for name in os.listdir(parent) if os.path.isdir(parent) else ():
        if name.startswith((TEMPORARY, *prefixes)):
            with suppress(OSError):
                _remove_unused(Path(parent, name))


def _remove_unused(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # In a directory that others may write to, the name alone does not make it ours to remove.
        if os.fstat(descriptor).st_uid != os.geteuid():
            return
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    finally:
        os.close(descriptor)
