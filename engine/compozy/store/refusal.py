"""Classify what a database refuses, by SQLSTATE (PostgreSQL) and result code (SQLite).

The text of a server depends on its language; it is quoted, but no decision depends on it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import peewee

from compozy.store.unavailable import UnavailableError

_MIGRATE = "run `compozy migrate schema`, which creates and changes them"
_GRANT = "grant it, for example GRANT CREATE, USAGE ON SCHEMA public TO the user; or run migrations as another user"
_READ_ONLY = "after a failover name the primary, for example with ?target_session_attrs=read-write in database.url"
_ROOM = "free some space on its disk"
_REPAIR = "restore a backup; see the log of the server"
_AGAIN = "try again; `compozy status` shows its health"
# (reason, hint) by SQLSTATE, or by its class, which is its first two characters
# (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_SQLSTATES: Mapping[str, tuple[str, str]] = {
    "08": ("the connection failed", _AGAIN),
    "25006": ("it is read-only", _READ_ONLY),
    "28": ("it refuses the user or the password", "correct database.url, or database.user and database.password"),
    "3D000": ("the database does not exist", "create it (createdb), or correct database.name"),
    "3F000": ("no schema exists to create tables in", "create the schema, or correct the search_path of the user"),
    "40": ("the transaction was rolled back because of another one", _AGAIN),
    "42501": ("the user lacks a privilege", _GRANT),
    "42703": ("its tables are of another version", _MIGRATE),
    "42P01": ("its tables are missing", _MIGRATE),
    "53100": ("its disk is full", _ROOM),
    "53300": ("too many connections", "lower database.max_connections, or raise max_connections of the server"),
    "53": ("it has no resources left", "see the load and the log of the server"),
    "55": ("an object is in use", _AGAIN),
    "57": ("it is starting, stopping, or cancelled the statement", _AGAIN),
    "58": ("it has a system error", _REPAIR),
    "XX": ("it has an internal error or damaged data", _REPAIR),
}
# by primary result code (https://www.sqlite.org/rescode.html)
_SQLITE_CODES: Mapping[int, tuple[str, str]] = {
    sqlite3.SQLITE_PERM: ("permission denied", "check the permissions of the file and its directory"),
    sqlite3.SQLITE_BUSY: ("it is locked", _AGAIN),
    sqlite3.SQLITE_LOCKED: ("it is locked", _AGAIN),
    sqlite3.SQLITE_READONLY: ("it is read-only", "check the permissions of the file and its directory"),
    sqlite3.SQLITE_IOERR: ("the disk has an error", "see the log of the system"),
    sqlite3.SQLITE_CORRUPT: ("the file is damaged", "restore a backup"),
    sqlite3.SQLITE_NOTADB: ("the file is damaged", "restore a backup"),
    sqlite3.SQLITE_FULL: ("its disk is full", _ROOM),
    sqlite3.SQLITE_CANTOPEN: ("the file cannot be opened", "check the permissions of the file and its directory"),
}
_MISSING = ("no such table", "no such column")  # SQLite has no code of its own for these, and one language
_BUGS = (peewee.ProgrammingError, peewee.IntegrityError, peewee.DataError, peewee.NotSupportedError)


def refused(error: Exception) -> UnavailableError | None:
    """Return what an error of the database means to a user; None for a mistake of ours."""
    meaning = _meaning(error)
    if meaning is None:
        return None if isinstance(error, _BUGS) else UnavailableError("database", first_line(error), hint=_AGAIN)
    reason, hint = meaning
    return UnavailableError("database", f"{reason} ({first_line(error)})", hint=hint)


def read_only() -> UnavailableError:
    """Return the error of a server that answers but takes no writes, as a standby after a failover does."""
    reason, hint = _SQLSTATES["25006"]
    return UnavailableError("database", reason, hint=hint)


def _meaning(error: Exception) -> tuple[str, str] | None:
    cause: object = getattr(error, "orig", None) or error
    state = getattr(cause, "pgcode", None)
    if state is not None:
        return _SQLSTATES.get(state) or _SQLSTATES.get(state[:2])
    code = getattr(cause, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_ERROR and str(cause).startswith(_MISSING):
        return _SQLSTATES["42P01"]
    return None if code is None else _SQLITE_CODES.get(code & 0xFF)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
