"""Redis clients for tests of memories: an imitation, and a real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from fakeredis import FakeRedis, FakeServer
from redis import Redis

from compozy.memory.memories import Memories
from compozy.memory.memory import Memory
from compozy.memory.memory_definition import MemoryDefinition

ENGINES = ("fakeredis", "valkey")


@pytest.fixture(params=ENGINES)
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return the client of an empty Redis."""
    if request.param == "fakeredis":
        yield FakeRedis(server=FakeServer())
        return
    with closing(Redis.from_url(request.getfixturevalue("redis_server").url_of(15))) as made:
        made.flushdb()
        yield made


def memory(client: Any, namespace: str = "shop", **fields: Any) -> Memory:
    """Return the memory `chat` with the given definition."""
    definition = MemoryDefinition("chat", **fields)
    return Memories(lambda: client, [definition], namespace).memory("chat")


def messages_of(*contents: Any) -> list[dict[str, Any]]:
    """Return messages of the role `user`."""
    return [{"role": "user", "content": content} for content in contents]
