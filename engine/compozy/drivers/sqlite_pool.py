"""A pool of SQLite connections: to open one takes longer than most calls.

This module imports peewee, so it is itself imported late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peewee import OperationalError
from playhouse.pool import PooledSqliteDatabase

from compozy.drivers.sqlite_turns import Turns
from compozy.drivers.thread_connections import ThreadConnections
from compozy.errors import DriverError

# Each idle connection keeps two files open.
MOST_IDLE = 8


class SqlitePool(ThreadConnections, PooledSqliteDatabase):
    """The connections of all threads to one database.

    `verify` raises a DriverError where the file is no longer the one that was opened.
    """

    def __init__(self, name: str, turns: Turns, verify: Callable[[], None], **options: Any) -> None:
        self._turns = turns
        self._verify = verify
        # In a pool `timeout` is the wait for a connection, and their number is not limited: SQLite's is a pragma.
        pragmas = {**options.pop("pragmas"), "busy_timeout": int(turns.timeout_s * 1000)}
        super().__init__(name, max_connections=None, pragmas=pragmas, **options)

    def connect(self, reuse_if_open: bool = False) -> bool:
        """Check out a connection for the calling thread; return True if it had none.

        Raises:
            peewee.OperationalError: the database was closed, or its file was moved, removed or replaced.
        """
        try:
            if self.is_closed():
                self._verify()
        except DriverError as error:
            raise OperationalError(error.reason) from error
        return bool(super().connect(reuse_if_open))

    def close(self) -> bool:
        """Return the calling thread's connection to the pool; return True if it had one."""
        had_one = bool(super().close())
        # A burst of threads leaves as many connections behind; each holds two descriptors.
        if self._turns.closed or len(self._connections) > MOST_IDLE:
            self.close_unused()
        return had_one
