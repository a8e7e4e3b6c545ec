"""Distributed mode under load while each of its services goes away and comes back."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.support.polling import eventually

from compozy.testing.postgres_server import PostgresServer
from compozy.testing.server import Server as Service
from compozy.testing.servers import RedisServer, TemporalServer

from .conftest import Server, Shell
from .services import Services
from .test_matrix import TWO_STEPS

pytestmark = [pytest.mark.e2e, pytest.mark.distributed]
OUTAGE_S = 1.5
PATIENCE_S = 30


OWN: Mapping[str, Callable[[], Any]] = {
    "postgres": PostgresServer, "temporal": TemporalServer, "redis": RedisServer,
}  # fmt: skip


@pytest.fixture
def own_services(services: Services, service: str) -> Iterator[Services]:
    """The services of this process, but for one that the test may stop."""
    with OWN[service]() as own:
        yield replace(services, **{service: own})


class Load:
    """Starts executions one after the other, each with an id of its own that is tried until it is accepted."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.accepted: list[str] = []
        self.refused: list[tuple[int, str]] = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self) -> None:
        while not self.over.is_set():
            name = f"load-{self.server.pid}-{len(self.accepted)}"  # other servers use the same Temporal
            if self._started(name):
                self.accepted.append(name)
            time.sleep(0.02)

    def _started(self, name: str) -> bool:
        body = {"input": {"name": name}, "execution_id": name}
        with contextlib.suppress(http.client.HTTPException, OSError):
            status, answer = self.server.request("POST", "/api/v0/workflows/two-steps/executions", body)
            if status not in (200, 202):
                self.refused.append((status, str(answer.get("id"))))
            return status in (200, 202)
        return False

    def stop(self) -> None:
        self.over.set()
        self.thread.join()


@pytest.mark.parametrize(
    ("component", "service"), [("database", "postgres"), ("redis", "redis"), ("temporal", "temporal")]
)
def test_outage_is_reported_and_survived(shell: Shell, own_services: Services, component: str, service: str) -> None:
    """Health names the service, requests that need it get a 503, and no execution is lost or doubled."""
    (shell.directory / "workflows").mkdir()
    (shell.directory / "workflows" / "two-steps.yaml").write_text(TWO_STEPS.replace("SLEEP", "0s"))
    server = shell.start("--mode", "distributed", env=own_services.settings())
    away: Service = getattr(own_services, service)
    load = Load(server)
    try:
        eventually(lambda: len(load.accepted) >= 5, "the first executions")
        away.stop()
        stopped = time.monotonic()
        eventually(lambda: server.request("GET", "/readyz")[0] == 503, "the news of the outage")
        health = server.request("GET", "/api/v0/health")[1]["components"]
        assert [name for name, part in health.items() if not part["healthy"]] == [component]
        while time.monotonic() < stopped + OUTAGE_S:  # the length of the outage is under test
            time.sleep(0.05)
        away.start()
        eventually(lambda: server.request("GET", "/readyz")[0] == 200, "the recovery", PATIENCE_S)
        before = len(load.accepted)
        eventually(lambda: len(load.accepted) >= before + 5, "executions after the outage", PATIENCE_S)
    finally:
        load.stop()
    ended = [server.request("GET", f"/api/v0/executions/{name}?wait={PATIENCE_S}s")[1] for name in load.accepted]
    assert {(row["status"], row["output"]["greeting"]) for row in ended} == {
        ("completed", f"{name}!") for name in load.accepted
    }
    listed = server.request("GET", "/api/v0/executions?limit=1000")[1]["executions"]
    assert len(listed) == len({row["id"] for row in listed})
    assert {status for status, _ in load.refused} <= {503}
    assert bool(load.refused) == (component != "redis")
    assert server.stop() == 0
