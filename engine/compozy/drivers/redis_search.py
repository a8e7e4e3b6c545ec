"""Vectors in hashes of a Redis with a search module, which indexes them (`FT.CREATE`, `FT.SEARCH`).

Only commands and options that RediSearch and valkey-search share are used. An index is FLAT, which is exact, or HNSW,
and its name has its parameters. Another one is complete before it takes the place of the one that is searched. Each
scalar of the metadata is also a tag of the field `facts`, so that the server filters; tags are hashes, without special
characters.
"""

from __future__ import annotations

import hashlib
import re
import time
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from redis.exceptions import ResponseError

from compozy.base.record import dataclass
from compozy.drivers.redis_vectors import RedisVectorStore
from compozy.errors import DriverError
from compozy.vector.metadata_filter import Condition, accepted, fact, facts
from compozy.vector.names import file_name
from compozy.vector.ranking import best, rounded
from compozy.vector.vector_store import VectorMatch, VectorRecord, packed

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

# The number of results of one search that a server gives by default.
_MOST = 1_000_000
# Longer than the client waits: after its own, shorter timeout a server returns an incomplete result.
_TIMEOUT_MS = 10_000
_BUILD_S, _POLL_S = 4.0, 0.02
_EXISTS = re.compile("already exists", re.IGNORECASE)
_MISSING = re.compile("no such index|unknown index|not found", re.IGNORECASE)
_GRAPH = ":HNSW:"
_PROGRESS = (b"percent_indexed", b"backfill_complete_percent")  # of RediSearch, of valkey-search


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """Kind and parameters of an index, `hnsw` or else FLAT, and candidates of one search in the former."""

    index_type: str | None = None
    m: int | None = None
    ef_construction: int | None = None
    ef_search: int | None = None

    def definition(self) -> tuple[str, str, dict[str, int]]:
        """Return the end of the index's name, its algorithm, and the parameters of that."""
        if self.index_type != "hnsw":
            return ":FLAT", "FLAT", {}
        build = {"M": self.m or 16, "EF_CONSTRUCTION": self.ef_construction or 200}
        return f"{_GRAPH}{build['M']}:{build['EF_CONSTRUCTION']}", "HNSW", build


class SearchIndex(RedisVectorStore):
    """The vectors of one collection in an index of a search module."""

    form: ClassVar[str] = "FT.SEARCH"
    probe: ClassVar[tuple[str, ...]] = ("FT._LIST",)
    needs: ClassVar[str] = "load the search module (RediSearch or valkey-search) into the Redis, and use database 0"

    def __init__(self, client: object, collection: str, options: SearchOptions) -> None:
        super().__init__(client, collection)
        self._options = options
        # With the colon at the end, so that the name of no collection can begin that of another.
        self._space = f"compozy:vector-search:{file_name(collection)}:"
        self._entries = f"{self._space}entry:"
        self._index = ""
        self._complete = False

    @classmethod
    def offered(cls, client: Redis) -> bool:
        """Return True if the server can index the keys of the client's database: RediSearch indexes only 0."""
        return not client.connection_pool.connection_kwargs.get("db") and super().offered(client)

    def _put(self, pipe: Pipeline, found: Mapping[str, VectorRecord], dimension: int) -> None:
        self._create(dimension)
        pipe.multi()
        for key, record in found.items():
            tags = ",".join(map(_tag, facts(record.metadata))).encode()
            pipe.hset(self._entries + key, mapping={b"vector": packed(record.vector), b"facts": tags})

    def _drop(self, pipe: Pipeline, ids: Sequence[str]) -> None:
        pipe.multi()
        for key in ids:
            pipe.delete(self._entries + key)

    def _vectors(self, ids: Sequence[str]) -> Mapping[str, Sequence[float]]:
        pipe = self._client.pipeline()
        for key in ids:
            pipe.hget(self._entries + key, "vector")
        return {key: array("f", raw) for key, raw in zip(ids, pipe.execute(), strict=True) if raw}

    def _selection(self, where: Mapping[str, Condition]) -> Collection[str]:
        """Return conditions of a query; none where nothing can match."""
        tags = [[_tag(fact(key, value)) for value in accepted(condition)] for key, condition in where.items()]
        return [f"@facts:{{{'|'.join(any_of)}}}" for any_of in tags] if all(tags) else ()

    def _nearest(self, vector: Sequence[float], k: int, allowed: Collection[str] | None) -> list[tuple[str, float]]:
        condition, wanted = "*" if allowed is None else f"({' '.join(allowed)})", packed(vector)
        try:
            found = best(lambda limit: self._similar(wanted, limit, condition), k)
        except ResponseError as error:
            if not _MISSING.search(str(error)):
                raise
            self._adopt()
            found = best(lambda limit: self._similar(wanted, limit, condition), k)
        return [(match.id, match.score) for match in found]

    def _similar(self, vector: bytes, limit: int, condition: str) -> list[VectorMatch]:
        """Return the `limit` nearest records, without their texts."""
        limit, index = min(limit, _MOST), self._searched()
        depth = f" EF_RUNTIME {max(self._options.ef_search or 100, limit)}" if _GRAPH in index else ""
        query = f"{condition}=>[KNN {limit} @vector $query{depth} AS distance]"
        what = ("PARAMS", 2, "query", vector, "RETURN", 1, "distance", "LIMIT", 0, limit)
        answer = self._client.execute_command("FT.SEARCH", index, query, *what, "TIMEOUT", _TIMEOUT_MS, "DIALECT", 2)
        return [
            VectorMatch(key.decode()[len(self._entries) :], rounded(1 - float(distance)))
            for key, distance in _distances(answer)
        ]

    def _create(self, dimension: int) -> None:
        """Create the index of the configuration, unless one is in use or it exists."""
        if self._index:
            return
        ending, algorithm, build = self._options.definition()
        name = f"{self._space}index:{dimension}{ending}"
        given = {"TYPE": "FLOAT32", "DIM": dimension, "DISTANCE_METRIC": "COSINE", **build}
        vector = ("vector", "VECTOR", algorithm, 2 * len(given), *(part for pair in given.items() for part in pair))
        what = ("ON", "HASH", "PREFIX", 1, self._entries, "SCHEMA", "facts", "TAG", *vector)
        try:
            self._client.execute_command("FT.CREATE", name, *what)
        except ResponseError as error:
            if not _EXISTS.search(str(error)):
                raise
        self._index = name

    def _indexes(self, begin: str) -> list[str]:
        """Return the names of the indexes of this collection that begin with `index:` and `begin`."""
        names = [name.decode() for name in self._client.execute_command("FT._LIST")]
        return sorted(name for name in names if name.startswith(f"{self._space}index:{begin}"))

    def _adopt(self) -> None:
        """Use the index that took the place of this one, which a process of another configuration has deleted."""
        self._index, self._complete = next(iter(self._indexes(f"{self.dimension}:")), ""), False

    def _searched(self) -> str:
        """Return the index to search: that of the configuration, or until it is complete another one that is.

        Raises:
            DriverError: none is complete.
        """
        self._create(self.dimension or 0)
        deadline = time.monotonic() + _BUILD_S
        while not self._complete:
            share, others = self._share(self._index), [name for name in self._indexes("") if name != self._index]
            if share >= 1:
                self._delete(others)
                self._complete = True
                break
            for other in others:
                if f":index:{self.dimension}:" in other and self._share(other) >= 1:
                    return other
            if time.monotonic() > deadline:
                reason = f"the index of the vectors is being built: {share:.0%} are in it"
                raise DriverError(reason, hint=f"search again later; FT.INFO {self._index} has the progress")
            time.sleep(_POLL_S)
        return self._index

    def _share(self, index: str) -> float:
        """Return the share of the vectors that is in an index, 0 to 1; a server has that of all its keys."""
        with self._client.pipeline() as pipe:
            pipe.hlen(self._metadata)
            pipe.execute_command("FT.INFO", index)
            size, answer = pipe.execute()
        known = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
        if int(known[b"num_docs"]) >= size:
            return 1.0
        return next(float(known[name]) for name in _PROGRESS if name in known)

    def _delete(self, indexes: Sequence[str]) -> None:
        """Delete indexes; the hashes stay."""
        for name in indexes:
            try:
                self._client.execute_command("FT.DROPINDEX", name)
            except ResponseError as error:
                if not _MISSING.search(str(error)):
                    raise


def _distances(answer: Any) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and distance of each result of a search; RESP3 has maps where RESP2 has lists."""
    if isinstance(answer, dict):
        yield from ((one[b"id"], one[b"extra_attributes"][b"distance"]) for one in answer[b"results"])
    else:
        for key, fields in zip(answer[1::2], answer[2::2], strict=True):
            yield key, dict(zip(fields[::2], fields[1::2], strict=True))[b"distance"]


def _tag(fact_of_metadata: str) -> str:
    return "f" + hashlib.blake2b(fact_of_metadata.encode(), digest_size=16).hexdigest()
