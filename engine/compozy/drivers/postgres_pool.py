"""A connection pool for PostgreSQL that survives restarts of the server, and a probe that is bounded in time.

This module imports peewee and psycopg2, so it is itself imported late.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

import psycopg2
from peewee import OperationalError, PostgresqlDatabase
from playhouse.pool import MaxConnectionsExceeded, PooledPostgresqlDatabase
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, TRANSACTION_STATUS_IDLE
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from compozy.drivers.thread_connections import ThreadConnections

FRESH_S = 1.0  # a connection that was idle for longer is asked before it is used
ANSWER_S = 1.0
_CUTS, _CUT_S = 20, 0.25
_EVENTS = {POLL_READ: select.POLLIN, POLL_WRITE: select.POLLOUT}


class Attempts(PostgresqlDatabase):
    """Lets threads that waited while an attempt to connect failed share its failure.

    Connecting is one at a time. To a server that does not even refuse, each attempt takes the whole timeout, and the
    last of many threads would wait for the sum of them.
    """

    _failure: tuple[float, str] | None = None
    _asked = threading.local()  # set and read within one call of one thread

    def connect(self, reuse_if_open: bool = False) -> bool:
        """Connect the calling thread; return True if it was not connected."""
        self._asked.at = time.monotonic()
        return bool(super().connect(reuse_if_open))

    def _connect(self) -> object:
        if self._failure is not None and self._failure[0] > self._asked.at:
            raise psycopg2.OperationalError(self._failure[1])
        try:
            return super()._connect()  # type: ignore[misc]  # the stubs leave it out
        except psycopg2.OperationalError as error:
            # Only the text: an exception object that is raised in several threads would collect their tracebacks.
            self._failure = (time.monotonic(), str(error))
            raise


class Pool(ThreadConnections, PooledPostgresqlDatabase, Attempts):
    """A pool that notices when connections have died, those that a thread keeps between statements too.

    A thread that finds all of its `size` connections in use waits for `wait_s` seconds; connections of ended threads
    are closed. No server is asked while a lock is held: one connection without an answer concerns one thread.
    """

    def __init__(self, name: str, parameters: Mapping[str, object], *, size: int, wait_s: float) -> None:
        self.size = size
        self._idle_since: dict[int, float] = {}
        super().__init__(name, **parameters, max_connections=size, timeout=wait_s)

    def connect(self, reuse_if_open: bool = False) -> bool:
        """Check out a connection for the calling thread; return True if the thread had none.

        Raises:
            peewee.OperationalError: the server does not answer, or every connection is in use.
        """
        self._renew()
        try:
            new = bool(super().connect(reuse_if_open))
            while new and not self._fresh(self._state.conn):
                self._replace()
                super().connect()
        except MaxConnectionsExceeded as error:
            reason = f"all {self.size} connections are in use (database.max_connections)"
            raise OperationalError(reason) from error
        return new

    def cursor(self, named_cursor: str | None = None) -> Cursor:
        """Return a cursor on the thread's connection, or on a new one where that has died between statements."""
        contexts = self._state.ctx
        try:
            self._renew()
            made: Cursor = super().cursor(named_cursor)
            return made
        finally:
            self._state.ctx = contexts  # a new connection would forget the contexts that the thread is in

    def end(self, timeout_s: float) -> None:
        """Close every connection for good; after `timeout_s` those whose statements get no answer are cut off.

        Threads that wait for an answer then get an error at once, and so do later requests.
        """
        # Taken first, because `close_all` forgets the connections that it closes.
        busy = [kept.connection for kept in list(self._in_use.values())]
        closing = threading.Thread(target=self.close_all, name="compozy-postgres-end", daemon=True)
        closing.start()
        closing.join(timeout_s)
        for _ in range(_CUTS):
            if not closing.is_alive():
                break
            for connection in busy:
                _hang_up(connection)
            closing.join(_CUT_S)
        # Without a name the pool opens no connection any more.
        self.init(None)

    def free(self, timeout_s: float) -> bool:
        """Return True if the pool can be used: no thread keeps its locks for longer than `timeout_s`."""
        for lock in (self._lock, self._pool_lock):
            if not lock.acquire(timeout=timeout_s):
                return False
            lock.release()
        return True

    def _renew(self) -> None:
        """Return a dead connection to the pool, unless a transaction has begun on it."""
        if self.is_closed() or self.in_transaction():
            return
        connection = self._state.conn
        # Only its end, a notice or a notification makes an idle connection readable: only then ask the server.
        if connection.closed or (_ready(connection, select.POLLIN, 0.0) and not _answers(connection)):
            self._replace()

    def _fresh(self, connection: Connection) -> bool:
        """Return True if a connection was used a moment ago, or answers."""
        # Removed, because a closed connection could leave its id to a new one.
        since = self._idle_since.pop(id(connection), None)
        return since is None or time.monotonic() - since < FRESH_S or _answers(connection)

    def _replace(self) -> None:
        """Close the thread's connection for good, and the idle ones, which lived through the same."""
        self.manual_close()
        self.close_idle()

    def _close(self, connection: Connection, close_conn: bool = False) -> None:
        self._idle_since[id(connection)] = time.monotonic()
        super()._close(connection, close_conn)

    def _is_closed(self, connection: Connection) -> bool:
        return bool(connection.closed) or _ready(connection, select.POLLIN, 0.0)

    def _can_reuse(self, connection: Connection) -> bool:
        # Rolling back would ask the server while the lock is held.
        return bool(connection.get_transaction_status() == TRANSACTION_STATUS_IDLE)


def _answers(connection: Connection) -> bool:
    """Return True if the server answers on a connection within `ANSWER_S`; otherwise it is cut off."""
    cut = threading.Timer(ANSWER_S, _hang_up, (connection,))
    cut.daemon = True
    cut.start()
    try:
        connection.cursor().execute("SELECT 1")
    except psycopg2.Error:
        return False
    finally:
        cut.cancel()
    return True


class Probe:
    """A connection of its own for the question whether the server answers; every call is bounded."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = dict(parameters)
        self._connection: Connection | None = None

    def ask(self, timeout_s: float) -> bool:
        """Ask whether the server takes writes, on a new connection where the old one has died.

        Raises:
            psycopg2.Error: the server refuses or has closed the connection.
            TimeoutError: it did not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        if self._connection is not None:
            try:
                return self._query(self._connection, deadline)
            except psycopg2.Error:
                self.close()
        try:
            self._connection = connection = psycopg2.connect(**self._parameters, async_=True)
            _wait(connection, deadline)
            return self._query(connection, deadline)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _query(self, connection: Connection, deadline: float) -> bool:
        try:
            cursor = connection.cursor()
            cursor.execute("SELECT current_setting('transaction_read_only')")
            _wait(connection, deadline)
            return cursor.fetchone() == ("off",)
        except TimeoutError:
            self.close()
            raise


def _wait(connection: Connection, deadline: float) -> None:
    """Drive an asynchronous connection until its operation has ended.

    Raises:
        TimeoutError: the deadline, on the clock of `time.monotonic`, is over.
    """
    while (state := connection.poll()) != POLL_OK:
        if not _ready(connection, _EVENTS[state], deadline - time.monotonic()):
            raise TimeoutError


def _ready(connection: Connection, event: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), event)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))


def _hang_up(connection: Connection) -> None:
    # On a duplicate, because closing the descriptor of libpq would free its number while a thread uses it.
    with contextlib.suppress(OSError, psycopg2.Error), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
