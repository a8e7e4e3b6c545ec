"""The real backends that drivers are tested against; each is started when a test first asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compozy.testing.postgres import PostgresServer
from compozy.testing.servers import RedisServer, TemporalServer

from .suite import started
from .tls import Authority, make_authority

__all__ = ["started"]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def temporal_server() -> Iterator[TemporalServer]:
    with TemporalServer() as server:
        yield server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))
