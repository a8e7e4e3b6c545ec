"""Vectors in a vector set of Redis 8: a graph in the server (https://redis.io/docs/latest/develop/data-types/vector-sets/).

A small set, and a search with a filter, are compared vector by vector in the server, so that the result is exact.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from compozy.drivers.redis_vectors import RedisVectorStore
from compozy.vector.ranking import rounded
from compozy.vector.vector_store import VectorRecord, packed

if TYPE_CHECKING:
    from redis.client import Pipeline

# Up to so many vectors a comparison with all of them is as fast as the graph.
_EXACT = 20_000
_CANDIDATES = 500
_MORE = 4


class VectorSets(RedisVectorStore):
    """The vectors of one collection in one vector set."""

    form: ClassVar[str] = "vector sets"
    probe: ClassVar[tuple[str, ...]] = ("VCARD", "compozy:vector")
    needs: ClassVar[str] = "use Redis 8 or newer"

    def _put(self, pipe: Pipeline, found: Mapping[str, VectorRecord], dimension: int) -> None:
        pipe.multi()
        for key, record in found.items():
            pipe.execute_command("VADD", self._key("set"), "FP32", packed(record.vector), key, "NOQUANT")

    def _drop(self, pipe: Pipeline, ids: Sequence[str]) -> None:
        pipe.multi()
        for key in ids:
            pipe.execute_command("VREM", self._key("set"), key)

    def _nearest(self, vector: Sequence[float], k: int, allowed: Collection[str] | None) -> list[tuple[str, float]]:
        size = int(self._client.execute_command("VCARD", self._key("set")))
        limit, found = k + 1, list[tuple[str, float]]()
        while True:
            exact = allowed is not None or size <= _EXACT
            nearest = self._similar(vector, min(limit, size), exact=exact) if size else []
            found = [(key, score) for key, score in nearest if allowed is None or key in allowed]
            if len(nearest) >= size or (len(found) > k and found[-1][1] < found[k - 1][1]):
                return sorted(found, key=lambda one: (-one[1], one[0]))[:k]
            limit *= _MORE

    def _similar(self, vector: Sequence[float], limit: int, *, exact: bool) -> list[tuple[str, float]]:
        """Return the `limit` nearest ids with their scores, best first."""
        how = ["TRUTH"] if exact else ["EF", max(_CANDIDATES, limit)]
        found = self._client.execute_command(
            "VSIM", self._key("set"), "FP32", packed(vector), "WITHSCORES", "COUNT", limit, *how
        )
        pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        return [(key.decode(), rounded(2 * float(similarity) - 1)) for key, similarity in pairs]

    def _vectors(self, ids: Sequence[str]) -> Mapping[str, Sequence[float]]:
        pipe = self._client.pipeline()
        for key in ids:
            pipe.execute_command("VEMB", self._key("set"), key, "RAW")
        return {key: array("f", raw[1]) for key, raw in zip(ids, pipe.execute(), strict=True) if raw}
