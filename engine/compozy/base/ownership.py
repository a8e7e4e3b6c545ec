"""Check which users may change a file or directory before its content is trusted.

A path is safe when it belongs to this user or to root and no other user may write to it. The exemptions are lines of
`trusted` in the user's own configuration directory and `COMPOZY_TRUST` of the process's environment, never of a file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

TRUST_VARIABLE = "COMPOZY_TRUST"
_ROOT = 0


def unsafe_owner(path: str | Path, *, sticky: bool = False) -> str | None:
    """Return why another user controls `path`, or None where it is safe or does not exist.

    A symbolic link is checked together with its target. `sticky` accepts a directory in which everybody may create
    files and only their owners may replace them, such as `/tmp`.

    >>> unsafe_owner("/")
    """
    # The link and its target: a user who controls either decides what is read.
    for look in (os.lstat, os.stat):
        try:
            seen = look(path)
        except OSError:
            return None
        reason = unsafe_status(seen, sticky=sticky)
        if reason is not None:
            return reason
    return None


def unsafe_status(seen: os.stat_result, *, sticky: bool = False) -> str | None:
    """Return why another user controls the file behind a status, such as that of an open descriptor."""
    if seen.st_uid not in (os.geteuid(), _ROOT):
        return f"it is owned by {user_name(seen.st_uid)}, not by {user_name(os.geteuid())}"
    if stat.S_ISLNK(seen.st_mode) or (sticky and seen.st_mode & stat.S_ISVTX):
        return None
    if seen.st_mode & stat.S_IWOTH:
        return f"every user may write to it (mode {stat.S_IMODE(seen.st_mode):04o})"
    if seen.st_mode & stat.S_IWGRP and not _is_private_group(seen.st_gid):
        return f"group {_group_name(seen.st_gid)} may write to it (mode {stat.S_IMODE(seen.st_mode):04o})"
    return None


def refusal(path: str | Path, *, sticky: bool = False) -> str | None:
    """Return why `path` is refused; None where it is safe, missing, or below a trusted directory."""
    reason = unsafe_owner(path, sticky=sticky)
    return None if reason is None or is_trusted(path) else reason


def is_trusted(path: str | Path) -> bool:
    """Return True if a trusted directory is `path` or above it, symbolic links resolved."""
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(os.path.realpath(directory)) for directory in trusted_directories())


def trusted_directories() -> Iterator[str]:
    """Yield the absolute directories that are exempt: of the environment, then of the user's own file."""
    given = os.environ.get(TRUST_VARIABLE, "").split(os.pathsep)
    yield from (directory for directory in given if os.path.isabs(directory))
    yield from listed_directories()


def listed_directories() -> Iterator[str]:
    """Yield the absolute directories of the user's own file, unless another user controls it."""
    file = trust_file()
    if file is not None and unsafe_owner(file) is None:
        yield from (line for line in _lines(file) if os.path.isabs(line))


def trust_file() -> Path | None:
    """Return the list of trusted directories below `XDG_CONFIG_HOME` or `~/.config`; None without a home directory."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    folder = given if os.path.isabs(given) else os.path.expanduser("~/.config")
    return Path(folder, "compozy", "trusted") if os.path.isabs(folder) else None


def user_name(uid: int) -> str:
    """Return the name of a user, or `user NUMBER` where the system knows none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _group_name(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _is_private_group(gid: int) -> bool:
    """Return True if the group is root's or this user's alone, as `useradd` makes one of the user's own name."""
    import grp

    if gid == _ROOT:
        return True
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    me = user_name(os.geteuid())
    return group.gr_name == me and set(group.gr_mem) <= {me}
