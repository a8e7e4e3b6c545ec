"""A vector store on Qdrant's engine in the process: one shard, in a directory that no other process has open.

`store.json` names the directory of the shard. What was written is in the log of the shard, which the system writes to
disk also when the process is killed. The engine builds an index while it blocks the whole interpreter, so that happens
in a child process, on a copy of the shard that then takes its place (see `qdrant_index`); until then a search is exact.

This module imports the engine, so it is itself imported late.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from compozy.base.output_file import open_regular, write_file
from compozy.drivers.qdrant_points import FACTS, filter_of, match_of, payload_of, point_id, record_of
from compozy.errors import DriverError
from compozy.state.write_gate import WriteGate
from compozy.vector.checked_records import checked
from compozy.vector.metadata_filter import Condition, is_json
from compozy.vector.ranking import best
from compozy.vector.vector_store import VectorMatch, VectorRecord, unit_vector

STORE = "store.json"
_FORMAT = 1
_BATCH = 500
_FLUSHED = 5000  # points in the log, after which it is shortened
DISTANCES = {"cosine": edge.Distance.Cosine, "l2": edge.Distance.Euclid, "ip": edge.Distance.Dot}


@contextmanager
def library(where: str) -> Iterator[None]:
    """Raise what the engine raises within the block as DriverError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, DriverError | OSError) or type(error) is not Exception:  # the engine raises nothing else
            raise
        raise DriverError(
            f"{where}: {error}", hint="see the disk; restore a backup if its files are damaged"
        ) from error


@dataclass(frozen=True, slots=True)
class ShardOptions:
    """How a shard is made: None is what is stored, else the first vector's `dimension` and cosine.

    `kept` is False without a log.
    """

    dimension: int | None = None
    metric: str | None = None
    ef_search: int | None = None
    kept: bool = True


class QdrantShard:
    """The vector store in one directory, for any number of threads; the caller holds the lock of the directory."""

    def __init__(self, folder: str, options: ShardOptions) -> None:
        """Open what is in the directory, which exists.

        Raises:
            DriverError: it is damaged, of a newer version, or of another dimension or metric.
        """
        self._folder = Path(folder)
        self._options = options
        self._dimension = options.dimension
        self._metric = options.metric or "cosine"
        self._writing = threading.RLock()
        self._written = 0
        self._changed: set[str] | None = None
        self._shard: Any = None
        self._gate = WriteGate(folder)
        try:
            self._open()
        except BaseException:
            self._gate.close()
            raise

    def _open(self) -> None:
        stated = read_store(self._folder)
        if stated is None:
            if self._dimension is not None:
                self._create(self._dimension)
            return
        check_same(self._folder, stated, self._options)
        self._dimension, self._metric = stated["dimension"], stated["metric"]
        for entry in self._folder.iterdir():  # of a process that was killed while it built an index
            if entry.is_dir() and entry.name != stated["shard"]:
                shutil.rmtree(entry, ignore_errors=True)
        with library(f"{self._folder} cannot be opened"):
            self._shard = edge.EdgeShard.load(str(self._folder / stated["shard"]))

    @property
    def dimension(self) -> int | None:
        """Length of the vectors."""
        return self._dimension

    def _create(self, dimension: int) -> None:
        path = self._folder / "shard-1"
        shutil.rmtree(path, ignore_errors=True)  # of a process that was killed before it wrote the file
        vectors = edge.EdgeVectorParams(size=dimension, distance=DISTANCES[self._metric])
        with library(f"{self._folder} cannot be created"):
            self._shard = edge.EdgeShard.create(
                str(path), edge.EdgeConfig(vectors=vectors, wal_enabled=self._options.kept)
            )
            self._shard.update(edge.UpdateOperation.create_field_index(FACTS, edge.PayloadSchemaType.Keyword))
            self._shard.flush()
        self._state(path.name, dimension)
        self._dimension = dimension

    def _state(self, shard: str, dimension: int) -> None:
        stated = {"format": _FORMAT, "shard": shard, "dimension": dimension, "metric": self._metric}
        write_file(self._folder / STORE, json.dumps(stated) + "\n")

    def _asked(self) -> Any:
        if self._shard is None:
            raise DriverError(f"{self._folder} was closed")
        return self._shard

    @contextmanager
    def _update(self, ids: Sequence[str]) -> Iterator[Any]:
        """Yield the shard for writing points of `ids`, while no other thread writes and no backup is taken."""
        with self._writing, self._gate.held(), library(str(self._folder)):
            shard = self._asked()
            yield shard
            self._written += len(ids)
            if self._changed is not None:
                self._changed.update(ids)
            if self._written >= _FLUSHED:
                shard.flush()
                self._written = 0

    def upsert(self, records: Sequence[VectorRecord]) -> None:
        """See `VectorStore.upsert`."""
        with self._writing:
            found = checked(records, self._dimension)
            if not found:
                return
            points = [edge.Point(point_id(key), list(one.vector), payload_of(one)) for key, one in found.items()]
            if self._dimension is None:
                self._create(len(next(iter(found.values())).vector))
            with self._update([str(point.id) for point in points]) as shard:
                shard.update(edge.UpdateOperation.upsert_points(points))

    def delete(self, ids: Sequence[str] | None = None, where: Mapping[str, Condition] | None = None) -> int:
        """See `VectorStore.delete`."""
        condition = filter_of(edge, where)
        with self._writing:
            if self._dimension is None:
                return 0
            found = {point_id(key) for key in ids or () if is_json(key)}
            if ids is None:
                found = {point for point, _ in self._scrolled(condition, payload=False)}
            else:
                found = {str(point.id) for point in self._asked().retrieve(list(found))}
            if found:
                with self._update(sorted(found)) as shard:
                    shard.update(edge.UpdateOperation.delete_points(sorted(found)))
            return len(found)

    def search(
        self, vector: Sequence[float], k: int = 10, where: Mapping[str, Condition] | None = None,
        min_score: float | None = None,
    ) -> list[VectorMatch]:  # fmt: skip
        """See `VectorStore.search`."""
        wanted, condition = unit_vector(vector, self._dimension), filter_of(edge, where)
        if self._dimension is None:
            return []
        params = edge.SearchParams(hnsw_ef=self._options.ef_search)
        query = edge.Query.Nearest(wanted)

        def fetch(limit: int) -> list[VectorMatch]:
            request = edge.QueryRequest(query=query, filter=condition, limit=limit, params=params, with_payload=True)
            return [match_of(self._cosine(point.score), point.payload) for point in self._asked().query(request)]

        with library(str(self._folder)):
            return best(fetch, k, min_score)

    def _cosine(self, score: float) -> float:
        return 1 - score * score / 2 if self._metric == "l2" else score

    def count(self, where: Mapping[str, Condition] | None = None) -> int:
        """See `VectorStore.count`."""
        condition = filter_of(edge, where)
        if self._dimension is None:
            return 0
        with library(str(self._folder)):
            return int(self._asked().count(edge.CountRequest(filter=condition, exact=True)))

    def export(self) -> Iterator[VectorRecord]:
        """See `VectorStore.export`."""
        if self._dimension is None:
            return
        ids = sorted((payload["id"], point) for point, payload in self._scrolled(None, payload=True))
        for begin in range(0, len(ids), _BATCH):
            wanted = [point for _, point in ids[begin : begin + _BATCH]]
            with library(str(self._folder)):
                points = self._asked().retrieve(wanted, with_payload=True, with_vector=True)
            found = {str(point.id): point for point in points}
            yield from (record_of(found[one].vector, found[one].payload) for one in wanted if one in found)

    def _scrolled(self, condition: Any, *, payload: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield id and payload, with the record's id alone, of every point that matches."""
        offset, first = None, True
        while first or offset is not None:
            request = edge.ScrollRequest(
                offset=offset, limit=_BATCH, filter=condition, with_payload=["id"] if payload else False
            )
            with library(str(self._folder)):
                points, offset = self._asked().scroll(request)
            first = False
            yield from ((str(point.id), point.payload or {}) for point in points)

    def close(self) -> None:
        """Write what is not on disk, and close the files; idempotent."""
        with self._writing:
            shard, self._shard = self._shard, None
            if shard is not None:
                with self._gate.held(), library(str(self._folder)):
                    shard.flush()
                    shard.close()
                self._gate.close()


def read_store(folder: str | Path) -> dict[str, Any] | None:
    """Return what `store.json` states; None where there is none.

    Raises:
        DriverError: it cannot be read, or is of a newer version.
    """
    file = Path(folder, STORE)
    try:
        with open_regular(file) as stream:
            stated: dict[str, Any] = json.load(stream)
        newer = stated["format"] > _FORMAT
        if not all(
            isinstance(stated[key], kind) for key, kind in (("shard", str), ("dimension", int), ("metric", str))
        ):
            raise ValueError(stated)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DriverError(f"{file} cannot be read", hint="restore a backup, or move its directory away") from error
    if newer:
        raise DriverError(f"{file} was written by a newer version", hint="install that version, or move it away")
    return stated


def check_same(folder: str | Path, stated: Mapping[str, Any] | None, options: ShardOptions) -> None:
    """Refuse a store of another dimension or metric than the configuration has.

    Raises:
        DriverError: it has.
    """
    for name, wanted in (("dimension", options.dimension), ("metric", options.metric)):
        if stated is not None and wanted is not None and stated[name] != wanted:
            reason = f"{folder} has the {name} {stated[name]}, and the configuration {wanted}"
            raise DriverError(reason, hint=f"correct `{name}`, or choose another path or collection and ingest again")
