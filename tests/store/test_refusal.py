"""Errors of database libraries: classified by code, for SQLite and PostgreSQL alike."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import peewee
import psycopg2
import pytest
from tests.store.conftest import Opener, postgres

from compozy.store import Execution, Store, UnavailableError
from compozy.testing.postgres_server import PostgresServer

ROW = Execution("e1", "flow", "1.0", "running", {}, "2025-01-01T00:00:00.000000Z")


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.database() as made:
        yield made


def run(url: str, *statements: str) -> None:
    """Run statements as the owner of a database."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(statement)


def limited(url: str) -> str:
    """Return the URL of a user that may connect and nothing else."""
    run(url, "DROP ROLE IF EXISTS limited", "CREATE ROLE limited LOGIN PASSWORD 'limited'")
    scheme, _, rest = url.partition("://")
    return f"{scheme}://limited:limited@{rest.rpartition('@')[2]}"


def refusal(url: str, action: str, *arguments: Any) -> UnavailableError:
    with postgres(url) as database, pytest.raises(UnavailableError) as caught:
        getattr(Store(database), action)(*arguments)
    return caught.value


@pytest.mark.parametrize("action", ["migrate", "rehearse"])
def test_missing_privilege_names_grant(url: str, action: str) -> None:
    """PostgreSQL 15 and later let only the owner create tables in the schema public."""
    error = refusal(limited(url), action)
    assert "the user lacks a privilege" in error.message
    assert "GRANT CREATE" in str(error.hint)


def test_missing_schema_names_search_path(url: str) -> None:
    """A search path that leads nowhere is not a traceback."""
    error = refusal(f"{url}?options=-csearch_path%3Dnowhere", "migrate")
    assert "no schema exists to create tables in" in error.message
    assert "search_path" in str(error.hint)


def test_read_only_server_names_primary(url: str) -> None:
    """A standby after a failover refuses writes."""
    with postgres(url) as database:
        Store(database).migrate()
    error = refusal(f"{url}?options=-cdefault_transaction_read_only%3Don", "record_started", ROW)
    assert "it is read-only" in error.message
    assert "primary" in str(error.hint)
    asked = refusal(f"{url}?options=-cdefault_transaction_read_only%3Don", "require_writable")
    assert (asked.hint, "it is read-only" in asked.message) == (error.hint, True)


@pytest.mark.parametrize("kind", ["sqlite-memory", "postgres"])
def test_missing_tables_name_migrate_command(opened: Opener, kind: str) -> None:
    """An empty database without automatic migration, or tables that were dropped."""
    with pytest.raises(UnavailableError, match="its tables are missing") as caught:
        Store(opened(kind)).executions()
    assert "compozy migrate schema" in str(caught.value.hint)


def test_full_sqlite_database_names_disk(opened: Opener) -> None:
    """The page limit of a database gives the same code as a full disk."""
    database: Any = opened("sqlite-file")
    store = Store(database)
    store.migrate()
    with database.connection_context():
        database.execute_sql("PRAGMA max_page_count = 1")
        with pytest.raises(UnavailableError, match="its disk is full"):
            store.record_started(Execution("e1", "flow", "1.0", "running", {"x": "x" * 100_000}, ROW.started_at))


def test_read_only_sqlite_file_names_permissions(tmp_path: Path) -> None:
    """A file that may be read only."""
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("CREATE TABLE executions (id)")
    database = peewee.SqliteDatabase(f"file:{tmp_path}/x.db?mode=ro", uri=True)
    with pytest.raises(UnavailableError, match="it is read-only"):
        Store(database).migrate()


def test_classification_does_not_depend_on_language(url: str) -> None:
    """The same SQLSTATE with a text in another language has the same meaning."""
    statement = "DO $$ BEGIN RAISE EXCEPTION 'keine Berechtigung' USING ERRCODE = '42501'; END $$"
    with postgres(url) as database:
        execute: Any = database.execute_sql
        with pytest.raises(UnavailableError) as caught:
            Store(database)._run(lambda: execute(statement))
    assert "the user lacks a privilege (keine Berechtigung)" in caught.value.message


@pytest.mark.distributed
def test_mistake_of_ours_stays_a_bug(opened: Opener) -> None:
    """An invalid SQL statement is not reported as an outage."""
    database: Any = opened("postgres")
    with pytest.raises(peewee.ProgrammingError):
        Store(database)._run(lambda: database.execute_sql("SELEKT 1"))
