"""The real servers that tests run against; each is started when a test of the process first asks for it."""

from __future__ import annotations

import gc
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from compozy.testing.postgres_server import PostgresServer
from compozy.testing.servers import RedisServer, TemporalServer
from compozy.testing.testbed import DB_URL, Testbed

MODES = ("memory", "persistent", "distributed")
SELECTED = os.environ.get("COMPOZY_TEST_MODE")
# Fixtures that need servers beside Compozy or a project that was saved, and those that start what a parameter names.
SERVERS = {"postgres_server", "redis_server", "temporal_server", "own_server", "own_services"}
SAVED = {"archive"}
STARTING = {"testbed", "database_for_mode", "shell", "migrate", "opened"}
OUTSIDE = re.compile("distributed|postgres|remote|mixed")


def needed_mode(fixtures: set[str], parameters: str) -> str:
    """Return the mode of a test without a marker: what its fixtures and the id of its parameters make it start."""
    starts = bool(fixtures & STARTING)
    if fixtures & SERVERS or (starts and OUTSIDE.search(parameters)):
        return "distributed"
    return "persistent" if fixtures & SAVED or (starts and "persistent" in parameters) else "memory"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each test the marker of its mode, and select those of `COMPOZY_TEST_MODE`."""
    if SELECTED not in (None, "", *MODES):
        raise pytest.UsageError(f"COMPOZY_TEST_MODE is {SELECTED}; it must be one of {', '.join(MODES)}")
    others = []
    for item in items:
        if not any(mark.name in MODES for mark in item.iter_markers()):
            item.add_marker(needed_mode(set(getattr(item, "fixturenames", ())), item.name.partition("[")[2]))
        if SELECTED and item.get_closest_marker(SELECTED) is None:
            others.append(item)
    if others:
        items[:] = [item for item in items if item not in set(others)]
        config.hook.pytest_deselected(items=others)


def pytest_configure() -> None:
    gc.disable()  # while tests are collected, nearly everything that is made lives to the end


def pytest_collection_finish() -> None:
    """Leave what the collection of tests made out of every later garbage collection, which tests ask for often."""
    gc.enable()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """Restore the level of our loggers, which a command that runs in this process sets."""
    logger = logging.getLogger("compozy")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    """Start servers of our own, independent of the environment, because tests stop and kill them."""
    with pytest.MonkeyPatch.context() as environment, Testbed() as servers:
        environment.delenv(DB_URL, raising=False)
        yield servers


@pytest.fixture(scope="session")
def postgres_server(testbed: Testbed) -> PostgresServer:
    assert SELECTED in (None, "", "distributed"), "a test that needs PostgreSQL lacks the marker `distributed`"
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
    from tests.support.kept_data import saved

    return saved(tmp_path)
