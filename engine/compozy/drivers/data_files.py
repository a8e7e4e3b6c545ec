"""What may stand where a component keeps its data: regular files with one name, and directories.

A checkout can bring links, and a link would let a start write into any file of the user.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from compozy.base.ownership import refusal
from compozy.base.system_hints import hint_for
from compozy.errors import StateDirectoryError


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
