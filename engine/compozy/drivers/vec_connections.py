"""Connections to a SQLite database with the extension sqlite-vec.

The module sqlite3 of many Pythons cannot load extensions, hence apsw. The two must not open the same file in one
process while one of them uses it: to close a file ends the locks that the other has on it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from compozy.errors import DriverError

if TYPE_CHECKING:
    import apsw

_WAIT_MS = 5000
_TURN_S = 30.0
# Each idle connection keeps three files open.
_MOST_IDLE = 8


class VecConnections:
    """The connections of all threads to one database; in memory they share a single one.

    `path` is `:memory:` or absolute; `verify` raises a DriverError where the file is no longer the one that was opened.
    """

    def __init__(self, path: str, verify: Callable[[], None]) -> None:
        self._path = path
        self._verify = verify
        self._shared = path == ":memory:"
        self._idle: queue.LifoQueue[apsw.Connection] = queue.LifoQueue()
        self._writer = threading.Lock()
        self._closed = False
        self._idle.put(self._open())

    def _open(self) -> apsw.Connection:
        import apsw

        flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if self._shared else 0)
        try:
            connection = apsw.Connection(self._path, flags=flags)
            connection.set_busy_timeout(_WAIT_MS)
            connection.transaction_mode = "IMMEDIATE"
            connection.enable_load_extension(True)
            connection.load_extension(extension_path())
            # Off again, because it would also allow SQL to load code.
            connection.enable_load_extension(False)
            if not self._shared:
                connection.execute("PRAGMA journal_mode = wal")
                connection.execute("PRAGMA synchronous = normal")
        except apsw.Error as error:
            raise _failure(self._path, error) from error
        return connection

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """Check out a connection for the length of the block.

        Raises:
            DriverError: the database was closed, moved or replaced, or cannot be read.
        """
        with self._writer if self._shared else contextlib.nullcontext():
            # A waiting writer has precedence, or many readers of the one connection would starve it.
            pass
        with self._taken() as connection:
            yield connection

    @contextmanager
    def _taken(self) -> Iterator[apsw.Connection]:
        import apsw

        connection = self._take()
        try:
            yield connection
        except apsw.Error as error:
            raise _failure(self._path, error) from error
        finally:
            self._give_back(connection)

    @contextmanager
    def writing(self) -> Iterator[apsw.Connection]:
        """Check out a connection for one transaction, which is committed at the end of the block.

        Raises:
            DriverError: as `reading`, or the database cannot be written.
        """
        with self._writer, self._taken() as connection, connection:
            yield connection

    def size_bytes(self) -> int:
        """Return the size of the database.

        Raises:
            DriverError: as `reading`.
        """
        with self.reading() as connection:
            return int(connection.execute("PRAGMA page_count").get * connection.execute("PRAGMA page_size").get)

    def _take(self) -> apsw.Connection:
        if self._closed:
            raise DriverError("the vector store was stopped")
        self._verify()
        try:
            # In memory the single connection is the database: a second one would open an empty one.
            return self._idle.get(timeout=_TURN_S) if self._shared else self._idle.get_nowait()
        except queue.Empty:
            if self._shared:
                raise DriverError("the vector store in memory is busy, or was stopped") from None
        return self._open()

    def _give_back(self, connection: apsw.Connection) -> None:
        if self._idle.qsize() >= _MOST_IDLE:
            connection.close()
        else:
            self._idle.put(connection)
        if self._closed:
            # `close` may have run while this connection was in use.
            self.close()

    def close(self) -> None:
        """Close every connection that is not in use, and the others at the end of their block; idempotent."""
        self._closed = True
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()


def extension_path() -> str:
    """Return what `sqlite_vec.loadable_path()` returns; to import that package takes the time to import numpy.

    Raises:
        DriverError: the package is not installed.
    """
    spec = importlib.util.find_spec("sqlite_vec")
    if spec is None or spec.origin is None:
        raise DriverError("the package sqlite-vec is not installed", hint="install Compozy again")
    return os.path.join(os.path.dirname(spec.origin), "vec0")


def _failure(path: str, error: Exception) -> DriverError:
    return DriverError(f"the vector store {path} failed: {error}", hint="check its permissions and the disk")
