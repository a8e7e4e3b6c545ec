"""Let the threads of this process write to one SQLite database in turn, first come first served.

What comes in: statements of any number of connections. What goes out: the same, one writer at a time. SQLite
itself lets writers poll with growing pauses, so that under load one of them loses until its patience is over
("database is locked"); here each waits in line. Other processes are still waited for by SQLite's busy timeout.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

Result = TypeVar("Result")
_READS = ("SELECT", "PRAGMA", "EXPLAIN")


class Turns:
    """A lock that is handed from one to the next in the order of asking.

    `readers_wait` tells that reading needs the turn as well: an in-memory database cannot be read while it is written.
    """

    def __init__(self, timeout_s: float, *, readers_wait: bool) -> None:
        self.timeout_s = timeout_s
        self.readers_wait = readers_wait
        self._lock = threading.Lock()
        self._taken = False
        self._closed = False
        self._line: deque[threading.Lock] = deque()

    @property
    def waiting(self) -> int:
        """How many wait in line."""
        return len(self._line)

    def needed(self, sql: str) -> bool:
        """Tell whether a statement has to wait for its turn."""
        return self.readers_wait or not sql.lstrip()[:7].upper().startswith(_READS)

    def close(self) -> None:
        """Refuse whatever comes from now on."""
        self._closed = True

    def check(self) -> None:
        """Refuse a closed database; in memory, a new connection would find an empty one.

        Raises:
            sqlite3.OperationalError: it was closed.
        """
        if self._closed:
            raise sqlite3.OperationalError("the database was closed")

    def take(self) -> None:
        """Wait for the turn.

        Raises:
            sqlite3.OperationalError: it did not come in time, or the database was closed.
        """
        self.check()
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            place = threading.Lock()
            place.acquire()
            self._line.append(place)
        if not place.acquire(timeout=self.timeout_s) and self._left(place):
            raise sqlite3.OperationalError("database is locked")

    def _left(self, place: threading.Lock) -> bool:
        """Leave the line; False when the turn came at that very moment."""
        with self._lock:
            if place not in self._line:
                return False
            self._line.remove(place)
            return True

    def give(self) -> None:
        """Hand the turn to the next."""
        with self._lock:
            if self._line:
                self._line.popleft().release()
            else:
                self._taken = False


class Connection(sqlite3.Connection):
    """A connection whose cursors wait for their turn; it keeps the turn as long as its transaction lasts."""

    turns: ClassVar[Turns]

    def __init__(self, *args: Any, **options: Any) -> None:
        self.mine = False
        self.turns.check()
        super().__init__(*args, **options)

    def cursor(self, factory: Any = None) -> Any:
        """Return a cursor that waits for its turn."""
        return super().cursor(factory or Cursor)

    def in_turn(self, sql: str, run: Callable[[], Result]) -> Result:
        """Run one statement in this connection's turn."""
        if not self.mine and self.turns.needed(sql):
            self.turns.take()
            self.mine = True
        try:
            return run()
        finally:
            if not self.in_transaction:
                self.give_up()

    def give_up(self) -> None:
        """End the turn, if it is this connection's."""
        if self.mine:
            self.mine = False
            self.turns.give()

    def commit(self) -> None:
        """Commit and end the turn."""
        self.in_turn("COMMIT", super().commit)

    def rollback(self) -> None:
        """Roll back and end the turn."""
        self.in_turn("ROLLBACK", super().rollback)

    def close(self) -> None:
        """Close and end the turn."""
        super().close()
        self.give_up()


class Cursor(sqlite3.Cursor):
    """Runs each statement in its connection's turn."""

    connection: Connection

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        """Run a statement."""
        return self.connection.in_turn(sql, lambda: super(Cursor, self).execute(sql, parameters))

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
        """Run a statement for each set of parameters."""
        return self.connection.in_turn(sql, lambda: super(Cursor, self).executemany(sql, parameters))

    def executescript(self, sql_script: str, /) -> Any:
        """Run several statements."""
        return self.connection.in_turn("", lambda: super(Cursor, self).executescript(sql_script))


def factory(turns: Turns) -> type[Connection]:
    """Return the connection class of one database."""
    return type("Connection", (Connection,), {"turns": turns})
