"""Record across processes which rules were verified, so that the same content is verified only once.

The digests are kept in the user's cache directory, never in a project. If the cache cannot be read or written, rules
are verified again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from functools import lru_cache
from pathlib import Path

from compozy import __version__
from compozy.base.output_file import write_file

_KEPT = 64


def is_verified(digest: str) -> bool:
    """Return True if rules of this digest were found valid by this version of the verification."""
    return _mark(digest) in _marks(cache_file())


def remember_verified(digest: str) -> None:
    """Note that rules of this digest are valid; the oldest notes are dropped."""
    file = cache_file()
    marks = [mark for mark in _marks(file) if mark != _mark(digest)]
    if file is None:
        return
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(file, "\n".join([*marks, _mark(digest)][-_KEPT:]) + "\n", durable=False)


def cache_file() -> Path | None:
    """Return the file of notes below `XDG_CACHE_HOME` or `~/.cache`; None if neither exists."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # A relative path would be one inside some project; the standard requires to ignore it.
    folder = given if given.is_absolute() else Path(os.path.expandvars("$HOME"), ".cache")
    return folder / "compozy" / "verified-rules" if folder.is_absolute() else None


def _marks(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        return file.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []


def _mark(digest: str) -> str:
    return hashlib.sha256(f"{digest} {_verification()}".encode()).hexdigest()


@lru_cache(maxsize=1)
def _verification() -> str:
    """Return what changes when the verification itself changes: the version, and the age and size of its files."""
    rooms = (Path(__file__).parent.parent / room for room in ("rulebook", "settings", "tables"))
    files = sorted(file for room in rooms for file in room.glob("*.py"))
    found = [(file.name, *_stamp(file)) for file in files]
    return repr((__version__, found))


def _stamp(file: Path) -> tuple[int, int]:
    try:
        seen = file.stat()
    except OSError:
        return (0, 0)
    return (seen.st_mtime_ns, seen.st_size)
