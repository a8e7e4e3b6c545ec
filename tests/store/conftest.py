"""Databases that the store must behave the same on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import peewee
import pytest

from compozy.drivers.driver import LoopThread, StartContext
from compozy.drivers.sqlite import SqliteDriver
from compozy.store import Store

KINDS = ("sqlite-memory", "sqlite-file")
Opener = Callable[[str], peewee.Database]


@pytest.fixture(scope="session")
def context() -> Iterator[StartContext]:
    """Return what a driver is started with."""
    loop = LoopThread()
    yield StartContext(loop, lambda line: None, float("inf"))
    loop.close()


@pytest.fixture
def opened(tmp_path: Path, context: StartContext) -> Iterator[Opener]:
    """Return a function that opens a new, empty database of a kind; closed at the end."""
    with ExitStack() as stack:

        def open_database(kind: str) -> peewee.Database:
            path = ":memory:" if kind == "sqlite-memory" else str(tmp_path / "data" / "compozy.db")
            driver = SqliteDriver(path)
            driver.start(context)
            stack.callback(driver.stop, 0)
            database: peewee.Database = driver.handle
            return database

        yield open_database


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
