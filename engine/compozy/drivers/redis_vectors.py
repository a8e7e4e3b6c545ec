"""A vector store in Redis: what its forms share; `redis_forms` has the choice between them.

All keys of a store begin with `compozy:vector:<collection>:`. The hash `store` names format, form and dimension, and
its `version` changes with each write; the hashes `text` and `metadata` hold what belongs to an id.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from compozy.errors import DriverError, VectorError
from compozy.vector.checked_records import check_selection, checked
from compozy.vector.metadata_filter import Condition, accepted, is_json, matches, metadata_json
from compozy.vector.vector_store import VectorMatch, VectorRecord, unit_vector

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

_FORMAT = b"1"
_PAGE = 500
_RETRY_S = 0.002
Result = TypeVar("Result")


class RedisVectorStore(ABC):
    """The vectors of one collection; `client` is that of a Redis, shared with others."""

    form: ClassVar[str]
    probe: ClassVar[tuple[str, ...]] = ()  # a command that only servers with this form have
    needs: ClassVar[str] = ""  # how a server gets it

    def __init__(self, client: Any, collection: str) -> None:
        self._client = client
        self._prefix = f"compozy:vector:{collection}:"
        self._text, self._metadata = self._key("text"), self._key("metadata")
        self._dimension: int | None = None

    @classmethod
    def offered(cls, client: Redis) -> bool:
        """Return True if the server has what this form needs, and permits it."""
        try:
            if cls.probe:
                client.execute_command(*cls.probe)
        except (ResponseError, NoPermissionError):
            return False
        return True

    def _key(self, name: object) -> str:
        return f"{self._prefix}{name}"

    @property
    def dimension(self) -> int | None:
        """Length of the vectors; None until it is fixed."""
        return self._dimension

    def open(self, dimension: int | None) -> None:
        """Compare the dimension that is configured with the stored one.

        Raises:
            DriverError: they differ, or the server does not answer.
        """
        with answered():
            stored = self._stored(self._client)
        if dimension and stored not in (None, dimension):
            raise DriverError(
                f"wrong dimension: the store holds vectors of {stored} numbers, and its dimension is {dimension}",
                hint=f"set dimension: {stored}; or name another collection, and ingest the documents again",
            )
        self._dimension = dimension or stored

    def _stored(self, pipe: Any) -> int | None:
        """Return the length of the vectors; None until the first one."""
        found, written = pipe.hmget(self._key("store"), "dimension", "format")
        if written not in (None, _FORMAT):
            raise DriverError(
                "the vectors were written by another version of Compozy", hint="install that version, or a newer one"
            )
        return None if found is None else int(found)

    def _transaction(self, work: Callable[[Pipeline], Result]) -> Result:
        """Run `work(pipe)` again until no other client has written between what it read and what it wrote.

        It reads, calls `multi` and queues writes.
        """
        with answered():
            result: Result = self._client.transaction(
                work, self._key("store"), value_from_callable=True, watch_delay=_RETRY_S
            )
        return result

    def upsert(self, records: Sequence[VectorRecord]) -> None:
        """Write records in one transaction, replacing those with the same ids.

        Raises:
            VectorError: a record cannot be stored.
            DriverError: the server does not answer, or takes no writes.
        """
        found = checked(records, self._dimension)
        if not found:
            return
        dimension = len(next(iter(found.values())).vector)

        def write(pipe: Any) -> None:
            stored = self._stored(pipe)
            if stored not in (None, dimension):
                raise VectorError(f"wrong dimension: the vector has {dimension} numbers, the store {stored}")
            self._put(pipe, found, dimension)
            if stored is None:
                facts: dict[object, object] = {"format": _FORMAT, "form": self.form, "dimension": dimension}
                pipe.hset(self._key("store"), mapping=facts)
            # As bytes, which the client does not have to encode: that takes longer than anything else here.
            pipe.hset(self._text, mapping={key.encode(): one.text.encode() for key, one in found.items()})
            pipe.hset(self._metadata, mapping={key.encode(): metadata_json(one.metadata) for key, one in found.items()})
            pipe.hincrby(self._key("store"), "version")

        self._transaction(write)
        self._dimension = dimension

    @abstractmethod
    def _put(self, pipe: Pipeline, found: Mapping[str, VectorRecord], dimension: int) -> None:
        """Read, call `multi`, and queue the writes of the vectors."""

    def delete(self, ids: Sequence[str] | None = None, where: Mapping[str, Condition] | None = None) -> int:
        """Delete the records with `ids`, or those that match `where`, in one transaction; return how many.

        Raises:
            VectorError: not exactly one of them is given, or a condition cannot be compared.
            DriverError: the server does not answer, or takes no writes.
        """
        check_selection(ids, where)

        def remove(pipe: Any) -> int:
            if ids is None:
                doomed = self._matching(where, pipe.hgetall(self._metadata))
            else:
                given = [key for key in dict.fromkeys(ids) if is_json(key)]
                known = pipe.hmget(self._metadata, given) if given else []
                doomed = [key for key, there in zip(given, known, strict=True) if there is not None]
            self._drop(pipe, doomed)
            if doomed:
                pipe.hdel(self._text, *doomed)
                pipe.hdel(self._metadata, *doomed)
                pipe.hincrby(self._key("store"), "version")
            return len(doomed)

        return self._transaction(remove)

    @abstractmethod
    def _drop(self, pipe: Pipeline, ids: Sequence[str]) -> None:
        """Read, call `multi`, and queue the deletion of vectors that exist."""

    def search(
        self,
        vector: Sequence[float],
        k: int = 10,
        where: Mapping[str, Condition] | None = None,
        min_score: float | None = None,
    ) -> list[VectorMatch]:
        """Return at most `k` records by descending score, those that match `where` and reach `min_score`.

        Raises:
            VectorError: the vector has another length or no direction, or a condition cannot be compared.
            DriverError: the server does not answer.
        """
        if self._dimension is None:
            self.open(None)
        wanted = unit_vector(vector, self._dimension)
        with answered():
            allowed = self._selection(where) if where else None
            if self._dimension is None or k <= 0 or (allowed is not None and not allowed):
                return []
            found = self._nearest(wanted, k, allowed)
            return self._filled([(key, score) for key, score in found if min_score is None or score >= min_score])

    def _selection(self, where: Mapping[str, Condition]) -> Collection[str]:
        """Return what restricts `_nearest` to records that match a filter: here their ids; empty if none can match."""
        return set(self._matching(where, self._client.hgetall(self._metadata)))

    @abstractmethod
    def _nearest(self, vector: Sequence[float], k: int, allowed: Collection[str] | None) -> list[tuple[str, float]]:
        """Return the ids of the `k` best among the `allowed`, and their scores, by descending score and then id."""

    def _filled(self, found: Sequence[tuple[str, float]]) -> list[VectorMatch]:
        """Return the matches with their texts; one that another client has deleted since is left out."""
        if not found:
            return []
        keys = [key for key, _ in found]
        pipe = self._client.pipeline()
        texts, metadata = pipe.hmget(self._text, keys).hmget(self._metadata, keys).execute()
        rows = zip(found, texts, metadata, strict=True)
        return [
            VectorMatch(key, score, text.decode(), json.loads(data))
            for (key, score), text, data in rows
            if text is not None and data is not None
        ]

    def count(self, where: Mapping[str, Condition] | None = None) -> int:
        """Return how many records match `where`, or all.

        Raises:
            VectorError: a condition cannot be compared.
            DriverError: the server does not answer.
        """
        with answered():
            if not where:
                return int(self._client.hlen(self._metadata))
            return len(self._matching(where, self._client.hgetall(self._metadata)))

    def _matching(self, where: Mapping[str, Condition] | None, metadata: Mapping[bytes, bytes]) -> list[str]:
        """Return the ids whose metadata match a filter."""
        given = where or {}
        for condition in given.values():
            accepted(condition)
        return [
            key.decode() for key, data in metadata.items() if not given or matches(msgspec.json.decode(data), given)
        ]

    def export(self) -> Iterator[VectorRecord]:
        """Yield every record, ordered by id; the store can be used meanwhile.

        Raises:
            DriverError: the server does not answer.
        """
        with answered():
            # All ids first: a cursor over a hash has no order and may return an id twice.
            keys = sorted(key.decode() for key in self._client.hkeys(self._metadata))
        for at in range(0, len(keys), _PAGE):
            with answered():
                vectors = self._vectors(keys[at : at + _PAGE])
                filled = self._filled([(key, 1.0) for key in vectors])
            yield from (VectorRecord(one.id, vectors[one.id], one.text, one.metadata) for one in filled)

    @abstractmethod
    def _vectors(self, ids: Sequence[str]) -> Mapping[str, Sequence[float]]:
        """Return the vectors of those ids that exist, in their order."""


@contextmanager
def answered() -> Iterator[None]:
    """Raise an error of the client within the block as DriverError."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise DriverError(f"Redis does not answer: {error}", hint="see the health of the Redis") from error
