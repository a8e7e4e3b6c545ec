"""One memory on an imitation of Redis and on a real server."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.memory.clients import client, memory, messages_of
from tests.support.polling import eventually

from compozy.drivers.redis_script import RedisScript
from compozy.errors import DriverError
from compozy.memory.memory import Memory, Repeatable
from compozy.memory.message import MemoryRefusedError, MemoryStats

__all__ = ["client"]

WRITERS, EACH = 4, 25


def contents(of: Memory, key: str = "k", **options: int) -> list[Any]:
    return [message.content for message in of.read(key, **options).messages]


def names(client: Any) -> set[str]:
    """Return the names of all keys of the server, without those that end by themselves soon."""
    return {name.decode() for name in client.scan_iter() if b":done:" not in name}


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        pytest.param({"max_messages": 2}, ["c", "d"], id="messages"),
        pytest.param({"max_tokens": 11}, ["c", "d"], id="tokens"),
        pytest.param({"max_messages": 3, "max_tokens": 5}, ["d"], id="both"),
        pytest.param({}, ["a", "b", "c", "d"], id="none"),
    ],
)
def test_append_evicts_the_oldest_messages_until_the_limits_hold(
    client: Any, limits: dict[str, Any], left: list[str]
) -> None:
    chat = memory(client, **limits)
    chat.append("k", messages_of("a"))
    change = chat.append("k", messages_of("b", "c", "d"))
    assert contents(chat) == left
    assert (change.removed, change.stats.evicted, change.stats.tokens) == (4 - len(left), 4 - len(left), 5 * len(left))


def test_lru_evicts_the_least_recently_used_message(client: Any) -> None:
    chat = memory(client, max_messages=3, eviction="lru")
    chat.append("k", messages_of("a", "b", "c"))
    assert contents(chat, limit=1) == ["c"]  # now c, and a and b as they were written
    assert contents(chat, limit=1, before=2) == ["a"]
    chat.append("k", messages_of("d"))
    assert contents(chat, limit=2) == ["c", "d"]
    chat.append("k", messages_of("e"))
    assert contents(chat) == ["c", "d", "e"]


def test_messages_written_under_fifo_count_as_used_then_under_lru(client: Any) -> None:
    memory(client).append("k", messages_of(*range(12)))
    chat = memory(client, max_messages=12, eviction="lru")
    assert contents(chat, limit=11, before=12) == list(range(11))
    chat.append("k", messages_of("new"))
    assert contents(chat) == [*range(11), "new"]


def test_message_beyond_max_tokens_is_refused_without_changes(client: Any) -> None:
    chat = memory(client, max_tokens=6)
    chat.append("k", messages_of("kept"))
    with pytest.raises(MemoryRefusedError, match="about 9 tokens, more than the max_tokens 6 of memory chat"):
        chat.append("k", messages_of("a", "x" * 20))
    assert contents(chat) == ["kept"]


def test_flush_applies_lowered_limits(client: Any) -> None:
    memory(client).append("k", messages_of(1, 2, 3))
    chat = memory(client, max_messages=1)
    change = chat.flush("k")
    assert change is not None
    assert (change.removed, contents(chat), chat.flush("k").removed) == (2, [3], 0)  # type: ignore[union-attr]


def test_write_replaces_messages_and_continues_the_numbers(client: Any) -> None:
    chat = memory(client)
    chat.append("k", messages_of("a", "b"))
    change = chat.write("k", [{"role": "system", "content": {"n": [1, None]}, "at": "2025-01-02T03:04:05Z"}])
    [found] = chat.read("k").messages
    assert (found.id, found.role, found.content, found.at) == (
        3,
        "system",
        {"n": [1, None]},
        "2025-01-02T03:04:05.000Z",
    )
    assert (change.stats.appended, change.stats.entries) == (3, 1)


def test_clear_keeps_the_statistics_and_delete_removes_every_trace(client: Any) -> None:
    chat = memory(client, ttl_s=60.0, eviction="lru", max_messages=5)
    chat.append("k", messages_of("a", "b"))
    chat.read("k")
    cleared = chat.clear("k")
    assert cleared is not None
    assert (cleared.removed, cleared.stats.appended, cleared.stats.tokens, contents(chat)) == (2, 2, 0, [])
    assert [key.key for key in chat.all_keys()] == ["k"]
    assert chat.delete("k") == 0
    assert (names(client), list(chat.all_keys())) == (set(), [])


def test_operations_on_a_missing_key_find_nothing_and_create_nothing(client: Any) -> None:
    chat = memory(client)
    assert (chat.read("k").messages, chat.read("k").stats) == ((), MemoryStats())
    assert (chat.stats("k"), chat.clear("k"), chat.flush("k"), chat.delete("k")) == (None, None, None, None)
    assert names(client) == set()


def test_repeated_operation_is_done_once(client: Any) -> None:
    chat = memory(client, max_messages=1)
    first = chat.append("k", messages_of("a", "b"), Repeatable("run/task"))
    again = chat.append("k", messages_of("a", "b"), Repeatable("run/task"))
    assert (first.removed, again.removed, again.stats.appended) == (1, 1, 2)


def test_projects_and_memories_on_one_server_are_apart(client: Any) -> None:
    places = [memory(client, name) for name in ("a", "a:chat", "A", "b%3Achat")]
    for number, chat in enumerate(places):
        chat.append("k", messages_of(number))
    assert [contents(chat) for chat in places] == [[0], [1], [2], [3]]


def test_concurrent_writers_lose_nothing(client: Any) -> None:
    chat = memory(client, max_messages=60)

    def write(writer: int) -> None:
        for number in range(EACH):
            chat.append("k", messages_of([writer, number]))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = chat.read("k")
    assert (found.stats.appended, found.stats.evicted, len(found.messages)) == (100, 40, 60)
    assert [message.id for message in found.messages] == list(range(41, 101))
    for writer in range(WRITERS):
        own = [message.content[1] for message in found.messages if message.content[0] == writer]
        assert own == list(range(EACH))[EACH - len(own) :]


def test_key_expires_with_everything_after_its_last_message(client: Any) -> None:
    short, long = memory(client, ttl_s=0.05, eviction="lru"), memory(client, ttl_s=3600.0)
    long.append("stays", messages_of("a"))
    short.append("k", messages_of("a"))
    eventually(lambda: contents(short) == [])
    assert [key.key for key in long.all_keys()] == ["stays"]
    assert all("stays" in name or name.endswith((":keys", ":expiry")) for name in names(client))
    short.append("k", messages_of("b"))
    assert [message.id for message in short.read("k").messages] in ([1], [])


def test_key_without_time_to_live_loses_an_earlier_one(client: Any) -> None:
    memory(client, ttl_s=60.0).append("k", messages_of("a"))
    assert memory(client).append("k", messages_of("b")).stats.expires_at is None
    assert {client.ttl(name) for name in names(client)} == {-1}


def test_keys_are_ordered_by_name_in_pages(client: Any) -> None:
    chat = memory(client)
    for key in ("b", "ü", "a/1", "Z"):
        chat.append(key, messages_of(1))
    first, after = chat.keys(3)
    second, last = chat.keys(3, after)
    assert [key.key for key in (*first, *second)] == ["Z", "a/1", "b", "ü"]
    assert last == ""


def test_evicted_key_disappears_from_the_list(client: Any) -> None:
    chat = memory(client)
    chat.append("k", messages_of(1))
    client.delete("compozy:memory:shop:chat:facts:k")
    assert list(chat.all_keys()) == []


def test_all_messages_are_read_in_pages(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compozy.memory.memory.PAGE", 2)
    chat = memory(client)
    chat.append("k", messages_of(*range(5)))
    assert [message.content for message in chat.messages("k")] == [4, 3, 2, 1, 0]


def test_long_keys_are_read_at_once(client: Any) -> None:
    chat = memory(client)
    for _ in range(3):
        chat.append("k", messages_of(*range(1000)))
    assert contents(chat, limit=2500) == [*range(500, 1000), *range(1000), *range(1000)]


@pytest.mark.parametrize(
    ("key", "payload", "reason"),
    [
        pytest.param("", messages_of(1), "a key must have 1 to 1000 characters", id="empty-key"),
        pytest.param("k" * 1001, messages_of(1), "a key must have 1 to 1000 characters", id="long-key"),
        pytest.param("a\x1bb", messages_of(1), "none of them a control character", id="control-key"),
        pytest.param("k", "text", "message 1 has no content", id="text"),
        pytest.param("k", [{"role": "user"}], "message 1 has no content", id="no-content"),
        pytest.param(
            "k", [*messages_of(1), {"content": 1, "rol": 2}], 'message 2 has the unknown key "rol"', id="unknown"
        ),
        pytest.param("k", {"content": 1, "role": ""}, "role of message 1", id="role"),
        pytest.param("k", {"content": "x" * 300_001}, "300001 bytes, more than 300000", id="long"),
        pytest.param("k", {"content": "\ud800"}, "neither text nor JSON in UTF-8", id="surrogate"),
        pytest.param("k", {"content": float("nan")}, "neither text nor JSON in UTF-8", id="nan"),
        pytest.param("k", {"content": 1, "at": "noon"}, "not a time of ISO 8601", id="time"),
        pytest.param("k", messages_of(*range(1001)), "more than the 1000 of one operation", id="many"),
    ],
)
def test_invalid_keys_and_messages_are_refused(client: Any, key: str, payload: object, reason: str) -> None:
    with pytest.raises(MemoryRefusedError, match=reason):
        memory(client).append(key, payload)
    assert names(client) == set()


def test_unresponsive_redis_is_an_error_of_the_driver() -> None:
    with pytest.raises(DriverError, match="connection refused"):
        memory(Redis(port=1, retry=Retry(NoBackoff(), 0))).stats("k")


def test_script_with_a_fault_is_an_error_of_the_driver(client: Any) -> None:
    with pytest.raises(DriverError, match="redis: "):
        RedisScript(client, "return redis.call('NOSUCH')").run([], [])


def test_answers_are_texts_with_and_without_decoding_client(client: Any) -> None:
    def typed(answer: Any) -> Sequence[type]:
        return [type(item) for item in answer]

    assert typed(RedisScript(client, "return {'ü', 1, {'a'}}").run([], [])) == [str, int, list]


@pytest.mark.parametrize("part", ["facts", "order", "entries"])
def test_partly_evicted_key_disappears_as_a_whole(client: Any, part: str) -> None:
    chat = memory(client, max_messages=2, ttl_s=60.0)
    chat.append("k", messages_of("a", "b"))
    client.delete(f"compozy:memory:shop:chat:{part}:k")
    assert (contents(chat), chat.stats("k"), list(chat.all_keys())) == ([], None, [])
    client.delete(f"compozy:memory:shop:chat:{part}:k")
    assert chat.append("k", messages_of("c")).stats.entries == 1
    assert [message.id for message in chat.read("k").messages] == [1]


def test_messages_with_evicted_uses_count_as_used_when_written(client: Any) -> None:
    chat = memory(client, max_messages=2, eviction="lru")
    chat.append("k", messages_of("a", "b"))
    contents(chat, limit=1, before=2)
    client.delete("compozy:memory:shop:chat:used:k")
    chat.append("k", messages_of("c"))
    assert contents(chat) == ["b", "c"]


def test_uses_noted_by_flush_live_as_long_as_their_key(client: Any) -> None:
    memory(client, ttl_s=60.0).append("k", messages_of("a"))
    memory(client, ttl_s=60.0, eviction="lru").flush("k")
    assert 0 < client.pttl("compozy:memory:shop:chat:used:k") <= 60_000
