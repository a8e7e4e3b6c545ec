"""Vector stores: ingestion, latency and recall of each provider, beside its bare library in the same run.

Vectors of 256 numbers lie around random centres, as those of texts do; records are written in batches of 500 and
searched for the 10 nearest. Recall is measured against exact search. The collection exists before writes are measured,
whose time lasts until the index is complete. No package has a Qdrant server: the provider `qdrant` is the engine in the
process.

A bare library does the work that the protocol requires, with the same durability and batches, and without checks:

- It writes records under text ids, so that a second write replaces the first, with their texts and their metadata as
  JSON, and returns all three. Qdrant takes only numbers and UUIDs for ids, so a UUID is derived from the text.
- It has an index of metadata where the engine has one, which filters need. SQLite and packed blocks have none.
- Above 20,000 vectors Qdrant has an HNSW index, and pgvector from 10,000; fewer are searched exactly, as is everything
  in SQLite and Redis. The index of pgvector is built at once with the 10,000th row, and that of Qdrant after the last
  write; the store builds the latter in the background, in a process of low priority, while it is written and searched.
"""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
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
COMPARISONS = 3_000_000  # of all queries: an exact search of 100,000 vectors takes most of a second in Redis
_START_S = 60.0

Vectors = npt.NDArray[np.float32]
Search = Callable[[Sequence[float]], list[str]]


@dataclass(frozen=True)
class Bare:
    """A provider's library without Compozy; `finish` completes its index."""

    write: Callable[[Sequence[VectorRecord]], object]
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
        queries = queries[: COMPARISONS // size]
        expected = [nearest(vectors, query) for query in queries]
        for provider in PROVIDERS:
            rows += measured(provider, vectors, queries.tolist(), expected)
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
    provider: Provider, vectors: Vectors, queries: Sequence[Sequence[float]], expected: Sequence[set[str]]
) -> Iterator[Measurement]:
    """Yield what one provider does with one number of vectors."""
    size = len(vectors)
    about = f"{provider.name}, {size:,} vectors"
    with tempfile.TemporaryDirectory() as folder, provider.opened(folder) as store:
        store.upsert(next(batches(vectors))[:1])
        wrote_s = sum(timed(partial(store.upsert, records)) for records in batches(vectors))
        wrote_s += timed(partial(settle, store))
        ours_ms, found = searched(lambda query: [match.id for match in store.search(query, K)], queries)
    with tempfile.TemporaryDirectory() as folder, provider.bare(folder) as bare:
        bare_wrote_s = sum(timed(partial(bare.write, records)) for records in batches(vectors))
        bare_wrote_s += timed(bare.finish)
        bare_ms, bare_found = searched(bare.search, queries)
    yield Measurement(f"{about}: write 1,000", wrote_s / size * 1e6, "ms", "bare library", bare_wrote_s / size * 1e6)
    yield Measurement(f"{about}: search", ours_ms, "ms", "bare library", bare_ms)
    yield Measurement(f"{about}: recall", recall(found, expected), "of 1", "bare library", recall(bare_found, expected))


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
    connection.execute("CREATE TABLE ids (rowid INTEGER PRIMARY KEY, id TEXT UNIQUE, text TEXT, metadata TEXT)")
    connection.execute(f"CREATE VIRTUAL TABLE v USING vec0(e float[{DIMENSION}] distance_metric=cosine)")
    upsert = (
        "INSERT INTO ids (id, text, metadata) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " text = excluded.text, metadata = excluded.metadata RETURNING rowid"
    )

    def write(records: Sequence[VectorRecord]) -> None:
        with connection:
            for one in records:
                row = connection.execute(upsert, (one.id, one.text, json.dumps(one.metadata))).get
                connection.execute("DELETE FROM v WHERE rowid = ?", (row,))
                packed = sqlite_vec.serialize_float32(list(one.vector))
                connection.execute("INSERT INTO v (rowid, e) VALUES (?, ?)", (row, packed))

    def search(query: Sequence[float]) -> list[str]:
        text = (
            "SELECT id, text, metadata FROM v JOIN ids ON ids.rowid = v.rowid WHERE e MATCH ? AND k = ?"
            " ORDER BY distance"
        )
        found = connection.execute(text, (sqlite_vec.serialize_float32(list(query)), K))
        return [id_ for id_, _, metadata in found if json.loads(metadata)]

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

    for name in ("source", "section"):
        shard.update(edge.UpdateOperation.create_field_index(f"metadata.{name}", edge.PayloadSchemaType.Keyword))

    def write(records: Sequence[VectorRecord]) -> None:
        points = [
            edge.Point(
                str(uuid.uuid5(uuid.NAMESPACE_OID, one.id)), list(one.vector),
                {"id": one.id, "text": one.text, "metadata": dict(one.metadata)},
            )
            for one in records
        ]  # fmt: skip
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

        def write(records: Sequence[VectorRecord]) -> None:
            ids = [one.id for one in records]
            assert not any(client.hmget("place", ids))  # else it would replace vectors at their places
            keys.append(f"block-{len(keys)}")
            with client.pipeline() as pipe:
                pipe.set(keys[-1], np.array([one.vector for one in records], dtype=np.float32).tobytes())
                pipe.hset("place", mapping={id_: f"{keys[-1]} {at}" for at, id_ in enumerate(ids)})
                pipe.hset("text", mapping={one.id: one.text for one in records})
                pipe.hset("metadata", mapping={one.id: json.dumps(one.metadata) for one in records})
                pipe.execute()

        def search(query: Sequence[float]) -> list[str]:
            blocks = np.frombuffer(b"".join(client.mget(keys)), dtype=np.float32).reshape(-1, DIMENSION)
            places = np.argsort(-(blocks @ np.array(query, dtype=np.float32)))[:K]
            found = [f"record-{number:06}" for number in places]
            _, metadata = client.pipeline().hmget("text", found).hmget("metadata", found).execute()
            return [id_ for id_, one in zip(found, metadata, strict=True) if json.loads(one)]

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
    from redis.commands.search.field import TagField, VectorField
    from redis.commands.search.index_definition import IndexDefinition
    from redis.commands.search.query import Query

    with SearchModuleServer() as server, Redis.from_url(server.url) as client:
        index = client.ft("bench")
        field = VectorField("v", "FLAT", {"TYPE": "FLOAT32", "DIM": DIMENSION, "DISTANCE_METRIC": "COSINE"})
        index.create_index([field, TagField("facts")], definition=IndexDefinition(prefix=["record-"]))
        query = Query(f"*=>[KNN {K} @v $query AS d]").return_fields("d", "text", "metadata").paging(0, K).dialect(2)

        def write(records: Sequence[VectorRecord]) -> None:
            with client.pipeline() as pipe:
                for one in records:
                    packed = np.array(one.vector, dtype=np.float32).tobytes()
                    facts = ",".join(f"{name}={value}" for name, value in one.metadata.items())
                    metadata = json.dumps(one.metadata)
                    pipe.hset(one.id, mapping={"v": packed, "text": one.text, "metadata": metadata, "facts": facts})
                pipe.execute()

        def search(vector: Sequence[float]) -> list[str]:
            found = index.search(query, {"query": np.array(vector, dtype=np.float32).tobytes()})
            return [document.id for document in found.docs if json.loads(document.metadata)]

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
        cursor.execute(f"CREATE TABLE v (id text PRIMARY KEY, text text, metadata jsonb, e vector({DIMENSION}))")
        cursor.execute("CREATE INDEX ON v USING gin (metadata jsonb_path_ops)")
        cursor.execute("SET hnsw.ef_search = 100")
        written = 0

        def write(records: Sequence[VectorRecord]) -> None:
            nonlocal written
            rows = ((one.id, one.text, json.dumps(one.metadata), str(one.vector)) for one in records)
            cursor.execute(
                f"INSERT INTO v VALUES {', '.join(['(%s, %s, %s, %s)'] * len(records))} ON CONFLICT (id) DO UPDATE SET"
                " text = excluded.text, metadata = excluded.metadata, e = excluded.e",
                [value for row in rows for value in row],
            )
            before, written = written, written + len(records)
            if before < INDEXED_ROWS <= written:
                cursor.execute("CREATE INDEX ON v USING hnsw (e vector_cosine_ops)")

        def search(query: Sequence[float]) -> list[str]:
            cursor.execute("SELECT id, text, metadata FROM v ORDER BY e <=> %s LIMIT %s", (str(query), K))
            return [row[0] for row in cursor.fetchall()]

        yield Bare(write, list, search)


PROVIDERS = (
    Provider("filesystem", filesystem, bare_filesystem),
    Provider("qdrant", qdrant, bare_qdrant),
    Provider("redis", redis, bare_redis),
    *([Provider("redis with a search module", redis_search, bare_redis_search)] if HAS_MODULE else []),
    Provider("pgvector", pgvector, bare_pgvector),
)
