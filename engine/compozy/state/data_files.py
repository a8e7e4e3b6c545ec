"""Check the files at the place of a component's data: only regular files with one name, and directories, are accepted.

A checkout can bring links, and a link would let a start write into any file of the user.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from compozy.base.ownership import refusal
from compozy.base.system_hints import hint_for
from compozy.errors import DriverError, StateDirectoryError

# SQLite takes 512 bytes for a path with the ending of the log and a NUL character (MAX_PATHNAME).
LONGEST_BYTES = 504


def check_data_files(*paths: str) -> None:
    """Refuse each existing path that is not a regular file of ours with one name, or a directory of such files.

    Raises:
        StateDirectoryError: a link, a special file or a file of another user was found, or a directory cannot be read.
    """
    try:
        unsafe = [found for path in paths for found in _unsafe_entries(path)]
    except OSError as error:
        raise StateDirectoryError(f"{error.filename} cannot be read: {error.strerror}", hint=hint_for(error)) from error
    for entry, reason in unsafe:
        raise StateDirectoryError(
            f"{entry} {reason}; data of Compozy must be regular files of its owner",
            hint="move it away, or copy the data itself to its place; nothing was changed",
        )


def check_length(path: str) -> None:
    """Refuse the path of a database file that SQLite cannot open with the log beside it.

    Raises:
        DriverError: the path is too long.
    """
    size_bytes = len(os.fsencode(path))
    if size_bytes > LONGEST_BYTES:
        raise DriverError(
            f"the path {path} is too long: it has {size_bytes} bytes, and SQLite opens at most {LONGEST_BYTES}",
            hint="move the project to a directory with a shorter path, or choose a shorter path for the file",
        )


def _unsafe_entries(path: str) -> Iterator[tuple[str, str]]:
    reason = _reason(path)
    if reason:
        yield path, reason
    elif os.path.isdir(path):
        for entry in os.listdir(path):
            yield from _unsafe_entries(os.path.join(path, entry))


def _reason(path: str) -> str:
    """Return why the entry at `path` is not used, or an empty text; a missing one is."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return ""
    if stat.S_ISLNK(found.st_mode):
        return "is a symbolic link"
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        return "has a second name (hard link)"
    if not any(kind(found.st_mode) for kind in (stat.S_ISREG, stat.S_ISDIR, stat.S_ISSOCK)):
        return "is a special file"
    reason = refusal(path)
    return f"cannot be trusted: {reason}" if reason else ""
