"""Databases that the store must behave the same on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import peewee
import pytest
from playhouse.pool import PooledPostgresqlDatabase

from compozy.drivers.protocol import LoopThread, StartContext
from compozy.drivers.sqlite import SqliteDriver
from compozy.store import Store
from compozy.testing.postgres_server import PostgresServer

KINDS = ("sqlite-memory", "sqlite-file", "postgres")
POOL: Any = PooledPostgresqlDatabase
Opener = Callable[[str], peewee.Database]


@pytest.fixture(scope="session")
def context() -> Iterator[StartContext]:
    """Return what a driver is started with."""
    loop = LoopThread()
    yield StartContext(loop, lambda line: None, float("inf"))
    loop.close()


@pytest.fixture
def opened(tmp_path: Path, context: StartContext, request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Return a function that opens a new, empty database of a kind; closed at the end."""
    with ExitStack() as stack:

        def open_database(kind: str) -> peewee.Database:
            if kind == "postgres":
                running: PostgresServer = request.getfixturevalue("postgres_server")
                return stack.enter_context(postgres(stack.enter_context(running.database())))
            path = ":memory:" if kind == "sqlite-memory" else str(tmp_path / "data" / "compozy.db")
            driver = SqliteDriver(path)
            driver.start(context)
            stack.callback(driver.stop, 0)
            database: peewee.Database = driver.handle
            return database

        yield open_database


@contextmanager
def postgres(url: str) -> Iterator[peewee.Database]:
    """Open a pool of connections to a database of PostgreSQL."""
    pool = POOL(url, max_connections=20, timeout=10)
    try:
        yield pool
    finally:
        pool.close_all()


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, opened: Opener) -> peewee.Database:
    """Return an empty database of each kind in turn."""
    return opened(request.param)


@pytest.fixture
def store(database: peewee.Database) -> Store:
    """Return a store with its tables."""
    made = Store(database)
    made.migrate()
    return made
