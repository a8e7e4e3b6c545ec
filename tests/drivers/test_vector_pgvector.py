"""The vector store in PostgreSQL with pgvector."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from compozy.drivers.pgvector_table import PgvectorTable
from compozy.drivers.ports import free_port
from compozy.drivers.vector_pgvector import PgvectorDriver
from compozy.errors import DriverError
from compozy.testing.postgres_server import PostgresServer
from compozy.vector.vector_store import VectorRecord

from .starting import Starting

DIMENSION = 8
Opened = Callable[..., PgvectorTable]


@pytest.fixture(autouse=True)
def indexed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the index already for few rows."""
    monkeypatch.setattr("compozy.drivers.pgvector_table.INDEXED_ROWS", 500)


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def url(database: str) -> str:
    """Return the URL of an empty database."""
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return database


@pytest.fixture
def opened(url: str, started: Starting) -> Iterator[Opened]:
    drivers = []

    def start(**options: Any) -> PgvectorTable:
        driver = PgvectorDriver(**{"name": "docs", "url": url, **options})
        drivers.append(driver)
        driver.start(started.context())
        driver.ping()
        assert driver.handle is not None
        return driver.handle

    yield start
    for driver in drivers:
        driver.stop(0)


def records(count: int) -> list[VectorRecord]:
    chance = random.Random(1)
    vectors = [[chance.gauss(0, 1) for _ in range(DIMENSION)] for _ in range(count)]
    return [VectorRecord(f"r{n:05}", vector, f"text {n}", {"n": n % 7}) for n, vector in enumerate(vectors)]


def cosine(left: VectorRecord, right: VectorRecord) -> float:
    dot = sum(a * b for a, b in zip(left.vector, right.vector, strict=True))
    return dot / math.hypot(*left.vector) / math.hypot(*right.vector)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="hnsw"),
        pytest.param({"metric": "l2", "m": 8, "ef_construction": 32}, id="l2"),
        pytest.param({"metric": "ip"}, id="ip"),
        pytest.param({"index_type": "ivfflat", "lists": 10, "probes": 10}, id="ivfflat"),
        pytest.param({"index_type": "none"}, id="exact"),
    ],
)
def test_search_agrees_with_exact_search(options: dict[str, Any], opened: Opened) -> None:
    store, found = opened(**options), records(600)
    store.upsert(found)
    expected = sorted(found, key=lambda one: -cosine(found[3], one))[:10]
    matches = store.search(found[3].vector, 10)
    assert [match.id for match in matches] == [one.id for one in expected]
    assert [match.score for match in matches] == pytest.approx([cosine(found[3], one) for one in expected], abs=1e-6)


@pytest.mark.parametrize(
    ("options", "definition"),
    [
        pytest.param({"m": 8}, "USING hnsw (embedding vector_cosine_ops) WITH (m='8')", id="hnsw"),
        pytest.param({"index_type": "ivfflat", "lists": 5}, "ivfflat (embedding vector_cosine_ops) WITH (lists='5')",
                     id="ivfflat"),
        pytest.param({"metric": "l2"}, "USING hnsw (embedding vector_l2_ops)", id="metric"),
        pytest.param({"index_type": "none"}, "", id="unchanged"),
    ],
)  # fmt: skip
def test_index_follows_the_configuration(options: dict[str, Any], definition: str, url: str, opened: Opened) -> None:
    """Also that of a table that has another index."""
    opened(dimension=DIMENSION).upsert(records(500))
    opened(**options)
    assert definition in indexes(url)


def indexes(url: str) -> str:
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(indexdef, ';') FROM pg_indexes WHERE tablename = 'docs'")
        return str(cursor.fetchone())


@pytest.mark.parametrize("dimension", [2001, 4001])
def test_dimension_beyond_the_index_limit_is_searched_without_index(dimension: int, opened: Opened) -> None:
    store = opened()
    rows = [VectorRecord(str(n), [1.0] * n + [0.0] * (dimension - n)) for n in (1, dimension)]
    store.upsert(rows)
    assert [(match.id, match.score) for match in store.search(rows[1].vector)] == [
        (str(dimension), 1.0), ("1", pytest.approx(dimension**-0.5, abs=1e-6))
    ]  # fmt: skip


def test_selective_filter_finds_the_remaining_rows(opened: Opened) -> None:
    """Without the iterative scan an index would return none of them."""
    store, found = opened(ef_search=10), records(1000)
    store.upsert([*found, VectorRecord("far", [-n for n in found[0].vector], "", {"rare": True})])
    assert [match.id for match in store.search(found[0].vector, 5, {"rare": True})] == ["far"]


@pytest.mark.parametrize("value", [1e300, 2**63 - 1, 0.1, -(2**63), 1.0, None, [1, {"a": True}]], ids=str)
def test_metadata_is_read_as_it_was_written(value: object, opened: Opened) -> None:
    """Numbers of jsonb have no exponent."""
    store = opened()
    store.upsert([VectorRecord("a", [1.0], "", {"key": value})])
    found = next(iter(store.export())).metadata["key"]
    assert (found, type(found)) == (value, type(value))


def test_filter_with_characters_invalid_in_postgresql_matches_nothing(opened: Opened) -> None:
    store = opened()
    store.upsert([VectorRecord("a", [1.0], "", {"key": "x"})])
    assert [store.count(where) for where in ({"\0": 1}, {"key": "\0"}, {"key": "\ud800"}, {"key": math.nan})] == [0] * 4
    assert store.delete(ids=["\0", "\ud800"]) == 0


@pytest.mark.parametrize("table", ['a"b', "100%s", "drop table x; --", "public.docs", "ümläut", "SELECT"])
def test_name_of_the_table_is_quoted(table: str, opened: Opened) -> None:
    store = opened(collection=table)
    store.upsert(records(2))
    assert store.count() == 2


@pytest.mark.parametrize("table", ["a.b.c", "x" * 64, "a\nb", "."])
def test_name_invalid_in_postgresql_is_refused(table: str, opened: Opened) -> None:
    with pytest.raises(DriverError, match="cannot be the name of a table"):
        opened(collection=table)


def test_another_dimension_and_table_of_another_program_are_refused(url: str, opened: Opened) -> None:
    opened(dimension=3)
    with pytest.raises(DriverError, match="has the dimension 3, and the configuration 4"):
        opened(dimension=4)
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE theirs (id int)")
    with pytest.raises(DriverError, match="not one of vectors of Compozy"):
        opened(collection="theirs")


def test_user_without_permission_for_the_extension_gets_the_statement_for_the_superuser(
    url: str, postgres_server: PostgresServer, opened: Opened, started: Starting
) -> None:
    name = url.rpartition("/")[2]
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN PASSWORD 'r'")
        cursor.execute("GRANT CREATE ON SCHEMA public TO reader")
    own: dict[str, Any] = {"url": f"postgresql://reader:r@{postgres_server.address}/{name}"}
    statement = f"run as superuser in database {name}: CREATE EXTENSION IF NOT EXISTS vector;"
    with pytest.raises(DriverError, match="may not create it") as caught:
        opened(**own)
    assert caught.value.hint == statement
    checks = {check.id: check for check in PgvectorDriver(name="docs", **own).preflight(started.context())}
    assert (checks["reach"].status, checks["pgvector"].status, checks["pgvector"].fix) == ("pass", "fail", statement)
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement.partition(": ")[2])
    assert opened(**own).count() == 0
    checks = {check.id: check for check in PgvectorDriver(name="docs", **own).preflight(started.context())}
    assert checks["pgvector"].status == "pass"


def test_unreachable_server_is_named_with_the_settings_of_the_store(opened: Opened) -> None:
    port = free_port()
    with pytest.raises(DriverError, match=f"127.0.0.1:{port}") as caught:
        opened(url=None, host="127.0.0.1", port=port)
    assert "knowledge.vector_dbs[].host" in str(caught.value.hint)
