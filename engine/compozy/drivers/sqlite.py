"""SQLite, in memory or in a file.

What comes in: `:memory:` or an absolute path. What goes out: a peewee database for any number of threads.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from typing import Any

from compozy.drivers.driver import Description, StartContext
from compozy.errors import DriverError

MEMORY = ":memory:"


class SqliteDriver:
    """A database that lives as long as the driver (memory) or in a file."""

    def __init__(self, path: str, busy_timeout_s: float = 5.0) -> None:
        self._path = path
        self._timeout_s = busy_timeout_s
        self._anchor: sqlite3.Connection | None = None
        self._database: Any = None

    @property
    def handle(self) -> Any:
        """The peewee database."""
        return self._database

    def start(self, context: StartContext) -> None:
        """Open the database; a file is created with mode 0600 in a directory of mode 0700.

        Raises:
            DriverError: the file cannot be opened, or is not a database.
        """
        from peewee import SqliteDatabase

        pragmas = {"foreign_keys": 1, "busy_timeout": int(self._timeout_s * 1000)}
        if self._path == MEMORY:
            # SQLite's memdb gives a named database real locks; a shared cache would answer "table is locked".
            name = f"file:/compozy-{uuid.uuid4().hex}?vfs=memdb"
            self._anchor = sqlite3.connect(name, uri=True, check_same_thread=False)
            self._database = SqliteDatabase(name, uri=True, pragmas=pragmas, timeout=self._timeout_s)
        else:
            _prepare(self._path)
            pragmas |= {"journal_mode": "wal", "synchronous": "normal"}  # type: ignore[dict-item]
            self._database = SqliteDatabase(self._path, pragmas=pragmas, timeout=self._timeout_s)
        self.ping()

    def ping(self) -> None:
        """Read from the database.

        Raises:
            DriverError: it does not answer.
        """
        import peewee

        try:
            with self._database.connection_context():
                self._database.execute_sql("SELECT 1").fetchone()
        except peewee.DatabaseError as error:
            raise DriverError(f"{self._path}: {error}", hint="move the file aside, or restore a backup") from error

    def stop(self, grace_s: float) -> None:
        """Close the database; an in-memory one is gone."""
        if self._database is not None and not self._database.is_closed():
            self._database.close()
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None

    def describe(self) -> Description:
        """Say where the data is."""
        return Description(self._path, None if self._path == MEMORY else self._path)


def _prepare(path: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise DriverError(f"{path} cannot be opened: {error.strerror}", hint="check the permissions") from error
