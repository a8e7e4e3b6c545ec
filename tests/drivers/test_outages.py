"""Distributed mode when its services go away and come back, and when they were never there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import psycopg2
import pytest
import redis
from tests.support.polling import eventually, eventually_healthy

import compozy
from compozy.drivers.ports import free_port
from compozy.errors import ProvisionError
from compozy.provisioning.provision import Runtime
from compozy.settings.keyring import random_key
from compozy.store import Execution, Store, UnavailableError
from compozy.testing.postgres_server import PostgresServer
from compozy.testing.testbed import Testbed

from .suite import PATIENCE_S, far_ends, traces

pytestmark = pytest.mark.distributed

HOST = "127.0.0.1"


class Service(Protocol):
    """A server that tests may kill."""

    def kill(self) -> None: ...
    def start(self) -> None: ...


WRITERS = 4


@pytest.fixture
def runtime(testbed: Testbed, tmp_path: Path) -> Iterator[Runtime]:
    """Distributed mode, provisioned on servers of the tests."""
    with testbed.runtime("distributed", str(tmp_path)) as provisioned:
        yield provisioned


def unhealthy(runtime: Runtime) -> set[str]:
    return {name for name, health in runtime.health().items() if not health.healthy}


@pytest.mark.parametrize(
    ("component", "server"),
    [
        pytest.param("database", lambda testbed: testbed.databases, id="postgres"),
        pytest.param("redis", lambda testbed: testbed.redis, id="redis"),
        pytest.param("temporal", lambda testbed: testbed.temporal, id="temporal"),
    ],
)
def test_health_reports_outage_and_return_of_a_service(
    testbed: Testbed, runtime: Runtime, component: str, server: Callable[[Testbed], Service]
) -> None:
    """Only the unavailable service is unhealthy; after its return no restart is necessary."""
    eventually_healthy(runtime.health)
    service = server(testbed)
    service.kill()
    try:
        eventually(lambda: unhealthy(runtime) == {component}, "the outage")
        assert runtime.health()[component].error
    finally:
        service.start()
    eventually_healthy(runtime.health)


def redis_with(testbed: Testbed, *command: str) -> None:
    """Send one command to the Redis of the tests."""
    with redis.Redis.from_url(testbed.redis.url) as client:
        client.execute_command(*command)


def postgres_with(testbed: Testbed, setting: str) -> None:
    """Set or reset a setting for all sessions of the PostgreSQL of the tests."""
    with closing(psycopg2.connect(testbed.databases.url_of("postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER SYSTEM {setting}")
            cursor.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize(
    ("component", "refuse", "accept", "reason"),
    [
        pytest.param(
            "database",
            lambda testbed: postgres_with(testbed, "SET default_transaction_read_only = on"),
            lambda testbed: postgres_with(testbed, "RESET default_transaction_read_only"),
            "it is read-only",
            id="read-only-postgres",
        ),
        pytest.param(
            "redis",
            lambda testbed: redis_with(testbed, "CONFIG", "SET", "maxmemory", "1"),
            lambda testbed: redis_with(testbed, "CONFIG", "SET", "maxmemory", "0"),
            "memory limit reached; the server rejects writes",
            id="full-redis",
        ),
        pytest.param(
            "redis",
            lambda testbed: redis_with(testbed, "REPLICAOF", HOST, "1"),
            lambda testbed: redis_with(testbed, "REPLICAOF", "NO", "ONE"),
            "it is a read-only replica",
            id="redis-replica",
        ),
    ],
)
def test_answering_read_only_service_is_unhealthy(
    testbed: Testbed,
    runtime: Runtime,
    component: str,
    refuse: Callable[[Testbed], None],
    accept: Callable[[Testbed], None],
    reason: str,
) -> None:
    eventually_healthy(runtime.health)
    refuse(testbed)
    try:
        eventually(lambda: unhealthy(runtime) == {component}, "the refusal")
        assert (runtime.health()[component].error or "").endswith(reason)
    finally:
        accept(testbed)
    eventually_healthy(runtime.health)
    assert runtime.redis.keys("compozy:health*") == []


class Writer(threading.Thread):
    """Records executions as fast as it can; remembers which were acknowledged, and every error."""

    def __init__(self, store: Store, name: str) -> None:
        super().__init__(name=name)
        self.store = store
        self.ended = threading.Event()
        self.acknowledged: list[str] = []
        self.errors: list[BaseException] = []

    def run(self) -> None:
        number = 0
        while not self.ended.is_set():
            number += 1
            execution_id = f"{self.name}-{number}"
            try:
                self.store.record_started(Execution(execution_id, "load", "1", "running", {}, started_at=str(number)))
            except UnavailableError as error:
                self.errors.append(error)
            else:
                self.acknowledged.append(execution_id)


def test_the_store_outlasts_a_restart_of_postgres_under_load(postgres_server: PostgresServer, runtime: Runtime) -> None:
    """Writers get only `UnavailableError`, continue after the restart, and acknowledged rows are kept."""
    store = Store(runtime.database)
    writers = [Writer(store, f"writer-{number}") for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        eventually(lambda: all(writer.acknowledged for writer in writers), "the first writes")
        postgres_server.kill()
        eventually(lambda: all(writer.errors for writer in writers), "the outage")
        postgres_server.start()
        before = [len(writer.acknowledged) for writer in writers]
        eventually(
            lambda: all(len(writer.acknowledged) > count for writer, count in zip(writers, before, strict=True)),
            "writes after the outage",
        )
    finally:
        for writer in writers:
            writer.ended.set()
            writer.join(PATIENCE_S)
    lost = [name for writer in writers for name in writer.acknowledged if store.execution(name) is None]
    assert lost == []


def settings(testbed: Testbed, missing: set[str]) -> dict[str, str]:
    """Return settings of distributed mode in which the services named do not exist."""
    addresses = {
        "database.url": testbed.databases.url_of("postgres"),
        "redis.url": testbed.redis.url,
        "temporal.host_port": testbed.temporal.address,
    }
    nowhere = {
        "database.url": f"postgresql://compozy:hush@{HOST}:{free_port()}/postgres",
        "redis.url": f"redis://:hush@{HOST}:{free_port()}/0",
        "temporal.host_port": f"{HOST}:{free_port()}",
    }
    return {
        "mode": "distributed",
        "temporal.encryption_key": random_key(),
        **{path: nowhere[path] if path in missing else address for path, address in addresses.items()},
    }


@pytest.mark.parametrize(
    "missing",
    [
        pytest.param({"database.url": "postgres", "redis.url": "redis", "temporal.host_port": "temporal"}, id="all"),
        pytest.param({"database.url": "postgres", "temporal.host_port": "temporal"}, id="two"),
        pytest.param({"redis.url": "redis"}, id="one"),
    ],
)
def test_a_half_configured_start_names_every_missing_part(
    testbed: Testbed, tmp_path: Path, missing: dict[str, str]
) -> None:
    """One error for all of them, each with its address, a fix, and no password; nothing is left running."""
    given = settings(testbed, set(missing))
    others = far_ends()
    before = traces(others)
    lifecycle = compozy.load(directory=str(tmp_path), settings=given, environment={})
    lifecycle.resolve()
    lifecycle.validate()
    with pytest.raises(ProvisionError) as caught:
        lifecycle.provision()
    text = str(caught.value)
    assert {name for name in ("postgres", "redis", "temporal") if f"{name} at {HOST}" in text} == set(missing.values())
    assert {path for path in missing if path not in text} == set()
    assert "hush" not in text
    assert lifecycle.state == "validated"
    eventually(lambda: not traces(others) - before, "the end of everything that was started")
