"""Vector stores: ingestion, latency and recall of each provider, beside its bare library in the same run.

Vectors of 256 numbers lie around random centres, as those of texts do; records are written in batches of 500 and
searched for the 10 nearest. Recall is measured against exact search. The collection exists before writes are measured,
whose time lasts until the index is complete. No package has a Qdrant server: the provider `qdrant` is the engine in the
process.

A bare library does the work that the protocol requires, with the same durability and batches, and without checks:

- It writes records under text ids, so that a second write replaces the first, with their texts and their metadata as
  JSON, and returns all three. Qdrant takes only numbers and UUIDs for ids, so a UUID is derived from the text.
- It has an index of metadata where the engine has one, which filters need. SQLite and packed blocks have none.
- It is searched after many searches for other vectors, as the store is: the first ones in new files are slower.
- Above 20,000 vectors Qdrant has an HNSW index, and pgvector from 10,000; fewer are searched exactly, as is everything
  in SQLite and Redis. The bare index is built after the last write. The store in pgvector is written without an index,
  and started with one, as a large import should be: row by row, an index takes four times as long. The store in Qdrant
  builds its index in the background, in a process of low priority.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from tests.support.search_module_server import HAS_MODULE

from benchmarks import vector_engines
from benchmarks.measurement import Measurement
from benchmarks.vector_engines import DIMENSION, K, Opened
from compozy.vector.vector_store import VectorRecord

BATCH, QUERIES = 500, 100
OTHER_QUERIES, OTHERS_S = 1_000, 2.0  # searches before those that are measured
CENTRES, SPREAD = 200, 0.7
SIZES, SHORT_SIZES = (1_000, 10_000, 100_000), (1_000,)
COMPARISONS = 3_000_000  # of all queries: an exact search of 100,000 vectors takes most of a second in Redis
WHAT = (("write 1,000", "ms"), ("search", "ms"), ("recall", "of 1"))

Vectors = npt.NDArray[np.float32]
Search = Callable[[Sequence[float]], list[str]]


@dataclass(frozen=True)
class Provider:
    """A provider: `store` yields its store and `bare` its library, each empty and on a server of its own if any."""

    name: str
    store: Opened
    bare: Opened


def run(short: bool) -> list[Measurement]:
    """Measure each provider with each number of vectors."""
    rows: list[Measurement] = []
    for size in SHORT_SIZES if short else SIZES:
        vectors, queries = data(size)
        most = min(QUERIES, COMPARISONS // size)
        expected = [nearest(vectors, query) for query in queries[:most]]
        for provider in PROVIDERS:
            rows += measured(provider, vectors, [*queries[:most].tolist(), *queries[QUERIES:].tolist()], expected)
    return rows


def data(size: int) -> tuple[Vectors, Vectors]:
    """Return vectors of length 1, and queries from the same distribution."""
    random = np.random.default_rng(1)
    centres = random.normal(size=(CENTRES, DIMENSION))
    points = centres[random.integers(CENTRES, size=size + QUERIES + OTHER_QUERIES)]
    points = points + SPREAD * random.normal(size=points.shape)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points[:size].astype(np.float32), points[size:].astype(np.float32)


def nearest(vectors: Vectors, query: Vectors) -> set[str]:
    """Return the ids of the nearest vectors by comparison with each."""
    return {f"record-{number:06}" for number in np.argsort(-(vectors @ query))[:K]}


def measured(
    provider: Provider, vectors: Vectors, queries: Sequence[Sequence[float]], expected: Sequence[set[str]]
) -> Iterator[Measurement]:
    """Yield what one provider does with one number of vectors."""
    results = [outcome(opened, vectors, queries, expected) for opened in (provider.store, provider.bare)]
    for (what, unit), ours, bare in zip(WHAT, *results, strict=True):
        yield Measurement(f"{provider.name}, {len(vectors):,} vectors: {what}", ours, unit, "bare library", bare)


def outcome(
    opened: Opened, vectors: Vectors, queries: Sequence[Sequence[float]], expected: Sequence[set[str]]
) -> tuple[float, float, float]:
    """Return what `WHAT` names."""
    with tempfile.TemporaryDirectory() as folder, opened(folder) as engine:
        wrote_s = sum(timed(partial(engine.write, records)) for records in batches(vectors)) + timed(engine.finish)
        warm_up(engine.search, queries[len(expected) :])
        search_ms, found = searched(engine.search, queries[: len(expected)])
    return wrote_s / len(vectors) * 1e6, search_ms, recall(found, expected)


def batches(vectors: Vectors) -> Iterator[list[VectorRecord]]:
    """Yield the records of a base of 50 documents with 20 sections each."""
    for at in range(0, len(vectors), BATCH):
        yield [
            VectorRecord(f"record-{n:06}", vector, f"text {n}", {"source": f"{n % 50}.md", "section": n % 20})
            for n, vector in enumerate(vectors[at : at + BATCH].tolist(), at)
        ]


def timed(work: Callable[[], object]) -> float:
    """Return how long `work` takes, in seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def warm_up(search: Search, queries: Sequence[Sequence[float]]) -> None:
    """Search for each of `queries`, as far as the time allows."""
    ends = time.monotonic() + OTHERS_S
    for query in queries:
        if time.monotonic() > ends:
            break
        search(query)


def searched(search: Search, queries: Sequence[Sequence[float]]) -> tuple[float, list[list[str]]]:
    """Return the median time of a search in milliseconds, and what was found."""
    times, found = [], []
    for query in queries:
        began = time.perf_counter()
        found.append(search(query))
        times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1000, found


def recall(found: Sequence[Sequence[str]], expected: Sequence[set[str]]) -> float:
    """Return the share of the nearest vectors that was found."""
    hits = sum(len(wanted.intersection(one)) for one, wanted in zip(found, expected, strict=True))
    return hits / (K * len(expected))


PROVIDERS = (
    Provider("filesystem", vector_engines.filesystem, vector_engines.bare_filesystem),
    Provider("qdrant", vector_engines.qdrant, vector_engines.bare_qdrant),
    Provider("redis", vector_engines.redis, vector_engines.bare_redis),
    *(
        [Provider("redis with a search module", vector_engines.redis_search, vector_engines.bare_redis_search)]
        if HAS_MODULE
        else []
    ),
    Provider("pgvector", vector_engines.pgvector, vector_engines.bare_pgvector),
)
