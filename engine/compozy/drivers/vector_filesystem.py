"""Driver of vector stores in a SQLite file, or in memory, searched exactly by sqlite-vec.

While it runs, only connections of the store open the file in this process; see `vec_connections`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from compozy.drivers.inventory import Holding
from compozy.drivers.preflight import check_kept
from compozy.drivers.protocol import Check, Description, StartContext, Storage
from compozy.drivers.sqlite import (
    MEMORY,
    check_database,
    check_writable,
    create_file,
    database_holding,
    make_writable,
)
from compozy.drivers.vec0_store import APPLICATION_ID, Vec0Store
from compozy.drivers.vec_connections import VecConnections
from compozy.errors import DriverError
from compozy.state.data_lock import DataLock
from compozy.state.file_lock import FileLock, lock_beside
from compozy.vector.names import file_name

_SETTING = "knowledge.vector_dbs[].path"


class FilesystemVectorDriver:
    """A store in the directory `path`, in a file named by its collection or else its `name`; or in memory."""

    def __init__(
        self, name: str, path: str | None = None, collection: str | None = None, dimension: int | None = None
    ) -> None:
        self._name = name
        self._memory = path in (None, MEMORY)
        self._path = MEMORY if self._memory else os.path.join(str(path), f"{file_name(collection or name)}.db")
        self._dimension = dimension
        self._data = DataLock(self._path)
        self._lock: FileLock | None = None
        self._connections: VecConnections | None = None
        self._store: Vec0Store | None = None

    @property
    def handle(self) -> Vec0Store | None:
        """The vector store."""
        return self._store

    def start(self, context: StartContext) -> None:
        """Open the store; a file is created with mode 0600 in a directory of mode 0700.

        Raises:
            DriverError: the file is in use, damaged, of another program, or holds vectors of another dimension.
        """
        if not self._memory:
            self._lock = lock_beside(self._path, context.undo)
        try:
            self.examine(context)
            if not self._memory:
                # Created first, because the lock belongs to the file itself.
                create_file(self._path, context.undo)
                self._data.acquire()
                make_writable(self._path)
            self._connections = VecConnections(self._path, self._data.verify)
            self._store = Vec0Store(self._connections, self._name, self._dimension)
        except BaseException:
            self.stop(0)
            raise

    def examine(self, context: StartContext) -> None:
        """Check without changes that the file can be used; a missing file can.

        Raises:
            DriverError: it is damaged, of another program, or cannot be read.
        """
        if not self._memory:
            check_database(self._path, APPLICATION_ID, "", _SETTING)

    def preflight(self, context: StartContext) -> Iterator[Check]:
        """Check the file, its directory and the disk."""
        yield from check_kept(self, context, None if self._memory else self._path, _SETTING)

    def storage(self) -> tuple[Storage, ...]:
        """Return the file."""
        return () if self._memory else (Storage("file", self._path, locked=True),)

    def holding(self) -> Holding | None:
        """Return the size of the database; None in memory and for a damaged file."""
        if self._memory:
            return None
        if self._connections is None:
            return database_holding(self._path)
        return Holding(self._path, (self._connections.size_bytes(),))

    def ping(self) -> None:
        """Read a vector, and check that the file can be written.

        Raises:
            DriverError: the store was not started, or cannot be read or written, or the disk is full.
        """
        if self._store is None:
            raise DriverError("the vector store was not started")
        self._store.peek()
        if not self._memory:
            check_writable(self._path)

    def stop(self, grace_s: float) -> None:
        """Close the store; one in memory is deleted; idempotent."""
        self._store = None
        connections, self._connections = self._connections, None
        if connections is not None:
            connections.close()
        # After the connections: closing any descriptor of a file ends the POSIX locks that SQLite has on it.
        self._data.release()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def describe(self) -> Description:
        """Return where the vectors are, how they are searched, and their dimension."""
        dimension = self._store.dimension if self._store is not None else self._dimension
        details = {"search": "exact, by sqlite-vec", "dimension": dimension}
        return Description(None, None if self._memory else self._path, details)
