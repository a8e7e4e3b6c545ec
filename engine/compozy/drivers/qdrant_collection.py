"""A vector store in a collection of Qdrant, whose engine is in the process or a server: what both do alike.

A point's id is a UUID of the record's id. Each scalar of the metadata is also a keyword of the field `facts`, which
has an index: filters compare keywords, so names with any characters, null and numbers of any type are compared as JSON.
Both libraries have the same models, which a subclass names.
"""

from __future__ import annotations

import hashlib
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar

from compozy.base.record import dataclass
from compozy.vector.checked_records import check_selection, checked
from compozy.vector.metadata_filter import Condition, accepted, fact, facts, is_json
from compozy.vector.ranking import best, rounded
from compozy.vector.vector_store import VectorMatch, VectorRecord, unit_vector

FACTS = "facts"
BATCH = 500
_NAMESPACE = uuid.UUID("5f0c2a8e-6d0b-5b52-9a51-0d3b4c8f7e21")


@dataclass(frozen=True, slots=True)
class CollectionOptions:
    """Options of a collection and its search; None: as stored, else the first vector's `dimension` and cosine."""

    dimension: int | None = None
    metric: str | None = None
    m: int | None = None
    ef_construction: int | None = None
    ef_search: int | None = None

    def difference(self, dimension: int, metric: str) -> str | None:
        """Return in what a stored collection differs from the configuration; None where it does not."""
        for name, stated, wanted in (("dimension", dimension, self.dimension), ("metric", metric, self.metric)):
            if wanted is not None and stated != wanted:
                return f"has the {name} {stated}, and the configuration {wanted}"
        return None


Filter = TypeVar("Filter")  # of the library


class QdrantCollection(ABC, Generic[Filter]):
    """The vector store in one collection, for any number of threads."""

    models: Any

    def __init__(self, options: CollectionOptions) -> None:
        self._options = options
        self._metric = options.metric or "cosine"
        self._dimension: int | None = None  # of what is stored

    @property
    def dimension(self) -> int | None:
        """Length of the vectors."""
        return self._dimension or self._options.dimension

    def upsert(self, records: Sequence[VectorRecord]) -> None:
        """See `VectorStore.upsert`."""
        with self._turn():
            found = checked(records, self.dimension)
            if not found:
                return
            if not self._known():
                self._create(len(next(iter(found.values())).vector))
                found = checked(records, self.dimension)
            self._write({point_id(key): record for key, record in found.items()})

    def delete(self, ids: Sequence[str] | None = None, where: Mapping[str, Condition] | None = None) -> int:
        """See `VectorStore.delete`."""
        check_selection(ids, where)
        condition = self._filter(where)
        with self._turn():
            if not self._known():
                return 0
            if ids is None:
                found = [point for point, _ in self._scrolled(condition, fields=())]
            else:
                wanted = {point_id(key) for key in ids if is_json(key)}
                found = [str(point.id) for point in self._retrieved(sorted(wanted), vectors=False)]
            if found:
                self._erase(found)
            return len(found)

    def search(
        self, vector: Sequence[float], k: int = 10, where: Mapping[str, Condition] | None = None,
        min_score: float | None = None,
    ) -> list[VectorMatch]:  # fmt: skip
        """See `VectorStore.search`."""
        wanted, condition = unit_vector(vector, self.dimension), self._filter(where)

        def fetch(limit: int) -> list[VectorMatch]:
            return [self._match(point) for point in self._nearest(wanted, condition, limit)]

        return best(fetch, k, min_score) if self._known() else []

    def count(self, where: Mapping[str, Condition] | None = None) -> int:
        """See `VectorStore.count`."""
        condition = self._filter(where)
        return self._counted(condition) if self._known() else 0

    def export(self) -> Iterator[VectorRecord]:
        """See `VectorStore.export`."""
        if not self._known():
            return
        ids = sorted((payload["id"], point) for point, payload in self._scrolled(None, fields=("id",)))
        for begin in range(0, len(ids), BATCH):
            wanted = [point for _, point in ids[begin : begin + BATCH]]
            found = {str(point.id): point for point in self._retrieved(wanted, vectors=True)}
            yield from (record_of(found[one].vector, found[one].payload) for one in wanted if one in found)

    def _match(self, point: Any) -> VectorMatch:
        score = 1 - point.score * point.score / 2 if self._metric == "l2" else point.score
        payload = point.payload
        return VectorMatch(payload["id"], rounded(score), payload["text"], payload["metadata"])

    def _scrolled(self, condition: Filter | None, fields: Sequence[str]) -> Iterator[tuple[str, Mapping[str, object]]]:
        """Yield id and `fields` of the payload of every point that matches."""
        offset, begun = None, False
        while offset is not None or not begun:
            points, offset = self._page(condition, list(fields), offset)
            begun = True
            yield from ((str(point.id), point.payload or {}) for point in points)

    def _filter(self, where: Mapping[str, Condition] | None) -> Filter | None:
        """Return a filter of metadata; None for all points."""
        if not where:
            return None
        keywords = [[fact(key, value) for value in accepted(condition)] for key, condition in where.items()]
        # Qdrant takes an empty list for no condition, and no fact is an empty text.
        match, condition = self.models.MatchAny, self.models.FieldCondition
        found: Filter = self.models.Filter(
            must=[condition(key=FACTS, match=match(any=values or [""])) for values in keywords]
        )
        return found

    def _turn(self) -> AbstractContextManager[object]:
        """Return what is held during an operation that writes."""
        return nullcontext()

    @abstractmethod
    def _known(self) -> bool:
        """Return True if the collection exists; `_dimension` is its own then."""

    @abstractmethod
    def _create(self, dimension: int) -> None:
        """Create the collection."""

    @abstractmethod
    def _write(self, records: Mapping[str, VectorRecord]) -> None:
        """Write records by the ids of their points."""

    @abstractmethod
    def _erase(self, points: Sequence[str]) -> None:
        """Delete points."""

    @abstractmethod
    def _nearest(self, vector: Sequence[float], condition: Filter | None, limit: int) -> Sequence[object]:
        """Return the nearest points, with scores and payloads."""

    @abstractmethod
    def _counted(self, condition: Filter | None) -> int:
        """Return how many points match."""

    @abstractmethod
    def _retrieved(self, points: Sequence[str], *, vectors: bool) -> Sequence[Any]:
        """Return the existing ones of `points`, with payloads and vectors or without both."""

    @abstractmethod
    def _page(self, condition: Filter | None, fields: list[str], offset: Any) -> tuple[Sequence[Any], object]:
        """Return points from `offset`, and the next offset or None."""


def point_id(record_id: str) -> str:
    """Return the id of the point of a record."""
    # As `uuid.uuid5`, whose objects take longer than their hash (RFC 9562, section 5.5).
    found = hashlib.sha1(_NAMESPACE.bytes + record_id.encode(), usedforsecurity=False).hexdigest()
    return f"{found[:8]}-{found[8:12]}-5{found[13:16]}-{'89ab'[int(found[16], 16) % 4]}{found[17:20]}-{found[20:32]}"


def payload_of(record: VectorRecord) -> dict[str, object]:
    """Return the payload of the point of a record."""
    metadata = dict(record.metadata)
    return {"id": record.id, "text": record.text, "metadata": metadata, FACTS: facts(metadata)}


def record_of(vector: Iterable[float], payload: Mapping[str, Any]) -> VectorRecord:
    """Return the record of a point."""
    return VectorRecord(payload["id"], list(vector), payload["text"], payload["metadata"])
