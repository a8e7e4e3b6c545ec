"""Find the configuration file of a project, from the working directory upwards.

The search stops at the home directory, at the boundary of a file system and at a directory with `.git`, so that a file
that another project or user put further up decides nothing here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

CONFIG_NAMES = ("compozy.yaml", "compozy.yml")
_SIGNS = (".compozy", "workflows")


def find_file(start: str) -> str | None:
    """Return the nearest configuration file from `start` upwards, or None."""
    for directory in searched(start):
        for name in CONFIG_NAMES:
            if os.path.lexists(os.path.join(directory, name)):
                return os.path.join(directory, name)
    return None


def searched(start: str) -> Iterator[str]:
    """Yield the directories in which a configuration is looked for, the nearest first."""
    home = os.path.realpath(os.path.expanduser("~"))
    directory = os.path.abspath(start)
    while True:
        yield directory
        parent = os.path.dirname(directory)
        if os.path.realpath(directory) == home or os.path.lexists(os.path.join(directory, ".git")):
            return
        if parent == directory or _device(parent) != _device(directory):
            return
        directory = parent


def _device(directory: str) -> int | None:
    try:
        return os.stat(directory).st_dev
    except OSError:
        return None


def ignored_files(directory: str, found: str | None) -> tuple[str, ...]:
    """Return the names in `directory` that look like a configuration and are not the one that is read."""
    try:
        alike = [name for name in os.listdir(directory) if name.lower() in CONFIG_NAMES]
    # A directory may be entered without the right to list it.
    except OSError:
        return ()
    return tuple(sorted(name for name in alike if not found or not _is_same(os.path.join(directory, name), found)))


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return one == other


def project_above(start: str) -> str | None:
    """Return what a project without a configuration file left above `start`, such as `/shop/.compozy`, or None."""
    for directory in list(searched(start))[1:]:
        for name in _SIGNS:
            if os.path.isdir(os.path.join(directory, name)):
                return os.path.join(directory, name)
    return None
