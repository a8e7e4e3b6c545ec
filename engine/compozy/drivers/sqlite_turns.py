"""Serialize the writes of the threads of this process to one SQLite database, in order of arrival.

SQLite itself lets writers poll with growing pauses, so that under load one of them loses until its patience is over
("database is locked"); here each waits in line. Other processes are still waited for by SQLite's busy timeout. A
thread that ends within a transaction loses its turn: the transaction is rolled back.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from compozy.base.record import dataclass

if TYPE_CHECKING:
    from sqlite3 import _Parameters

Result = TypeVar("Result")
_READS = ("SELECT", "PRAGMA", "EXPLAIN")
# How often a waiting writer checks whether the thread of the holder has ended, which gives no signal.
_LOOK_S = 0.1


@dataclass(eq=False, slots=True)
class Turn:
    """A place in the line, later the turn itself; `since` is on the clock of `time.monotonic`."""

    connection: TurnConnection
    thread: threading.Thread = field(default_factory=threading.current_thread)
    came: threading.Event = field(default_factory=threading.Event)
    since: float = field(default_factory=time.monotonic)


class Turns:
    """A lock that is handed from one to the next in the order of asking.

    With `readers_wait` reading needs the turn as well: an in-memory database cannot be read while it is written.
    """

    def __init__(self, timeout_s: float, *, readers_wait: bool) -> None:
        self.timeout_s = timeout_s
        self.readers_wait = readers_wait
        self._lock = threading.Lock()
        self._holder: Turn | None = None
        self._closed = False
        self._line: deque[Turn] = deque()

    @property
    def waiting(self) -> int:
        """Return the length of the line."""
        return len(self._line)

    @property
    def closed(self) -> bool:
        """Return True after `close`."""
        return self._closed

    def needed(self, sql: str) -> bool:
        """Return True if a statement has to wait for its turn."""
        return self.readers_wait or not sql.lstrip()[:7].upper().startswith(_READS)

    def close(self) -> None:
        """Refuse every later request."""
        self._closed = True

    def check(self) -> None:
        """Refuse a closed database; in memory, a new connection would find an empty one.

        Raises:
            sqlite3.OperationalError: it was closed.
        """
        if self._closed:
            raise sqlite3.OperationalError("the database was closed")

    def take(self, connection: TurnConnection) -> None:
        """Wait for the turn.

        Raises:
            sqlite3.OperationalError: it did not come in time, or the database was closed.
        """
        self.check()
        turn = Turn(connection)
        with self._lock:
            self._reclaim()
            if self._holder is None:
                self._holder = turn
                return
            self._line.append(turn)
        until = turn.since + self.timeout_s
        # In short waits, because a holder whose thread has ended gives no signal; the next in line reclaims its turn.
        while not turn.came.wait(max(0.0, min(_LOOK_S, until - time.monotonic()))):
            with self._lock:
                self._reclaim()
                # Under the lock: the turn may have come between the end of the wait and this check.
                if not turn.came.is_set() and time.monotonic() >= until:
                    self._line.remove(turn)
                    raise sqlite3.OperationalError(self._reason())

    def _reclaim(self) -> None:
        """Roll back the holder's transaction if its thread has ended; needs the lock."""
        if self._holder is not None and not self._holder.thread.is_alive():
            self._holder.connection.discard()
            self._hand_over()

    def _reason(self) -> str:
        if self._holder is None:
            return "database is locked"
        age_s = time.monotonic() - self._holder.since
        return f'database is locked: thread "{self._holder.thread.name}" has kept a transaction open for {age_s:.1f} s'

    def give(self) -> None:
        """Pass the turn to the next thread."""
        with self._lock:
            self._hand_over()

    def _hand_over(self) -> None:
        self._holder = self._line.popleft() if self._line else None
        if self._holder is not None:
            # From now on the age of the transaction counts, which `_reason` reports to those who wait.
            self._holder.since = time.monotonic()
            self._holder.came.set()


class TurnConnection(sqlite3.Connection):
    """A connection whose cursors wait for their turn; it keeps the turn as long as its transaction lasts."""

    turns: ClassVar[Turns]

    def __init__(self, *args: Any, **options: Any) -> None:
        self.mine = False
        self.turns.check()
        # Another thread closes it when its own has ended.
        super().__init__(*args, **{**options, "check_same_thread": False})

    def cursor(self, factory: Any = None) -> Any:
        """Return a cursor that waits for its turn."""
        return super().cursor(factory or Cursor)

    def in_turn(self, sql: str, run: Callable[[], Result]) -> Result:
        """Run one statement in this connection's turn."""
        # The turn is taken before BEGIN IMMEDIATE, so SQLite's own polling never sees two writers of this process.
        if not self.mine and self.turns.needed(sql):
            self.turns.take(self)
            self.mine = True
        try:
            return run()
        finally:
            # Also after an error: SQLite rolls some transactions back by itself, and the turn would be kept for ever.
            if not self.in_transaction:
                self.give_up()

    def give_up(self) -> None:
        """End the turn, if it is this connection's."""
        if self.mine:
            self.mine = False
            self.turns.give()

    def discard(self) -> None:
        """Roll back and close without ending the turn; the thread that used it has ended."""
        self.mine = False
        with contextlib.suppress(sqlite3.Error):
            super().rollback()
        with contextlib.suppress(sqlite3.Error):
            super().close()

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

    connection: TurnConnection

    def execute(self, sql: str, parameters: _Parameters = (), /) -> Self:
        """Run a statement."""
        return self.connection.in_turn(sql, lambda: super(Cursor, self).execute(sql, parameters))

    def executemany(self, sql: str, parameters: Iterable[_Parameters], /) -> Self:
        """Run a statement for each set of parameters."""
        return self.connection.in_turn(sql, lambda: super(Cursor, self).executemany(sql, parameters))

    def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
        """Run several statements."""
        # The empty text always waits for the turn: a script may begin with a read and write later.
        return self.connection.in_turn("", lambda: super(Cursor, self).executescript(sql_script))


def factory(turns: Turns) -> type[TurnConnection]:
    """Return the connection class of one database."""
    # sqlite3 creates connections from the class that it is given, so the turns are an attribute of a class per
    # database.
    return type("Connection", (TurnConnection,), {"turns": turns})
