"""Driver of a vector store on Qdrant's engine in the process, in a directory or a temporary one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from compozy.base.leftovers import private_directory, remove_leftovers
from compozy.base.system_hints import hint_for
from compozy.drivers.inventory import Holding
from compozy.drivers.preflight import check_kept
from compozy.drivers.protocol import Check, Description, StartContext, Storage
from compozy.drivers.qdrant_collection import CollectionOptions
from compozy.drivers.sqlite import check_writable
from compozy.errors import DriverError
from compozy.state.data_files import check_data_files
from compozy.state.data_lock import DataLock
from compozy.state.file_lock import lock_beside
from compozy.vector.names import file_name

if TYPE_CHECKING:
    from compozy.drivers.qdrant_shard import QdrantShard

MEMORY = ":memory:"
_TEMPORARY = "compozy-vector-"


class QdrantEmbeddedDriver:
    """The store `name`, in a directory of its own below `path`, which is absolute, or `:memory:` to keep nothing."""

    def __init__(
        self, *, name: str, path: str, collection: str | None = None, dimension: int | None = None,
        metric: str | None = None, m: int | None = None, ef_construction: int | None = None,
        ef_search: int | None = None,
    ) -> None:  # fmt: skip
        self._folder = None if path == MEMORY else str(Path(path, file_name(collection or name)))
        self._options = CollectionOptions(dimension, metric, m, ef_construction, ef_search)
        self._data = DataLock(self._folder or MEMORY)
        self._held = ExitStack()
        self._store: QdrantShard | None = None

    @property
    def handle(self) -> QdrantShard | None:
        """The vector store."""
        return self._store

    def start(self, context: StartContext) -> None:
        """Open the directory, or make it with mode 0700.

        Raises:
            DriverError: another process uses it, it is damaged, or it has another dimension or metric.
        """
        from compozy.drivers.qdrant_shard import QdrantShard

        try:
            self._store = QdrantShard(self._directory(context), self._options, kept=self._folder is not None)
            # The last callback is called first: the store is closed before its directory is unlocked or removed.
            self._held.callback(self._store.close)
        except OSError as error:
            self.stop(0)
            raise DriverError(f"{error.filename or self._folder}: {error.strerror}", hint=hint_for(error)) from error
        except BaseException:
            self.stop(0)
            raise

    def _directory(self, context: StartContext) -> str:
        """Return the directory of the store, locked."""
        if self._folder is None:
            parent = tempfile.gettempdir()
            # Directories of processes that were killed, whose locks have ended with them.
            remove_leftovers(parent, _TEMPORARY)
            return str(self._held.enter_context(private_directory(parent, _TEMPORARY)))
        self._held.callback(lock_beside(self._folder, context.undo).release)
        self._check()
        if not os.path.exists(self._folder):
            context.undo.record_data(self._folder)
            Path(self._folder).mkdir(mode=0o700)
        self._held.callback(self._data.release)
        self._data.acquire()
        return self._folder

    def examine(self, context: StartContext) -> None:
        """Check without changes that the directory can be used; a missing one can.

        Raises:
            DriverError: it has links or files of others, is damaged, or has another dimension or metric.
        """
        from compozy.drivers.qdrant_shard import examine_copy

        self._check()
        if self._folder is not None and os.path.isdir(self._folder):
            examine_copy(self._folder, self._options, _TEMPORARY)

    def _check(self) -> None:
        from compozy.drivers.qdrant_shard import read_store

        if self._folder is not None:
            check_data_files(self._folder)
            read_store(self._folder, self._options)

    def ping(self) -> None:
        """Count, and see that the directory could be written.

        Raises:
            DriverError: the store is closed, its directory was moved or may not be written, or the disk is full.
        """
        if self._store is None:
            raise DriverError("the vector store was not started")
        self._data.verify()
        self._store.count({"": ""})
        if self._folder is not None:
            check_writable(self._folder)

    def stop(self, grace_s: float) -> None:
        """Close the store; a temporary directory is removed; idempotent."""
        self._store = None
        self._held.close()

    def describe(self) -> Description:
        """Return where the data is, and how many vectors the index holds."""
        store, details = self._store, {"engine": "qdrant-edge"}
        with suppress(DriverError):  # it is about to be closed
            details["indexed"] = str(store.indexed() if store is not None else 0)
        return Description(self._folder or MEMORY, self._folder, details)

    def preflight(self, context: StartContext) -> Iterator[Check]:
        """Check the directory and the disk."""
        yield from check_kept(self, context, self._folder, "path of the vector store")

    def storage(self) -> tuple[Storage, ...]:
        """Return the directory."""
        return () if self._folder is None else (Storage("path", self._folder, locked=True),)

    def holding(self) -> Holding | None:
        """Return how often records were written and deleted, because their number may decrease; None for a damaged one.

        Whether a store has the records that it had is seen when it is opened.
        """
        from compozy.drivers.qdrant_shard import read_store

        if self._folder is None:
            return None
        if not os.path.isdir(self._folder) or not os.listdir(self._folder):
            return Holding(self._folder, ())
        with suppress(DriverError):
            stated = read_store(self._folder, self._options)
            # The first number is the only one that earlier releases have recorded.
            return Holding(self._folder, (1, 0 if stated is None else stated["changes"]), "changes of records")
        return None
