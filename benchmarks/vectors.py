"""Vector stores: ingestion, latency and recall of each provider, beside its bare library in the same run.

Vectors of 256 numbers lie around random centres, as those of texts do; records are written in batches of 500 and
searched for the 10 nearest. A bare library writes and returns the same ids and texts. Recall is measured against exact
search. No package has a Qdrant server: the provider `qdrant` is the engine in the process. The collection exists before
writes are measured, and an index is complete before searches are.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tests.support.search_module_server import HAS_MODULE, SearchModuleServer

from benchmarks.measurement import Measurement
from compozy.drivers.protocol import LoopThread, StartContext
from compozy.vector.vector_store import VectorRecord, VectorStore

DIMENSION, K, BATCH, QUERIES = 256, 10, 500, 100
CENTRES, SPREAD = 200, 0.7
SIZES, SHORT_SIZES = (1_000, 10_000, 100_000), (1_000,)
REDIS_LARGEST = 10_000  # an exact search of more takes most of a second
_START_S = 60.0

Vectors = npt.NDArray[np.float32]
Search = Callable[[Sequence[float]], list[str]]


@dataclass(frozen=True)
class Bare:
    """A provider's library without Compozy; `finish` completes its index."""

    write: Callable[[Sequence[str], Sequence[Sequence[float]]], object]
    finish: Callable[[], object]
    search: Search


@dataclass(frozen=True)
class Provider:
    """A provider: `opened` yields its store and `bare` its library, each empty and on a server of its own if any."""

    name: str
    opened: Callable[[str], Any]
    bare: Callable[[str], Any]


def run(short: bool) -> list[Measurement]:
    """Measure each provider with each number of vectors."""
    rows: list[Measurement] = []
    for size in SHORT_SIZES if short else SIZES:
        vectors, queries = data(size)
        ids = [f"record-{number:06}" for number in range(size)]
        expected = [nearest(vectors, query) for query in queries]
        for provider in PROVIDERS:
            if provider.name != "redis" or size <= REDIS_LARGEST:
                rows += measured(provider, ids, vectors.tolist(), queries.tolist(), expected)
    return rows


def data(size: int) -> tuple[Vectors, Vectors]:
    """Return vectors of length 1, and queries from the same distribution."""
    random = np.random.default_rng(1)
    centres = random.normal(size=(CENTRES, DIMENSION))
    points = centres[random.integers(CENTRES, size=size + QUERIES)]
    points = points + SPREAD * random.normal(size=points.shape)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points[:size].astype(np.float32), points[size:].astype(np.float32)


def nearest(vectors: Vectors, query: Vectors) -> set[str]:
    """Return the ids of the nearest vectors by comparison with each."""
    return {f"record-{number:06}" for number in np.argsort(-(vectors @ query))[:K]}


def measured(
    provider: Provider, ids: Sequence[str], vectors: Sequence[Sequence[float]], queries: Sequence[Sequence[float]],
    expected: Sequence[set[str]],
) -> Iterator[Measurement]:  # fmt: skip
    """Yield what one provider does with one number of vectors."""
    about = f"{provider.name}, {len(ids):,} vectors"
    with tempfile.TemporaryDirectory() as folder, provider.opened(folder) as store:
        records = [VectorRecord(key, vector, f"text of {key}") for key, vector in zip(ids, vectors, strict=True)]
        store.upsert(records[:1])
        wrote_s = timed(lambda: [store.upsert(records[at : at + BATCH]) for at in range(0, len(ids), BATCH)])
        settle(store)
        ours_ms, found = searched(lambda query: [match.id for match in store.search(query, K)], queries)
    with tempfile.TemporaryDirectory() as folder, provider.bare(folder) as bare:
        bare_wrote_s = timed(
            lambda: [bare.write(ids[at : at + BATCH], vectors[at : at + BATCH]) for at in range(0, len(ids), BATCH)]
        )
        bare.finish()
        bare_ms, bare_found = searched(bare.search, queries)
    yield Measurement(
        f"{about}: write 1,000", wrote_s / len(ids) * 1e6, "ms", "bare library", bare_wrote_s / len(ids) * 1e6
    )
    yield Measurement(f"{about}: search", ours_ms, "ms", "bare library", bare_ms)
    yield Measurement(f"{about}: recall", recall(found, expected), "of 1", "bare library", recall(bare_found, expected))


def timed(work: Callable[[], object]) -> float:
    """Return how long `work` takes, in seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def searched(search: Search, queries: Sequence[Sequence[float]]) -> tuple[float, list[list[str]]]:
    """Return the median time of a search in milliseconds, and what was found."""
    search(queries[0])
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


def settle(store: VectorStore) -> None:
    """Wait until no index is being built."""
    while getattr(store, "building", lambda: False)():
        time.sleep(0.2)


@contextmanager
def started(driver: Any, **needed: Any) -> Iterator[VectorStore]:
    """Yield the store of a driver."""
    with closing(LoopThread()) as loop:
        context = StartContext(loop, print, time.monotonic() + _START_S, needed=needed)
        driver.start(context)
        try:
            yield driver.handle
        finally:
            driver.stop(0)


@contextmanager
def filesystem(folder: str) -> Iterator[VectorStore]:
    """Yield the store in a file."""
    from compozy.drivers.vector_filesystem import FilesystemVectorDriver

    with started(FilesystemVectorDriver(name="bench", path=folder)) as store:
        yield store


@contextmanager
def bare_filesystem(folder: str) -> Iterator[Bare]:
    """Yield sqlite-vec in apsw."""
    import apsw
    import sqlite_vec

    connection = apsw.Connection(str(Path(folder, "bare.db")))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.execute("PRAGMA journal_mode = wal; PRAGMA synchronous = normal")
    connection.execute("CREATE TABLE ids (rowid INTEGER PRIMARY KEY, id TEXT UNIQUE, text TEXT)")
    connection.execute(f"CREATE VIRTUAL TABLE v USING vec0(e float[{DIMENSION}] distance_metric=cosine)")

    def write(ids: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
        with connection:
            for key, vector in zip(ids, vectors, strict=True):
                connection.execute("INSERT INTO ids (id, text) VALUES (?, ?)", (key, f"text of {key}"))
                row = (connection.last_insert_rowid(), sqlite_vec.serialize_float32(list(vector)))
                connection.execute("INSERT INTO v (rowid, e) VALUES (?, ?)", row)

    def search(query: Sequence[float]) -> list[str]:
        text = "SELECT id, text FROM v JOIN ids ON ids.rowid = v.rowid WHERE e MATCH ? AND k = ? ORDER BY distance"
        return [row[0] for row in connection.execute(text, (sqlite_vec.serialize_float32(list(query)), K))]

    with closing(connection):
        yield Bare(write, list, search)


@contextmanager
def qdrant(folder: str) -> Iterator[VectorStore]:
    """Yield the store of Qdrant's engine."""
    from compozy.drivers.vector_qdrant_embedded import QdrantEmbeddedDriver

    with started(QdrantEmbeddedDriver(name="bench", path=folder)) as store:
        yield store


@contextmanager
def bare_qdrant(folder: str) -> Iterator[Bare]:
    """Yield a shard, indexed as the store's is: above 20,000 vectors."""
    import qdrant_edge as edge

    from compozy.drivers.qdrant_shard import INDEXED

    shard = edge.EdgeShard.create(
        folder, edge.EdgeConfig(vectors=edge.EdgeVectorParams(size=DIMENSION, distance=edge.Distance.Cosine))
    )

    def write(ids: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
        points = [
            edge.Point(int(key.rpartition("-")[2]), list(vector), {"id": key, "text": f"text of {key}"})
            for key, vector in zip(ids, vectors, strict=True)
        ]
        shard.update(edge.UpdateOperation.upsert_points(points))

    def search(query: Sequence[float]) -> list[str]:
        wanted = edge.QueryRequest(query=edge.Query.Nearest(list(query)), limit=K, with_payload=True)
        return [str((point.payload or {})["id"]) for point in shard.query(wanted)]

    yield Bare(write, lambda: shard.info().points_count >= INDEXED and shard.optimize(), search)
    shard.close()


@contextmanager
def redis(folder: str) -> Iterator[VectorStore]:
    """Yield the store in the embedded Valkey."""
    from compozy.drivers.redis_embedded import ValkeyDriver
    from compozy.drivers.vector_redis import RedisVectorDriver

    server = ValkeyDriver(persistence=False, data_dir=folder)
    with started(server), started(RedisVectorDriver(name="bench"), redis=server) as store:
        yield store


@contextmanager
def bare_redis(folder: str) -> Iterator[Bare]:
    """Yield blocks of vectors in a Valkey, read with MGET and compared by numpy."""
    from compozy.drivers.redis_embedded import ValkeyDriver

    server = ValkeyDriver(persistence=False, data_dir=folder)
    with started(server):
        client, keys = server.handle, list[str]()

        def write(ids: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
            keys.append(f"block-{ids[0]}")
            with client.pipeline() as pipe:
                pipe.set(keys[-1], np.array(vectors, dtype=np.float32).tobytes())
                pipe.hset("text", mapping={key: f"text of {key}" for key in ids})
                pipe.execute()

        def search(query: Sequence[float]) -> list[str]:
            blocks = np.frombuffer(b"".join(client.mget(keys)), dtype=np.float32).reshape(-1, DIMENSION)
            places = np.argsort(-(blocks @ np.array(query, dtype=np.float32)))[:K]
            found = [f"record-{number:06}" for number in places]
            client.hmget("text", found)
            return found

        yield Bare(write, list, search)


@contextmanager
def redis_search(folder: str) -> Iterator[VectorStore]:
    """Yield the store in the index of a search module."""
    from compozy.drivers.vector_redis import RedisVectorDriver

    with SearchModuleServer() as server, started(RedisVectorDriver(name="bench", url=server.url)) as store:
        yield store


@contextmanager
def bare_redis_search(folder: str) -> Iterator[Bare]:
    """Yield hashes with a FLAT index, which redis-py searches."""
    from redis import Redis
    from redis.commands.search.field import VectorField
    from redis.commands.search.index_definition import IndexDefinition
    from redis.commands.search.query import Query

    with SearchModuleServer() as server, Redis.from_url(server.url) as client:
        index = client.ft("bench")
        field = VectorField("v", "FLAT", {"TYPE": "FLOAT32", "DIM": DIMENSION, "DISTANCE_METRIC": "COSINE"})
        index.create_index([field], definition=IndexDefinition(prefix=["record-"]))
        query = Query(f"*=>[KNN {K} @v $query AS d]").return_fields("d", "text").paging(0, K).dialect(2)

        def write(ids: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
            with client.pipeline() as pipe:
                for key, vector in zip(ids, vectors, strict=True):
                    packed = np.array(vector, dtype=np.float32).tobytes()
                    pipe.hset(key, mapping={"v": packed, "text": f"text of {key}"})
                pipe.execute()

        def search(vector: Sequence[float]) -> list[str]:
            found = index.search(query, {"query": np.array(vector, dtype=np.float32).tobytes()})
            return [document.id for document in found.docs]

        yield Bare(write, list, search)


@contextmanager
def _database() -> Iterator[str]:
    from compozy.testing.postgres_server import PostgresServer

    with PostgresServer() as server, server.database() as url:
        yield url


@contextmanager
def pgvector(folder: str) -> Iterator[VectorStore]:
    """Yield the store in a PostgreSQL server."""
    from compozy.drivers.vector_pgvector import PgvectorDriver

    with _database() as url, started(PgvectorDriver(name="bench", url=url)) as store:
        yield store


@contextmanager
def bare_pgvector(folder: str) -> Iterator[Bare]:
    """Yield a table of psycopg2, indexed as the store's is: at once, with 10,000 rows."""
    import psycopg2

    from compozy.drivers.pgvector_table import INDEXED_ROWS

    with ExitStack() as opened:
        connection = opened.enter_context(closing(psycopg2.connect(opened.enter_context(_database()))))
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("CREATE EXTENSION vector")
        cursor.execute(f"CREATE TABLE v (id text PRIMARY KEY, text text, e vector({DIMENSION}))")
        cursor.execute("SET hnsw.ef_search = 100")
        written = 0

        def write(ids: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
            nonlocal written
            rows = ((key, f"text of {key}", str(vector)) for key, vector in zip(ids, vectors, strict=True))
            values = [value for row in rows for value in row]
            cursor.execute(f"INSERT INTO v VALUES {', '.join(['(%s, %s, %s)'] * len(ids))}", values)
            before, written = written, written + len(ids)
            if before < INDEXED_ROWS <= written:
                cursor.execute("CREATE INDEX ON v USING hnsw (e vector_cosine_ops)")

        def search(query: Sequence[float]) -> list[str]:
            cursor.execute("SELECT id, text FROM v ORDER BY e <=> %s LIMIT %s", (str(query), K))
            return [row[0] for row in cursor.fetchall()]

        yield Bare(write, list, search)


PROVIDERS = (
    Provider("filesystem", filesystem, bare_filesystem),
    Provider("qdrant", qdrant, bare_qdrant),
    Provider("redis", redis, bare_redis),
    *([Provider("redis with a search module", redis_search, bare_redis_search)] if HAS_MODULE else []),
    Provider("pgvector", pgvector, bare_pgvector),
)
