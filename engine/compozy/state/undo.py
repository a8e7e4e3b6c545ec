"""Undo log: what a start creates on disk, so that a failed start can be rolled back.

Only paths that did not exist before are removed.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path


class UndoLog:
    """The paths that one start created or moved; safe to use from several threads."""

    def __init__(self) -> None:
        self._directories: list[Path] = []
        self._data: list[Path] = []
        self._moved: list[tuple[Path, Path]] = []

    def create_directory(self, path: str | Path) -> None:
        """Create a directory with mode 0700, and its missing parents.

        Raises:
            OSError: it cannot be created.
        """
        wanted = Path(path)
        missing = [part for part in (wanted, *wanted.parents) if not part.exists()]
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Parents first, so that `roll_back`, which pops from the end, removes children before them.
        self._directories += reversed(missing)

    def record_data(self, *paths: str | Path) -> None:
        """Record new files, or new directories with their future content, that a rollback removes.

        Raises:
            ValueError: a path is not absolute; what a rollback would remove is not defined.
        """
        for path in map(Path, paths):
            if not path.is_absolute():
                raise ValueError(f'"{path}" is not absolute')
            self._data.append(path)

    def record_move(self, source: str | Path, target: str | Path) -> None:
        """Record that `source` was renamed to `target`, which a rollback reverses."""
        self._moved.append((Path(source), Path(target)))

    def roll_back(self) -> None:
        """Remove what was created, and move back what was moved; idempotent. Failures are ignored."""
        # Data first: a move back then finds its old name free, and a new directory is empty when it is removed.
        while self._data:
            path = self._data.pop()
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        while self._moved:
            source, target = self._moved.pop()
            with contextlib.suppress(OSError):
                target.rename(source)
        while self._directories:
            # Another process may have put something into the directory.
            with contextlib.suppress(OSError):
                self._directories.pop().rmdir()
