"""A served project: the real service on the test server of Temporal, behind a real socket."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from fakeredis import FakeRedis, FakeServer
from tests.workflows.bench import Bench, bench, database, loop, skipping, store

from compozy.client.answers import HealthAnswer
from compozy.drivers.port import Port
from compozy.errors import NotFoundError
from compozy.knowledge.library import Library
from compozy.memory.memories import Memories
from compozy.memory.memory_definition import MemoryDefinition
from compozy.server.access import Access
from compozy.server.app import build_app
from compozy.server.http import HttpServer
from compozy.server.limits import Limits
from compozy.workflows.facade import Workflows

__all__ = ["bench", "database", "loop", "skipping", "store"]

LIMITS = Limits()
GREET = {
    "id": "greet",
    "input": {"name": "World"},
    "tasks": [{"id": "t", "type": "aggregate", "output": "Hello, {{ workflow.input.name }}!"}],
    "outputs": {"greeting": "{{ tasks.t.output }}"},
}


@dataclass
class Answer:
    """An answer of the server."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.text)


@dataclass
class FakeState:
    """The state of a process, as a test sets it."""

    components: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"redis": {"mode": "memory", "driver": "valkey", "healthy": True, "latency_ms": 0.5}}
    )
    worker: dict[str, Any] = field(default_factory=lambda: {"healthy": True, "error": None})
    bug: Exception | None = None

    def health(self) -> HealthAnswer:
        """Return what `compozy status` would."""
        if self.bug is not None:
            raise self.bug
        ready = all(part["healthy"] for part in (*self.components.values(), self.worker))
        parts = {"components": self.components, "worker": self.worker}
        return msgspec.convert({"state": "provisioned", "mode": "memory", "ready": ready, **parts}, HealthAnswer)

    def explain(self, key: str) -> Mapping[str, Any]:
        if key != "mode":
            raise NotFoundError("setting", key)
        return {"key": key, "value": "memory"}

    def config(self) -> Mapping[str, Any]:
        """Return a redacted configuration."""
        return {"settings": {"server.api_key": {"value": "[REDACTED]"}}}


@dataclass
class Site:
    """A running server and a client for it."""

    bench: Bench
    workflows: Workflows
    state: FakeState
    server: HttpServer
    key: str | None = None

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, raw: bytes = b""
    ) -> Answer:
        """Send one request with the key of the site; `body` goes as JSON, `raw` as it is."""
        sent = {**({"X-API-Key": self.key} if self.key else {}), **(headers or {})}
        if body is not None:
            raw = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)) as connection:
            connection.request(method, path, raw or None, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())

    def get(self, path: str, **headers: str) -> Answer:
        """Ask for something."""
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, body: Any = None) -> Answer:
        """Send JSON."""
        return self.ask("POST", path, body)


def memories() -> Memories:
    """Return a memory `chat` of at most three messages, on an imitation of Redis."""
    client = FakeRedis(server=FakeServer())
    return Memories(lambda: client, [MemoryDefinition("chat", max_messages=3)], "test")


def serve(bench: Bench, limits: Limits = LIMITS, library: Library | None = None, **options: Any) -> Site:
    """Serve the project of `bench`, in which `greet` is known; stopped at the end of the test."""
    bench.write("workflows/greet.yaml", json.dumps(GREET))
    workflows = bench.open(library)
    state = FakeState()
    access = options.pop("access", None) or Access(None)
    app = build_app(
        workflows.service, state, access=access, memories=memories(), knowledge=workflows.knowledge,
        most_requests=limits.requests, **options,
    )  # fmt: skip
    port = Port(0, "server.port", True)
    server = HttpServer(app, bench.loop, host="127.0.0.1", port=port, limits=limits)
    server.start()
    bench.opened.callback(lambda: server.stop(1))
    return Site(bench, workflows, state, server, access.api_key)


@pytest.fixture
def site(bench: Bench) -> Site:
    """Return a served project with a random key, which every request sends."""
    return serve(bench)
