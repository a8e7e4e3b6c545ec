"""Vector stores and their bare libraries, as engines of one kind that `vectors` measures."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tests.support.search_module_server import SearchModuleServer

from compozy.drivers.protocol import LoopThread, StartContext
from compozy.vector.vector_store import VectorRecord, VectorStore

DIMENSION, K = 256, 10
_START_S = 600.0
_BUILD_MEMORY = "256MB"  # an index of 100,000 vectors does not fit into the default, which makes its build slow


@dataclass(frozen=True)
class Engine:
    """The store of a provider, or its library without Compozy; `finish` completes the index."""

    write: Callable[[Sequence[VectorRecord]], object]
    finish: Callable[[], object]
    search: Callable[[Sequence[float]], list[str]]


Opened = Callable[[str], AbstractContextManager[Engine]]


def prepared(store: VectorStore) -> VectorStore:
    """Return the store with its collection, empty."""
    store.upsert([VectorRecord("first", [1.0] * DIMENSION)])
    store.delete(["first"])
    return store


def ids_of(store: VectorStore, query: Sequence[float]) -> list[str]:
    """Return the ids of the records that a search finds."""
    return [match.id for match in store.search(query, K)]


def engine_of(store: VectorStore) -> Engine:
    """Return a store as what is measured."""

    def finish() -> None:
        while getattr(store, "building", lambda: False)():
            time.sleep(0.2)

    return Engine(prepared(store).upsert, finish, partial(ids_of, store))


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
def filesystem(folder: str) -> Iterator[Engine]:
    """Yield the store in a file."""
    from compozy.drivers.vector_filesystem import FilesystemVectorDriver

    with started(FilesystemVectorDriver(name="bench", path=folder)) as store:
        yield engine_of(store)


@contextmanager
def bare_filesystem(folder: str) -> Iterator[Engine]:
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
        yield Engine(write, list, search)


@contextmanager
def qdrant(folder: str) -> Iterator[Engine]:
    """Yield the store of Qdrant's engine."""
    from compozy.drivers.vector_qdrant_embedded import QdrantEmbeddedDriver

    with started(QdrantEmbeddedDriver(name="bench", path=folder)) as store:
        yield engine_of(store)


@contextmanager
def bare_qdrant(folder: str) -> Iterator[Engine]:
    """Yield a shard, indexed as the store's is: above 20,000 vectors."""
    import qdrant_edge as edge

    from compozy.drivers.qdrant_shard import INDEXED

    shard = edge.EdgeShard.create(
        folder, edge.EdgeConfig(vectors=edge.EdgeVectorParams(size=DIMENSION, distance=edge.Distance.Cosine))
    )

    for name, kind in (("source", edge.PayloadSchemaType.Keyword), ("section", edge.PayloadSchemaType.Integer)):
        shard.update(edge.UpdateOperation.create_field_index(f"metadata.{name}", kind))

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

    yield Engine(write, lambda: shard.info().points_count >= INDEXED and shard.optimize(), search)
    shard.close()


@contextmanager
def redis(folder: str) -> Iterator[Engine]:
    """Yield the store in the embedded Valkey."""
    from compozy.drivers.redis_embedded import ValkeyDriver
    from compozy.drivers.vector_redis import RedisVectorDriver

    server = ValkeyDriver(persistence=False, data_dir=folder)
    with started(server), started(RedisVectorDriver(name="bench"), redis=server) as store:
        yield engine_of(store)


@contextmanager
def bare_redis(folder: str) -> Iterator[Engine]:
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

        yield Engine(write, list, search)


@contextmanager
def redis_search(folder: str) -> Iterator[Engine]:
    """Yield the store in the index of a search module."""
    from compozy.drivers.vector_redis import RedisVectorDriver

    with SearchModuleServer() as server, started(RedisVectorDriver(name="bench", url=server.url)) as store:
        yield engine_of(store)


@contextmanager
def bare_redis_search(folder: str) -> Iterator[Engine]:
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

        yield Engine(write, list, search)


@contextmanager
def _database() -> Iterator[str]:
    import psycopg2

    from compozy.testing.postgres_server import PostgresServer

    with PostgresServer() as server, server.database() as url:
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(f"ALTER ROLE current_user SET maintenance_work_mem = '{_BUILD_MEMORY}'")
        yield url


@contextmanager
def pgvector(folder: str) -> Iterator[Engine]:
    """Yield the store in a PostgreSQL server: written without an index, started again with one, and searched."""
    from compozy.drivers.vector_pgvector import PgvectorDriver

    with _database() as url, ExitStack() as opened:
        indexed = PgvectorDriver(name="bench", url=url)

        with started(PgvectorDriver(name="bench", url=url, index_type="none")) as store:
            yield Engine(
                prepared(store).upsert, lambda: opened.enter_context(started(indexed)),
                lambda query: ids_of(indexed.handle or store, query),
            )  # fmt: skip


@contextmanager
def bare_pgvector(folder: str) -> Iterator[Engine]:
    """Yield a table of psycopg2, indexed as the store's is."""
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

        def write(records: Sequence[VectorRecord]) -> None:
            rows = ((one.id, one.text, json.dumps(one.metadata), str(one.vector)) for one in records)
            cursor.execute(
                f"INSERT INTO v VALUES {', '.join(['(%s, %s, %s, %s)'] * len(records))} ON CONFLICT (id) DO UPDATE SET"
                " text = excluded.text, metadata = excluded.metadata, e = excluded.e",
                [value for row in rows for value in row],
            )

        def finish() -> None:
            cursor.execute("SELECT count(*) FROM v")
            if (cursor.fetchone() or (0,))[0] >= INDEXED_ROWS:
                cursor.execute("CREATE INDEX ON v USING hnsw (e vector_cosine_ops)")

        def search(query: Sequence[float]) -> list[str]:
            cursor.execute("SELECT id, text, metadata FROM v ORDER BY e <=> %s LIMIT %s", (str(query), K))
            return [row[0] for row in cursor.fetchall()]

        yield Engine(write, finish, search)
