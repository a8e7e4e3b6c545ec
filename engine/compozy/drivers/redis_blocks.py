"""Vectors in any Redis: packed in blocks of about 1,000, and searched exactly by the client.

Block `n` is two keys: `vectors:<n>` has the single-precision numbers of its vectors one after the other, `ids:<n>` the
ids in the same order, as JSON. The hash `block` has the block of each id, the hash `sizes` the length of each block. A
transaction watches the hash `store`, so that the two keys of a block always belong together.

This module imports numpy, so it is itself imported late.
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import numpy as np
from redis.exceptions import WatchError

from compozy.drivers.redis_vectors import RedisVectorStore
from compozy.vector.ranking import rounded
from compozy.vector.vector_store import VectorRecord, packed

_BLOCK = 1000
# Of one answer: bounds the memory of a search in client and server.
_READ_BYTES = 32 * 1024 * 1024
_FLOAT = np.dtype("<f4")


class PackedBlocks(RedisVectorStore):
    """The vectors of one collection in blocks."""

    form: ClassVar[str] = "packed blocks"

    def _put(self, pipe: Any, found: Mapping[str, VectorRecord], dimension: int) -> None:
        homes = _decoded(zip(found, pipe.hmget(self._key("block"), list(map(str.encode, found))), strict=True))
        sizes = {int(number): int(size) for number, size in pipe.hgetall(self._key("sizes")).items()}
        new = _places([key for key in found if key not in homes], sizes)
        blocks = sorted({*homes.values(), *(number for number in new.values() if number in sizes)})
        listed = self._listed(pipe, blocks)
        pipe.multi()
        width = dimension * _FLOAT.itemsize
        for number, keys in _by_block(homes).items():
            at = {key: place for place, key in enumerate(listed[number])}
            for key in keys:
                pipe.setrange(self._key(f"vectors:{number}"), at[key] * width, packed(found[key].vector))
        for number, keys in _by_block(new).items():
            ids = [*listed.get(number, ()), *keys]
            pipe.append(self._key(f"vectors:{number}"), b"".join(packed(found[key].vector) for key in keys))
            pipe.set(self._key(f"ids:{number}"), json.dumps(ids))
            pipe.hset(self._key("sizes"), str(number), len(ids))
        if new:
            pipe.hset(self._key("block"), mapping={key.encode(): b"%d" % number for key, number in new.items()})

    def _drop(self, pipe: Any, ids: Sequence[str]) -> None:
        homes = _decoded(zip(ids, pipe.hmget(self._key("block"), list(ids)), strict=True)) if ids else {}
        blocks = _by_block(homes)
        vectors = pipe.mget([self._key(f"vectors:{number}") for number in blocks]) if blocks else []
        listed = self._listed(pipe, list(blocks))
        pipe.multi()
        for (number, keys), block in zip(blocks.items(), vectors, strict=True):
            kept = [place for place, key in enumerate(listed[number]) if key not in keys]
            names = [self._key(f"vectors:{number}"), self._key(f"ids:{number}")]
            if kept:
                rows = np.frombuffer(block, _FLOAT).reshape(len(listed[number]), -1)[kept]
                pipe.mset(
                    dict(zip(names, (rows.tobytes(), json.dumps([listed[number][at] for at in kept])), strict=True))
                )
                pipe.hset(self._key("sizes"), str(number), len(kept))
            else:
                pipe.delete(*names)
                pipe.hdel(self._key("sizes"), str(number))
        if homes:
            pipe.hdel(self._key("block"), *homes)

    def _listed(self, pipe: Any, blocks: Sequence[int]) -> dict[int, list[str]]:
        """Return the ids of blocks."""
        found = pipe.mget([self._key(f"ids:{number}") for number in blocks]) if blocks else []
        return {number: msgspec.json.decode(ids) for number, ids in zip(blocks, found, strict=True)}

    def _nearest(self, vector: Sequence[float], k: int, allowed: Collection[str] | None) -> list[tuple[str, float]]:
        query = np.asarray(vector, _FLOAT)
        best: dict[str, float] = {}
        for block, ids in self._blocks(len(vector)):
            scores = np.frombuffer(block, _FLOAT).reshape(-1, len(vector)) @ query
            for key, score in _candidates(scores, ids, k, allowed):
                best[key] = score
        return sorted(best.items(), key=lambda found: (-found[1], found[0]))[:k]

    def _blocks(self, dimension: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield vectors and ids of each block; the two are of one moment."""
        numbers = sorted(map(int, self._client.hkeys(self._key("sizes"))))
        step = max(1, _READ_BYTES // (_BLOCK * dimension * _FLOAT.itemsize))
        for at in range(0, len(numbers), step):
            part = numbers[at : at + step]
            keys = [self._key(f"{kind}:{number}") for number in part for kind in ("vectors", "ids")]
            # One command, so that vectors and ids of a block are of one moment.
            found = self._client.mget(keys)
            yield from ((block, ids) for block, ids in zip(found[::2], found[1::2], strict=True) if block and ids)

    def _vectors(self, ids: Sequence[str]) -> Mapping[str, Sequence[float]]:
        with self._client.pipeline() as pipe:
            while True:
                # Another client wrote between the places and the vectors: both are read again.
                with contextlib.suppress(WatchError):
                    return self._rows(pipe, ids)

    def _rows(self, pipe: Any, ids: Sequence[str]) -> dict[str, Sequence[float]]:
        """Read vectors at their places; raises WatchError when another client has written meanwhile."""
        pipe.watch(self._key("store"))
        homes = _decoded(zip(ids, pipe.hmget(self._key("block"), list(ids)), strict=True))
        listed = self._listed(pipe, sorted(set(homes.values())))
        width = (self._dimension or 0) * _FLOAT.itemsize
        pipe.multi()
        for key, number in homes.items():
            at = listed[number].index(key) * width
            pipe.getrange(self._key(f"vectors:{number}"), at, at + width - 1)
        return {key: np.frombuffer(row, _FLOAT).tolist() for key, row in zip(homes, pipe.execute(), strict=True)}


def _decoded(pairs: Iterable[tuple[str, bytes | None]]) -> dict[str, int]:
    """Return the block of each id that has one."""
    return {key: int(number) for key, number in pairs if number is not None}


def _by_block(homes: Mapping[str, int]) -> dict[int, dict[str, None]]:
    found: dict[int, dict[str, None]] = defaultdict(dict)
    for key, number in homes.items():
        found[number][key] = None
    return found


def _places(new: Sequence[str], sizes: Mapping[int, int]) -> dict[str, int]:
    """Return a block for each new id: those with room first, then further ones."""
    free = ((number, _BLOCK - size) for number, size in sorted(sizes.items()) if size < _BLOCK)
    places = [number for number, room in free for _ in range(min(room, len(new)))]
    after = max(sizes, default=-1) + 1
    return {key: places[at] if at < len(places) else after + (at - len(places)) // _BLOCK for at, key in enumerate(new)}


def _candidates(scores: Any, ids: bytes, k: int, allowed: Collection[str] | None) -> Iterator[tuple[str, float]]:
    """Yield the ids of a block with a score among its `k` best, ties included."""
    names: list[str] | None = None
    if allowed is not None:
        names = msgspec.json.decode(ids)
        # Below every cosine similarity, so that these rows drop out.
        scores = np.where([name in allowed for name in names or ()], scores, -2.0)
    # Rounded as results are, so that equal vectors have equal scores and their ids decide the order.
    scores = np.round(np.clip(scores, -2.0, 1.0).astype(np.float64), 6)
    # A partial sort in linear time: only the k-th best score is needed.
    least = np.partition(scores, -k)[-k] if k < len(scores) else -2.0
    places = np.flatnonzero((scores >= least) & (scores > -1.5))
    names = names or msgspec.json.decode(ids)
    yield from ((names[at], rounded(float(scores[at]))) for at in places)
