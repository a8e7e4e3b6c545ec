"""The protocol of vector stores.

Every provider gives the same answers: the score is the cosine similarity, equal scores are ordered by id, and an
operation that has returned is durable where the store keeps data.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Protocol

from compozy.base.record import dataclass
from compozy.errors import VectorError
from compozy.vector.metadata_filter import Condition

_SINGLE_PRECISION = 1e-7


@dataclass(frozen=True, slots=True)
class VectorRecord:
    """A vector of `dimension` finite numbers, not all zero, with its text and metadata (JSON values by name)."""

    id: str
    vector: Sequence[float]
    text: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VectorMatch:
    """A record that a search found; `score` is the cosine similarity to the query, in [-1, 1]."""

    id: str
    score: float
    text: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)


class VectorStore(Protocol):
    """One collection of vectors of one dimension; safe to use from several threads.

    Every method raises VectorError for arguments that the store cannot take, and DriverError when it does not answer.
    """

    @property
    def dimension(self) -> int | None:
        """Length of the vectors; None until the first upsert, where the configuration names none."""

    def upsert(self, records: Sequence[VectorRecord]) -> None:
        """Write records, replacing those with the same ids; all are durable when it returns, or none is promised."""

    def delete(self, ids: Sequence[str] | None = None, where: Mapping[str, Condition] | None = None) -> int:
        """Delete either the records with `ids` or those that match `where`; return how many were deleted."""

    def search(
        self,
        vector: Sequence[float],
        k: int = 10,
        where: Mapping[str, Condition] | None = None,
        min_score: float | None = None,
    ) -> list[VectorMatch]:
        """Return at most `k` records by descending score, those that match `where` and reach `min_score`."""

    def count(self, where: Mapping[str, Condition] | None = None) -> int:
        """Return how many records match `where`, or all."""

    def export(self) -> Iterator[VectorRecord]:
        """Yield every record, ordered by id."""


def unit_vector(vector: Sequence[float], dimension: int | None = None) -> list[float]:
    """Return `vector` scaled to length 1; one of that length stays as it is.

    Raises:
        VectorError: it has another length than `dimension`, a number that is not finite, or only zeros.
    """
    if dimension is not None and len(vector) != dimension:
        raise VectorError(f"wrong dimension: the vector has {len(vector)} numbers, the store {dimension}")
    length = math.hypot(*vector)
    if not math.isfinite(length) or length == 0:
        raise VectorError("the vector has no direction: its numbers are not finite or all zero")
    # Embedders mostly return vectors of length 1, and to scale one costs more than everything else about a record. The
    # difference is below the single precision with which every engine keeps numbers.
    return list(vector) if abs(length - 1) < _SINGLE_PRECISION else [number / length for number in vector]


def packed(vector: Sequence[float]) -> bytes:
    """Return the numbers in single precision, as every engine keeps them; `array` takes three times as long."""
    return struct.pack(f"<{len(vector)}f", *vector)
