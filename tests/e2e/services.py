"""The services that distributed mode reaches: PostgreSQL, Temporal and Valkey, started by the tests."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from compozy.drivers.binaries import find_valkey
from compozy.drivers.ports import free_port
from compozy.testing.postgres import PostgresServer

TEMPORAL = str(Path(sys.executable).parent / "temporal")


@dataclass(frozen=True)
class Services:
    """Addresses of running services; each project gets a database, a task queue and a Redis number of its own."""

    postgres: PostgresServer
    temporal: str
    redis_port: int

    def settings(self) -> dict[str, str]:
        """Return the variables that make a project use these services, with a database of its own."""
        name = f"matrix_{uuid.uuid4().hex[:12]}"
        return {
            "DB_URL": self.postgres.url_of(self.postgres.create_database(name)),
            "TEMPORAL_HOST_PORT": self.temporal,
            "COMPOZY_TEMPORAL__TASK_QUEUE": name,
            "REDIS_URL": f"redis://127.0.0.1:{self.redis_port}/0",
        }


@contextlib.contextmanager
def running_services(folder: Path) -> Iterator[Services]:
    """Start all three; they end with the block."""
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        temporal, port = free_port(), free_port()
        command = [TEMPORAL, "server", "start-dev", "--headless", "--port", str(temporal), "--log-level", "never"]
        stack.enter_context(process(command, folder))
        valkey = [str(find_valkey()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        stack.enter_context(process(valkey, folder))
        wait_for(port, temporal)
        yield Services(postgres, f"127.0.0.1:{temporal}", port)


@contextlib.contextmanager
def process(command: list[str], folder: Path) -> Iterator[None]:
    """Run a command for the length of the block."""
    started = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        started.kill()
        started.wait(10)


def wait_for(redis_port: int, temporal_port: int, timeout_s: float = 30.0) -> None:
    """Return when both answer."""
    deadline = time.monotonic() + timeout_s
    health = [TEMPORAL, "operator", "cluster", "health", "--address", f"127.0.0.1:{temporal_port}"]
    while time.monotonic() < deadline:
        try:
            with redis.Redis(port=redis_port) as client:
                client.ping()
            if subprocess.run(health, capture_output=True, check=False).returncode == 0:
                return
        except redis.ConnectionError:
            pass
        time.sleep(0.02)
    raise TimeoutError("the services did not start")
