"""Any sequence of operations on a memory does what the model does, on an imitation of Redis and on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from fakeredis import FakeRedis, FakeServer
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from property_tests.memory_model import KeyModel, tokens_of
from redis import Redis

from compozy.memory.memories import Memories
from compozy.memory.memory import Memory
from compozy.memory.memory_definition import MemoryDefinition
from compozy.memory.message import MemoryRefusedError, MemoryStats
from compozy.testing.servers import RedisServer

TTL_S = 3600.0
KEYS = st.sampled_from(["a", "b/ü"])
CONTENTS = st.lists(st.text("xyz ", max_size=24), max_size=5)
DEFINITIONS = st.builds(
    MemoryDefinition,
    st.just("chat"),
    max_messages=st.integers(0, 5),
    max_tokens=st.sampled_from([0, 0, 8, 20]),
    ttl_s=st.sampled_from([0.0, TTL_S]),
    eviction=st.sampled_from(["fifo", "lru"]),
)


class MemoryMachine(RuleBasedStateMachine):
    """Two keys of one memory, whose definition changes as in a new configuration."""

    client: Any

    @initialize(definition=DEFINITIONS)
    def begin(self, definition: MemoryDefinition) -> None:
        self.client.flushdb()
        self.models: dict[str, KeyModel] = {}
        self.change_definition(definition)

    @rule(definition=DEFINITIONS)
    def change_definition(self, definition: MemoryDefinition) -> None:
        self.definition = definition
        self.memory: Memory = Memories(lambda: self.client, [definition], "shop").memory("chat")

    @rule(key=KEYS, contents=CONTENTS, replace=st.booleans())
    def store(self, key: str, contents: list[str], *, replace: bool) -> None:
        operation = self.memory.write if replace else self.memory.append
        payload = [{"content": content} for content in contents]
        most = self.definition.max_tokens
        if any(0 < most < tokens_of(content) for content in contents):
            with pytest.raises(MemoryRefusedError):
                operation(key, payload)
            return
        change = operation(key, payload)
        model = self.models.setdefault(key, KeyModel())
        assert change.removed == model.store(self.definition, contents, replace=replace)
        self.agrees(model, change.stats)

    @rule(key=KEYS, limit=st.integers(1, 6), before=st.integers(0, 12))
    def read(self, key: str, limit: int, before: int) -> None:
        found = self.memory.read(key, limit, before)
        wanted = self.models[key].read(self.definition, limit, before) if key in self.models else []
        assert [(one.id, one.content) for one in found.messages] == [(one.number, one.content) for one in wanted]

    @rule(key=KEYS)
    def clear(self, key: str) -> None:
        change, model = self.memory.clear(key), self.models.get(key)
        if change is None or model is None:
            assert (change, model) == (None, None)
            return
        assert change.removed == len(model.messages)
        model.messages = []
        self.agrees(model, change.stats)

    @rule(key=KEYS)
    def flush(self, key: str) -> None:
        change, model = self.memory.flush(key), self.models.get(key)
        if change is None or model is None:
            assert (change, model) == (None, None)
            return
        assert change.removed == model.evict(self.definition)
        self.agrees(model, change.stats)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        model = self.models.pop(key, None)
        assert self.memory.delete(key) == (None if model is None else len(model.messages))

    @staticmethod
    def agrees(model: KeyModel, stats: MemoryStats) -> None:
        assert (stats.entries, stats.tokens) == (len(model.messages), model.tokens)
        assert (stats.appended, stats.evicted) == (model.appended, model.evicted)
        assert (stats.expires_at is not None) == model.has_ttl

    @invariant()
    def keys_are_those_of_the_model(self) -> None:
        listed = {key.key: (key.entries, key.tokens) for key in self.memory.all_keys()}
        assert listed == {key: (len(model.messages), model.tokens) for key, model in self.models.items()}

    @invariant()
    def every_part_of_a_key_lives_as_long_as_the_key(self) -> None:
        for key, model in self.models.items():
            parts = [f"compozy:memory:shop:chat:{part}:{key}" for part in ("facts", "order", "entries", "used")]
            left = [self.client.pttl(part) for part in parts if self.client.exists(part)]
            if model.has_ttl:
                assert all(0 < one <= TTL_S * 1000 for one in left)
                assert max(left) - min(left) < TTL_S * 10
            else:
                assert set(left) == {-1}


@pytest.fixture(params=["fakeredis", "valkey"])
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "fakeredis":
        yield FakeRedis(server=FakeServer())
        return
    server: RedisServer = request.getfixturevalue("compozy_testbed").redis
    with closing(Redis.from_url(server.url_of(13))) as made:
        yield made


def test_operations_agree_with_the_model(client: Any) -> None:
    machine = type("Machine", (MemoryMachine,), {"client": client})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=40, stateful_step_count=25, suppress_health_check=list(HealthCheck)),
    )
