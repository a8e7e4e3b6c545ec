"""The directory in which one project keeps its data: one owner at a time, and a version stamp.

It has mode 0700 and holds regular files and directories alone; the content of the data is not read here.

    lock            process id of the owner while it runs
    version         {"layout": 1, "compozy": "0.1.0"}
    .gitignore      *, which keeps it out of version control
    compozy.db      the database
    temporal.db     the embedded Temporal
    redis/          the embedded Redis
    key             the encryption key of the histories
    server.json     where the running server listens, for its owner and root
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

from compozy import __version__
from compozy.base.output_file import write_file
from compozy.base.source_file import check_owner
from compozy.base.system_hints import hint_for
from compozy.errors import DriverError, StateDirectoryError, TrustError
from compozy.state.data_files import check_data_files
from compozy.state.file_lock import FileLock

STATE_DIRECTORY = ".compozy"
LAYOUT = 1
# What a start that was killed may have written before the version stamp.
_FIRST = {"lock", ".gitignore"}


class StateDirectory:
    """One project's state directory, locked between `acquire` and `release`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = FileLock(f"{path}/lock")
        self._created = False

    def acquire(self, *, replace_stamp: bool = False) -> None:
        """Create the directory where it is missing, lock it and check its layout.

        With `replace_stamp` a version stamp that cannot be read is replaced; a newer one is refused all the same.

        Raises:
            StateDirectoryError: another process uses it, another user controls it, it holds links or special files,
                or a newer Compozy wrote it.
            DriverError: it cannot be created or written.
        """
        self._created = _create(self.path)
        try:
            self._check()
            self._lock.acquire(f"the state directory {self.path}")
            check_data_files(os.path.realpath(self.path))
            if not self._has_layout(damaged_is_missing=replace_stamp):
                self._write_stamp()
            _close_to_others(self.path)
        except BaseException:
            self.release(discard=True)
            raise

    def examine(self) -> None:
        """Refuse what `acquire` would refuse, and change nothing; a missing directory is accepted.

        Raises:
            StateDirectoryError: see `acquire`.
        """
        self._check()
        self._lock.examine(f"the state directory {self.path}")
        check_data_files(os.path.realpath(self.path))
        self._has_layout()

    def release(self, *, discard: bool = False) -> None:
        """Release the directory; idempotent.

        `discard` removes a directory that `acquire` created: the start that made it has failed, and nothing in
        it was ever confirmed to anybody.
        """
        # Without the lock another start may already use the directory.
        discard = discard and self._created and self._lock.held
        if discard:
            self._created = False
            # While the lock is held, so that no other start uses a directory that is half removed.
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()

    def _check(self) -> None:
        """Refuse a directory of another user, and a link to one that is not a state directory.

        Raises:
            StateDirectoryError: it is refused.
        """
        try:
            check_owner(self.path)
        except TrustError as error:
            raise StateDirectoryError(error.message, hint=error.hint) from error
        if os.path.islink(self.path) and os.path.isdir(self.path):
            # A checkout can bring the link, and a start would then write into a directory of the user.
            found = {*os.listdir(self.path)} - _FIRST
            if found and "version" not in found:
                reason = f"{self.path} is a symbolic link to a directory with other files"
                raise StateDirectoryError(reason, hint="remove the link, or let it lead to an empty directory")

    def _has_layout(self, *, damaged_is_missing: bool = False) -> bool:
        """Return False without a version stamp.

        Raises:
            StateDirectoryError: it cannot be read, or is of a newer layout.
        """
        stamp = Path(self.path, "version")
        try:
            layout = int(json.loads(stamp.read_text(encoding="utf-8"))["layout"])
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError) as error:
            if damaged_is_missing and stamp.is_file():
                return False
            hint = f'restore a backup with --force, or write {{"layout": {LAYOUT}}} into it'
            raise StateDirectoryError(f"{stamp} cannot be read", hint=hint) from error
        if layout > LAYOUT:
            raise StateDirectoryError(
                f"{self.path} was written by a newer Compozy (layout {layout}; this one knows up to {LAYOUT})",
                hint="upgrade Compozy, or use another directory",
            )
        return True

    def _write_stamp(self) -> None:
        stamp = Path(self.path, "version")
        try:
            if not stamp.with_name(".gitignore").exists():
                write_file(stamp.with_name(".gitignore"), "*\n")
            # Last, because a directory with a stamp counts as complete; see `_FIRST`.
            write_file(stamp, json.dumps({"layout": LAYOUT, "compozy": __version__}) + "\n")
        except OSError as error:
            raise DriverError(f"{stamp} cannot be written: {error.strerror}", hint=hint_for(error)) from error


def _close_to_others(path: str) -> None:
    """Set mode 0700 on a directory of this user that others may read.

    Raises:
        DriverError: the mode cannot be changed.
    """
    found = os.stat(path)
    if found.st_uid != os.geteuid() or not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return
    try:
        os.chmod(path, stat.S_IRWXU)
    except OSError as error:
        raise DriverError(f"{path} cannot be used: {error.strerror}", hint=hint_for(error)) from error


def _create(path: str) -> bool:
    """Create the directory; return True if it was missing."""
    folder = Path(path)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    except OSError as error:
        if isinstance(error, FileExistsError) and folder.is_dir():
            return False
        raise DriverError(f"{path} cannot be created: {error.strerror}", hint=hint_for(error)) from error
    return True
