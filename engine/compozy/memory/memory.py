"""One memory: its operations on keys, each atomic, so that concurrent writers lose nothing."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import quote

from compozy.base.record import dataclass
from compozy.base.tally import Tally
from compozy.memory.memory_definition import MemoryDefinition
from compozy.memory.message import (
    MemoryKey,
    MemoryRefusedError,
    MemoryStats,
    Message,
    StoredMessage,
    check_key,
    moment,
    read_messages,
    text_of,
)
from compozy.memory.redaction_patterns import RedactionPatterns
from compozy.memory.scripts import Scripts
from compozy.memory.token_estimate import PER_MESSAGE, count_tokens

PAGE = 1000
_PARTS = ("facts", "order", "entries", "used")
# Longer than a client repeats a command whose answer was lost.
_REPEATABLE_MS = 60_000


@dataclass(frozen=True, slots=True)
class MemoryContents:
    """The messages that were read, the oldest first, and the statistics of their key."""

    messages: tuple[StoredMessage, ...]
    stats: MemoryStats


@dataclass(frozen=True, slots=True)
class MemoryChange:
    """The numbers of messages that an operation removed and evicted, and the statistics after it."""

    removed: int
    stats: MemoryStats


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A write that may be repeated: the same `id` within `repeatable_ms` is done once."""

    id: str
    repeatable_ms: int = _REPEATABLE_MS


class Memory:
    """The keys of one memory; every method blocks while Redis works.

    Raises:
        DriverError: Redis does not answer.
        MemoryRefusedError: a key or a message cannot be taken.
    """

    def __init__(
        self, definition: MemoryDefinition, scripts: Scripts, namespace: str, hide: Callable[[str], str] = str,
        operations: Tally | None = None,
    ) -> None:  # fmt: skip
        """Use the keys of `namespace`.

        `hide` takes the secrets of the configuration out of what is stored; `operations` counts by id and kind.
        """
        self.definition = definition
        self._scripts = scripts
        self._operations = operations or Tally()
        self._prefix = f"compozy:memory:{quote(namespace, safe='')}:{quote(definition.id, safe='')}"
        self._patterns = RedactionPatterns(definition.redact, hide)

    def append(self, key: str, payload: object, once: Repeatable | None = None) -> MemoryChange:
        """Add messages behind those of a key: one `{role, content}`, or a list of them."""
        return self._store(key, payload, once, replace=False)

    def write(self, key: str, payload: object, once: Repeatable | None = None) -> MemoryChange:
        """Replace the messages of a key."""
        return self._store(key, payload, once, replace=True)

    def read(self, key: str, limit: int = PAGE, before: int = 0) -> MemoryContents:
        """Return the newest messages of a key, at most `limit`, older than the id `before`; none without the key."""
        answer = self._run("read", key, limit, self._lru, before)
        if answer is None:
            return MemoryContents((), MemoryStats())
        found = iter(answer[1])
        return MemoryContents(tuple(map(_stored, found, found)), _stats(answer[0]))

    def messages(self, key: str) -> Iterator[StoredMessage]:
        """Yield all messages of a key, the newest first."""
        before = 0
        while page := self.read(key, PAGE, before).messages:
            yield from reversed(page)
            before = page[0].id

    def stats(self, key: str) -> MemoryStats | None:
        """Return the statistics of a key, None without it; it does not count as a use."""
        answer = self._run("read", key, 0, 0, 0, kind="stats")
        return None if answer is None else _stats(answer[0])

    def clear(self, key: str) -> MemoryChange | None:
        """Remove the messages of a key and keep its statistics; None without the key."""
        return _change(self._run("clear", key))

    def flush(self, key: str) -> MemoryChange | None:
        """Evict what exceeds the limits, such as limits that were lowered; None without the key."""
        definition = self.definition
        return _change(self._run("flush", key, definition.max_messages, definition.max_tokens, self._lru))

    def delete(self, key: str) -> int | None:
        """Remove a key; return how many messages it had, None without the key."""
        answer = self._run("delete", key, key)
        return None if answer is None else int(answer)

    def keys(self, limit: int = PAGE, after: str = "") -> tuple[tuple[MemoryKey, ...], str]:
        """Return keys behind `after` in the order of their names, and behind which the next page begins.

        The second is empty on the last page.
        """
        parts = (f"{self._prefix}:{part}:" for part in _PARTS)
        following, found = self._run("keys", "-", after, limit, *parts)
        keys = tuple(
            MemoryKey(
                key=name, entries=entries, tokens=int(tokens or 0), updated_at=moment(int(updated or 0)),
                expires_at=moment(int(expires)),
            )
            for name, entries, tokens, updated, expires in found
        )  # fmt: skip
        return keys, following

    def all_keys(self) -> Iterator[MemoryKey]:
        """Yield every key."""
        after, first = "", True
        while after or first:
            first = False
            found, after = self.keys(PAGE, after)
            yield from found

    @cached_property
    def _lru(self) -> int:
        return int(self.definition.is_lru)

    def _store(self, key: str, payload: object, once: Repeatable | None, *, replace: bool) -> MemoryChange:
        definition, done = self.definition, once or Repeatable(secrets.token_hex(16))
        messages = [part for message in read_messages(payload) for part in self._encoded(message)]
        limits = (round(definition.ttl_s * 1000), definition.max_messages, definition.max_tokens)
        arguments = (key, *limits, self._lru, int(replace), done.repeatable_ms, *messages)
        # The script sets this key together with the messages, so that a repeated write finds it.
        keys = [*self._keys(key), f"{self._prefix}:done:{done.id}"]
        with self._operations.timed(definition.id, "write" if replace else "append"):
            evicted, numbers = self._scripts.run("append", keys, arguments)
        return MemoryChange(int(evicted), _stats(numbers))

    def _encoded(self, message: Message) -> Sequence[str | int]:
        """Return tokens, time and JSON of a message, redacted.

        Raises:
            MemoryRefusedError: it alone exceeds `max_tokens`.
        """
        content = self._patterns.apply(message.content)
        # Counted after redaction, which changes the length of what is stored.
        tokens, most = count_tokens(text_of(content)) + PER_MESSAGE, self.definition.max_tokens
        if 0 < most < tokens:
            reason = (
                f"a message has about {tokens} tokens, more than the max_tokens {most} of memory {self.definition.id}"
            )
            raise MemoryRefusedError(reason, hint="shorten it, or raise max_tokens")
        return tokens, message.at_ms, json.dumps([message.role, content], ensure_ascii=False, separators=(",", ":"))

    def _keys(self, key: str) -> list[str]:
        name = check_key(key)
        parts = [f"{self._prefix}:{part}:{name}" for part in _PARTS]
        return [*parts, f"{self._prefix}:keys", f"{self._prefix}:expiry"]

    def _run(self, name: str, key: str, *arguments: str | int, kind: str = "") -> Any:
        keys = self._keys(key)
        with self._operations.timed(self.definition.id, kind or name):
            return self._scripts.run(name, keys, arguments)


def _stored(number: str, entry: str) -> StoredMessage:
    tokens, at_ms, text = entry.split(":", 2)
    role, content = json.loads(text)
    at = moment(int(at_ms)) or ""
    return StoredMessage(id=int(number), role=role, content=content, tokens=int(tokens), at=at)


def _stats(numbers: Sequence[str | int]) -> MemoryStats:
    entries, tokens, appended, evicted, created_ms, updated_ms, expires_ms = map(int, numbers)
    times = {"created_at": created_ms, "updated_at": updated_ms, "expires_at": expires_ms}
    return MemoryStats(
        entries=entries, tokens=tokens, appended=appended, evicted=evicted,
        **{name: moment(value) for name, value in times.items()},
    )  # fmt: skip


def _change(answer: Any) -> MemoryChange | None:
    return None if answer is None else MemoryChange(int(answer[0]), _stats(answer[1]))
