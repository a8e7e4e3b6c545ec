"""A vector store on Qdrant's engine in the process: one shard, in a directory that no other process has open.

`store.json` names the directory of the shard, and states how many records it has at least, which is compared when it is
opened. What was written is in the log of the shard, which the system writes to disk also when the process is killed.
Each call of the engine blocks the whole interpreter, so an index is built in a child process, on a copy of the shard
that then takes its place (see `qdrant_index`); until then a search is exact.

This module imports the engine, so it is itself imported late.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypedDict, cast
from uuid import UUID

import qdrant_edge as edge

from compozy.base.leftovers import private_directory
from compozy.base.output_file import open_regular, write_file
from compozy.drivers.qdrant_collection import BATCH, FACTS, CollectionOptions, QdrantCollection, payload_of
from compozy.drivers.qdrant_index import IndexBuild
from compozy.errors import DriverError
from compozy.state.write_gate import WriteGate
from compozy.vector.vector_store import VectorRecord

STORE = "store.json"
_PANIC = "PanicException"  # of the engine, as for a damaged file; no name of a module has the class
TEMPORARY = "temp-"  # a backup leaves it out
_FORMAT = 1
# Points that one turn of `adopt` copies while writers wait, about 20 ms, and the pause in which they get the lock.
_ADOPTED, _PAUSE_S = 500, 0.005
# Records by which `store.json` states fewer after a deletion, so that not each one has to write the file.
_DELETED = 1000
# Numbers of the vectors in the log, about 25 MB, after which it is flushed to the segments and shortened: a flush takes
# about as long for one point as for all.
FLUSHED = 5_000_000
# Changed points, after which an index is built; fewer are searched exactly within milliseconds.
INDEXED = 20_000
DISTANCES = {"cosine": edge.Distance.Cosine, "l2": edge.Distance.Euclid, "ip": edge.Distance.Dot}


class QdrantShard(QdrantCollection[edge.Filter]):
    """The vector store in one directory, which exists and whose lock the caller holds; without `kept` it has no log."""

    models = edge

    def __init__(self, folder: str, options: CollectionOptions, *, kept: bool) -> None:
        """Open what is in the directory.

        Raises:
            DriverError: it is damaged, of a newer version, or of another dimension or metric.
        """
        super().__init__(options)
        self._folder = Path(folder)
        self._kept = kept
        self._name = "shard-1"
        self._writing = threading.RLock()
        self._written = self._unindexed = 0
        self._stated = self._changes = 0  # `records` and `changes` of `store.json`
        self._changed: set[str] | None = None  # points that were written while an index is built
        self._next: edge.EdgeShard | None = None  # its indexed copy, which gets all writes as well
        self._build: IndexBuild | None = None
        self._closed = False
        self._shard: edge.EdgeShard | None = None
        self._gate = WriteGate(folder)
        try:
            self._open()
        except BaseException:
            self._gate.close()
            raise

    def _open(self) -> None:
        stated = read_store(self._folder, self._options)
        if stated is None:
            return
        self._dimension, self._metric, self._name = stated["dimension"], stated["metric"], stated["shard"]
        self._stated, self._changes = stated["records"], stated["changes"]
        # Left by a process that was killed while it built an index; only the shard that `store.json` names is valid.
        for entry in self._folder.iterdir():
            if entry.is_dir() and entry.name != stated["shard"]:
                shutil.rmtree(entry, ignore_errors=True)
        with self._library():
            self._shard = edge.EdgeShard.load(str(self._folder / stated["shard"]))
            # Reading a point shows that no file of the shard is missing.
            self._shard.scroll(edge.ScrollRequest(limit=1, with_payload=True, with_vector=True))
            info = self._shard.info()
        if info.points_count < self._stated:
            reason = f"{self._folder} holds {info.points_count} records, and held {self._stated} before"
            hint = f"restore a backup, or remove `records` from {STORE} to continue with the remaining ones"
            raise DriverError(reason, hint=hint)
        self._unindexed = info.points_count - info.indexed_vectors_count

    @contextmanager
    def _library(self) -> Iterator[None]:
        """Raise what the engine raises within the block as DriverError."""
        try:
            yield
        except BaseException as error:
            # A panic of the engine derives from BaseException, and its class cannot be imported.
            if type(error) is not Exception and not isinstance(error, OSError) and type(error).__name__ != _PANIC:
                raise
            hint = "see the disk; restore a backup if its files are damaged"
            raise DriverError(f"{self._folder}: {error}", hint=hint) from error

    def _asked(self) -> edge.EdgeShard:
        shard = self._shard
        if shard is None:
            raise DriverError(f"{self._folder} was closed")
        return shard

    def _turn(self) -> AbstractContextManager[object]:
        return self._writing

    def _known(self) -> bool:
        return self._dimension is not None

    def _create(self, dimension: int) -> None:
        path = self._folder / self._name
        # Left by a process that was killed before `store.json` named it.
        shutil.rmtree(path, ignore_errors=True)
        vectors = edge.EdgeVectorParams(size=dimension, distance=DISTANCES[self._metric])
        with self._gate.held(), self._library():
            self._shard = edge.EdgeShard.create(str(path), edge.EdgeConfig(vectors=vectors, wal_enabled=self._kept))
            self._shard.update(edge.UpdateOperation.create_field_index(FACTS, edge.PayloadSchemaType.Keyword))
            self._shard.flush()
        self._dimension = dimension
        self._state(path.name, 0)

    def _state(self, shard: str, records: int) -> None:
        stated = {"format": _FORMAT, "shard": shard, "dimension": self._dimension, "metric": self._metric}
        text = json.dumps({**stated, "records": records, "changes": self._changes})
        write_file(self._folder / STORE, text + "\n")
        self._name, self._stated = shard, records

    def _flush(self, shard: edge.EdgeShard) -> None:
        """Write the log to the segments, and then how many records they have."""
        shard.flush()
        self._written = 0
        self._state(self._name, shard.info().points_count)

    def _update(self, operation: edge.UpdateOperation, points: Sequence[str]) -> None:
        """Change points while no other thread writes and no backup is taken."""
        with self._writing, self._gate.held(), self._library():
            shard = self._asked()
            shard.update(operation)
            self._changes += len(points)
            self._unindexed += len(points)
            if self._changed is not None:
                self._changed.update(points)
                if self._next is not None:
                    self._next.update(operation)
                    # Only now: points that differ between the two must be copied.
                    self._changed.difference_update(points)
            elif not self.building():
                self.index()
            self._written += len(points) * (self._dimension or 0)
            if self._written >= FLUSHED:
                self._flush(shard)

    def index(self) -> None:
        """Begin to build an index if many vectors are in none."""
        with self._writing:
            if self._unindexed >= INDEXED and not self._closed:
                self._build = IndexBuild(self, self._options, str(self._dimension), self._metric)

    def duplicate(self) -> Path:
        """Return a copy of the shard for an index, and note from now on which points are written."""
        with self._writing, self._gate.held(), self._library():
            self._asked().flush()
            # Under the same lock as the copy: a write in between would be missing from the index.
            self._changed, self._unindexed = set(), 0
            path = self._folder / f"{TEMPORARY}shard-{int(self._name.rpartition('-')[2]) + 1}"
            shutil.copytree(self._folder / self._name, path)
        return path

    def adopt(self, path: Path) -> None:
        """Put an indexed copy in the place of the shard, with the points that were written meanwhile."""
        previous = self._name
        with self._writing, self._gate.held(), self._library():
            target = self._folder / path.name.removeprefix(TEMPORARY)
            # Left by an earlier attempt that failed.
            shutil.rmtree(target, ignore_errors=True)
            path = path.rename(target)
            # From now on writers change both shards, so that the points to copy only become fewer.
            self._next = shard = edge.EdgeShard.load(str(path))
        while self._copied(shard) == _ADOPTED:
            # A lock that is released and acquired again leaves no time for those who wait for it.
            time.sleep(_PAUSE_S)
        with self._library():
            # While writers proceed; what they change after it is in the log of the copy.
            shard.flush()
            records = shard.info().points_count
        with self._writing, self._gate.held(), self._library():
            if self._changed:
                raise DriverError(f"{path} lacks a record that was written meanwhile")
            self._state(path.name, min(records, shard.info().points_count))
            # Searches that still use the previous shard keep it open.
            self._shard, self._next = shard, None
        shutil.rmtree(self._folder / previous, ignore_errors=True)

    def _copied(self, shard: edge.EdgeShard) -> int:
        """Copy the present state of some points that differ, while writers wait; return how many."""
        with self._writing, self._gate.held(), self._library():
            changed = self._changed or set()
            points = list[int | UUID | str](changed.pop() for _ in range(min(_ADOPTED, len(changed))))
            found = self._asked().retrieve(points, with_payload=True, with_vector=True)
            shard.update(edge.UpdateOperation.delete_points(points))
            shard.update(
                edge.UpdateOperation.upsert_points([edge.Point(p.id, p.vector or [], p.payload) for p in found])
            )
        return len(points)

    def building(self) -> bool:
        """Return True while an index is built."""
        build = self._build
        return build is not None and build.running()

    def indexed(self) -> int:
        """Return how many vectors the index holds; the others are searched exactly."""
        with self._library():
            return int(self._asked().info().indexed_vectors_count) if self._known() else 0

    def forget(self) -> None:
        """No longer note which points are written."""
        with self._writing:
            self._changed = self._next = None

    def _write(self, records: Mapping[str, VectorRecord]) -> None:
        points = [edge.Point(id_, list(record.vector), payload_of(record)) for id_, record in records.items()]
        self._update(edge.UpdateOperation.upsert_points(points), list(records))

    def _erase(self, points: Sequence[str]) -> None:
        with self._writing:
            with self._gate.held(), self._library():
                left = self._asked().info().points_count - len(points)
                # Before the deletion, after which a process that was killed would have fewer than stated.
                if left < self._stated:
                    self._state(self._name, max(0, left - _DELETED))
            self._update(edge.UpdateOperation.delete_points(list(points)), points)

    def _nearest(self, vector: Sequence[float], condition: edge.Filter | None, limit: int) -> Sequence[object]:
        params = edge.SearchParams(hnsw_ef=self._options.ef_search)
        query = edge.Query.Nearest(list(vector))
        request = edge.QueryRequest(query=query, filter=condition, limit=limit, params=params, with_payload=True)
        with self._library():
            found: Sequence[object] = self._asked().query(request)
        return found

    def _counted(self, condition: edge.Filter | None) -> int:
        with self._library():
            return int(self._asked().count(edge.CountRequest(filter=condition, exact=True)))

    def _retrieved(self, points: Sequence[str], *, vectors: bool) -> Sequence[object]:
        with self._library():
            found: Sequence[object] = self._asked().retrieve(list(points), with_payload=vectors, with_vector=vectors)
        return found

    def _page(
        self, condition: edge.Filter | None, fields: list[str], offset: int | UUID | str | None
    ) -> tuple[Sequence[object], object]:
        request = edge.ScrollRequest(offset=offset, limit=BATCH, filter=condition, with_payload=fields or False)
        with self._library():
            found: tuple[Sequence[object], object] = self._asked().scroll(request)
        return found

    def close(self) -> None:
        """Write what is not on disk, and close the files; idempotent."""
        with self._writing:
            self._closed = True
        if self._build is not None:
            self._build.cancel()
        with self._writing:
            shard, self._shard = self._shard, None
            if shard is not None:
                with self._gate.held(), self._library():
                    self._flush(shard)
                    shard.close()
            self._gate.close()


def examine_copy(folder: str, options: CollectionOptions, prefix: str) -> None:
    """Open a copy of a store, because the engine changes what it opens; none without room for temporary files.

    Raises:
        DriverError: it cannot be opened.
    """
    size = sum(path.stat().st_size for path in Path(folder).rglob("*"))
    if not Path(folder, STORE).exists() or size > shutil.disk_usage(tempfile.gettempdir()).free:
        return
    with private_directory(tempfile.gettempdir(), prefix) as temporary:
        copy = str(temporary / "store")
        try:
            shutil.copytree(folder, copy)
            QdrantShard(copy, options, kept=True).close()
        except (DriverError, OSError) as error:
            reason = str(error) if isinstance(error, OSError) else error.reason
            raise DriverError(reason.replace(copy, folder), hint="restore a backup, or move it away") from error


class ShardFile(TypedDict):
    """The content of `store.json`; `shard` names the directory beside it.

    `records` is how many there are at least, and `changes` how many were written and deleted, which only grows.
    """

    format: int
    shard: str
    dimension: int
    metric: str
    records: int
    changes: int


def read_store(folder: str | Path, options: CollectionOptions) -> ShardFile | None:
    """Return the content of `store.json`; None for a missing file.

    Raises:
        DriverError: it cannot be read, is of a newer version, or of another dimension or metric.
    """
    file = Path(folder, STORE)
    try:
        with open_regular(file) as stream:
            # Earlier releases stated no numbers.
            stated = cast(ShardFile, {"records": 0, "changes": 0, **json.load(stream)})
        newer = stated["format"] > _FORMAT
        numbers = (stated["dimension"], stated["records"], stated["changes"])
        if any(type(number) is not int for number in numbers) or stated["metric"] not in DISTANCES:
            raise ValueError(stated)
        # A checkout can bring this file, and the name is joined to a path that may be removed.
        if stated["shard"] in ("", ".", "..") or "/" in stated["shard"]:
            raise ValueError(stated)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DriverError(f"{file} cannot be read", hint="restore a backup, or move its directory away") from error
    if newer:
        raise DriverError(f"{file} was written by a newer version", hint="install that version, or move it away")
    difference = options.difference(stated["dimension"], stated["metric"])
    if difference is not None:
        hint = "correct it, or choose another path or collection and ingest again"
        raise DriverError(f"{folder} {difference}", hint=hint)
    return stated
