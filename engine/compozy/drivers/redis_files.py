"""The data directory of the embedded Redis: an append-only file in several parts, their manifest, and a snapshot.

Nothing is written here. The server itself drops an incomplete command at the end of the last part, as a power failure
leaves it, and refuses other damage.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from compozy.drivers.binaries import find_valkey
from compozy.drivers.inventory import Holding
from compozy.drivers.process import environment
from compozy.errors import DriverError
from compozy.state.data_files import check_data_files

_AOF = "appendonlydir"
_RDB = "dump.rdb"
_FILE = re.compile(r"file (\S+) seq (\d+) type ([bih])(?: .*)?\n|#.*\n")
# The base and the increments; files of the history (`h`) may be deleted already.
_NEEDED = ("b", "i")
_NAMED = re.compile(f"(?:{_FILE.pattern})*")
# A snapshot without keys has about 90 bytes.
_EMPTY_BYTES = 200
# Larger parts are checked by the server alone, while it loads them.
_CHECKED_BYTES = 64 * 1024 * 1024
_CHECK_S = 30
_DAMAGE = {"b": ("rdb", "RDB ERROR DETECTED"), "i": ("aof", "format error|Expected prefix|Expected .r.n")}
_HINT = "restore a backup, or move the directory away to begin with an empty one"


def examine_data(folder: str) -> None:
    """Refuse data that the server would not read to its end, or would write over.

    Raises:
        DriverError: a file is missing, or another thing is in its place.
    """
    try:
        check_data_files(folder)
        if os.path.lexists(folder) and not os.path.isdir(folder):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory")
        _check_log(Path(folder, _AOF))
    except OSError as error:
        raise DriverError(f"{folder} cannot be used: {error.strerror}", hint="move it away") from error
    if Path(folder, _RDB).exists() and not Path(folder, _AOF).exists():
        raise DriverError(
            f"{folder} holds a snapshot but no append-only file, and starting would ignore it",
            hint="restore a backup, or move the snapshot away",
        )


def _check_log(log: Path) -> None:
    """Refuse a log without the manifest that names its parts, or without one of these.

    Raises:
        DriverError: the server would begin an empty log over it, or not start.
        OSError: it cannot be read.
    """
    parts = {part.name: part.stat().st_size for part in log.iterdir()} if log.is_dir() else {}
    manifest = next((log / name for name in parts if name.endswith(".manifest")), None)
    reason = _unnamed(log, parts) if manifest is None else _misnamed(manifest, parts)
    if reason:
        raise DriverError(reason, hint=_HINT)
    binary = find_valkey()
    if binary is not None:
        _check_parts(log, binary)


def _unnamed(log: Path, parts: Mapping[str, int]) -> str:
    # A server that was killed while it made its first log leaves one without keys, and no client was served yet.
    full = sorted(name for name, size in parts.items() if size > _EMPTY_BYTES)
    return f"{log} has no manifest, and starting would ignore {', '.join(full)}" if full else ""


def _misnamed(manifest: Path, parts: Collection[str]) -> str:
    text = manifest.read_text(errors="replace")
    if not _NAMED.fullmatch(text):
        return f"{manifest} is damaged"
    lost = [name for name, _, kind in _FILE.findall(text) if kind in _NEEDED and name not in parts]
    return f"{manifest} names {', '.join(lost)}, which is not there" if lost else ""


def holds_data(folder: str) -> bool:
    """Return True if there is a snapshot or an append-only file."""
    return Path(folder, _RDB).exists() or Path(folder, _AOF).exists()


def log_holding(folder: str) -> Holding | None:
    """Return the highest numbers of a base and of a later part, and the bytes of all parts that the manifest names.

    None means that the files cannot be read, which `examine_data` refuses.
    """
    log = Path(folder, _AOF)
    try:
        parts = list(_parts(log))
        sizes = [(log / name).stat().st_size for name, _, _ in parts if (log / name).exists()]
    except OSError:
        return None
    numbers = (max((number for _, number, kind in parts if kind == wanted), default=0) for wanted in _NEEDED)
    return Holding(folder, (*numbers, sum(sizes)) if parts else ())


def _parts(log: Path) -> Iterator[tuple[str, int, str]]:
    """Yield name, number and type of each part that the manifest needs; nothing without a manifest."""
    for manifest in log.glob("*.manifest"):
        for name, number, kind in _FILE.findall(manifest.read_text(errors="replace")):
            if kind in _NEEDED:
                yield name, int(number), kind


def _check_parts(log: Path, binary: str) -> None:
    """Check the parts with the check programs that are part of the server's binary.

    Raises:
        DriverError: a part is damaged in a way that the server would not load.
    """
    for name, _, kind in _parts(log):
        tool, damage = _DAMAGE[kind]
        part = log / name
        if 0 < part.stat().st_size <= _CHECKED_BYTES:
            found = re.search(damage, _report(binary, tool, part))
            if found:
                raise DriverError(f"{part} is damaged: {found[0]}", hint=_HINT)


def _report(binary: str, tool: str, part: Path) -> str:
    """Return the report of the check program; empty if the binary has none."""
    family = "redis" if os.path.basename(binary).startswith("redis") else "valkey"
    try:
        # The binary of the server acts as a check program when `argv[0]` is the name of one.
        ended = subprocess.run(
            [f"{family}-check-{tool}", str(part)], executable=binary, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=_CHECK_S, check=False, env=environment(),
        )  # fmt: skip
    # Without a verdict the start continues: the server itself refuses what it cannot load.
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ended.stdout + ended.stderr
