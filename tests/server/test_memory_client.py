"""Clients of a memory agree, whether they use a server or work in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fakeredis import FakeRedis, FakeServer
from tests.server.conftest import Site

from compozy.client.local_memory import LocalMemory
from compozy.client.project_client import MemoryClient
from compozy.client.remote import RemoteClient
from compozy.errors import CompozyError
from compozy.memory.memories import Memories
from compozy.memory.memory_definition import MemoryDefinition

CALLS: list[Callable[[MemoryClient], Any]] = [
    lambda memory: memory.append("a/ü ?#%", [{"content": number} for number in range(5)]),
    lambda memory: memory.append("b", {"role": "assistant", "content": {"n": None}, "at": "2025-01-02T03:04:05Z"}),
    lambda memory: memory.read("b", 10),
    lambda memory: memory.read("a/ü ?#%", 1, 5),
    lambda memory: memory.keys(1),
    lambda memory: memory.keys(10, "a/ü ?#%"),
    lambda memory: memory.write("b", [{"content": "new"}]),
    lambda memory: memory.clear("b"),
    lambda memory: memory.delete("b"),
    lambda memory: memory.read("b", 1),
    lambda memory: memory.clear("b"),
    lambda memory: memory.delete("b"),
    lambda memory: memory.append("b", "text"),
    lambda memory: memory.append("\x1b", {"content": 1}),
]


def outcome(memory: MemoryClient, call: Callable[[MemoryClient], Any]) -> Any:
    """Return an answer as JSON without times, or the error."""
    try:
        found = json.loads(json.dumps(call(memory).to_json()))
    except CompozyError as error:
        return error.id, error.exit_code, error.message
    for record in (*found.get("messages", ()), *found.get("keys", ()), found.get("stats", {})):
        for name in ("created_at", "updated_at", *(("at",) if record.get("role") == "user" else ())):
            record.pop(name, None)
    return found


def test_clients_of_a_memory_agree(site: Site) -> None:
    client = FakeRedis(server=FakeServer())
    definition = MemoryDefinition("chat", max_messages=3)
    local = LocalMemory(Memories(lambda: client, [definition], "other").memory("chat"))
    remote = RemoteClient(f"http://127.0.0.1:{site.server.port}", site.key).memory("chat")
    for number, call in enumerate(CALLS[:-1]):
        assert outcome(remote, call) == outcome(local, call), number
    with pytest.raises(CompozyError, match="control characters"):
        CALLS[-1](remote)
    with pytest.raises(CompozyError, match="control character"):
        CALLS[-1](local)
