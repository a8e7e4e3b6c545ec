"""Keep verified rules across processes, so that the same content is read and verified only once.

They lie in the user's cache directory, never in a project, as Python objects: a file there is used only if no other
user controls it or its directory, as Python does with its own compiled modules. If the cache cannot be read or
written, rules are read and verified again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import sys
from functools import lru_cache
from pathlib import Path

from compozy import __version__
from compozy.base.output_file import open_regular, write_file
from compozy.base.ownership import unsafe_owner, unsafe_status
from compozy.rulebook.rule_records import Rulebook

# Each set of rules and each version of Compozy has a file of its own, and several may be in use.
_KEPT = 8


def verified_rules(digest: str) -> Rulebook | None:
    """Return the rules of this digest if this version of the verification found them valid."""
    file = cache_file(digest)
    # Unpickling can run code, so the directory is checked here and the open file below.
    if file is None or unsafe_owner(file.parent) is not None:
        return None
    try:
        with open_regular(file) as stream:
            kept = None if unsafe_status(os.fstat(stream.fileno())) else pickle.load(stream)
    except Exception:  # noqa: BLE001 - a damaged file can raise anything; the rules are verified again
        return None
    return kept if isinstance(kept, Rulebook) and kept.digest == digest else None


def keep_verified(rulebook: Rulebook) -> None:
    """Keep valid rules; the oldest ones are removed."""
    file = cache_file(rulebook.digest)
    if file is None:
        return
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not durable: a damaged file costs only another verification.
        write_file(file, pickle.dumps(rulebook, pickle.HIGHEST_PROTOCOL), durable=False)
        for old in sorted(file.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)[:-_KEPT]:
            old.unlink(missing_ok=True)


def cache_file(digest: str) -> Path | None:
    """Return the file for rules of a digest below `XDG_CACHE_HOME` or `~/.cache`; None if neither exists."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # A relative path would be one inside some project; the standard requires to ignore it.
    folder = given if given.is_absolute() else Path(os.path.expandvars("$HOME"), ".cache")
    name = hashlib.sha256(f"{digest} {_verification()}".encode()).hexdigest()
    return folder / "compozy" / "rules" / name if folder.is_absolute() else None


@lru_cache(maxsize=1)
def _verification() -> str:
    """Return what changes when reading or verifying changes: the versions, and the age and size of the files."""
    rooms = (Path(__file__).parent.parent / room for room in ("base", "rulebook", "settings", "tables"))
    files = sorted(file for room in rooms for file in room.glob("*.py"))
    return repr((__version__, sys.version, [(file.name, *_stamp(file)) for file in files]))


def _stamp(file: Path) -> tuple[int, int]:
    try:
        seen = file.stat()
    except OSError:
        return (0, 0)
    return (seen.st_mtime_ns, seen.st_size)
