"""The real servers that tests run against; each is started when a test of the process first asks for it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from compozy.testing.postgres_server import PostgresServer
from compozy.testing.servers import RedisServer, TemporalServer
from compozy.testing.testbed import DB_URL, Testbed


def pytest_configure() -> None:
    gc.disable()  # while tests are collected, nearly everything that is made lives to the end


def pytest_collection_finish() -> None:
    """Leave what the collection of tests made out of every later garbage collection, which tests ask for often."""
    gc.enable()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    """Start servers of our own, independent of the environment, because tests stop and kill them."""
    with pytest.MonkeyPatch.context() as environment, Testbed() as servers:
        environment.delenv(DB_URL, raising=False)
        yield servers


@pytest.fixture(scope="session")
def postgres_server(testbed: Testbed) -> PostgresServer:
    server = testbed.databases
    assert isinstance(server, PostgresServer)
    return server


@pytest.fixture(scope="session")
def redis_server(testbed: Testbed) -> RedisServer:
    return testbed.redis


@pytest.fixture(scope="session")
def temporal_server(testbed: Testbed) -> TemporalServer:
    return testbed.temporal


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Return a backup of a project in which every component holds "saved"."""
    from tests.kept_data import saved

    return saved(tmp_path)
