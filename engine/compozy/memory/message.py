"""The records of memories: messages, statistics, and what lists show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from compozy.base.control import escape_line
from compozy.base.suggest import did_you_mean
from compozy.errors import UsageError

USER = "user"
MAX_ROLE = 50
MAX_KEY = 1000
MAX_CONTENT_BYTES = 300_000
MAX_MESSAGES = 1000  # of one operation
_TAKEN = ("role", "content", "at")
_GIVEN = ("id", "tokens")  # what a read answers beside them


class MemoryRefusedError(UsageError):
    """Messages or a key that a memory cannot take."""

    id = "memory.refused"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One contribution to a conversation; `content` is a text or another JSON value, `at_ms` 0 for now."""

    role: str = USER
    content: object = ""
    at_ms: int = 0


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a memory; `id` grows with each message of its key, `tokens` is an estimate, `at` in UTC."""

    id: int
    role: str
    content: Any
    tokens: int
    at: str


class MemoryStats(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of one key: what it holds, and what was appended and evicted since it was created; times in UTC."""

    entries: int = 0
    tokens: int = 0
    appended: int = 0
    evicted: int = 0
    created_at: str | None = None
    updated_at: str | None = None
    expires_at: str | None = None


class MemoryKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key in the list of a memory."""

    key: str
    entries: int
    tokens: int
    updated_at: str | None = None
    expires_at: str | None = None


class MemorySummary(msgspec.Struct, frozen=True, kw_only=True):
    """A memory in the list of all: how many keys it has, and how many messages these hold."""

    id: str
    keys: int
    entries: int
    type: str = ""


def read_messages(payload: object) -> tuple[Message, ...]:
    """Return the messages of a payload: one `{role, content}`, or a list of them.

    What a read answers is taken too; `role` is `user` when it is not given.

    Raises:
        MemoryRefusedError: it is something else, or too much.
    """
    items = payload if isinstance(payload, Sequence) and not isinstance(payload, str) else [payload]
    if len(items) > MAX_MESSAGES:
        raise MemoryRefusedError(f"{len(items)} messages are more than the {MAX_MESSAGES} of one operation")
    return tuple(_message(item, f"message {at}") for at, item in enumerate(items, 1))


def _message(item: object, what: str) -> Message:
    if not isinstance(item, Mapping) or "content" not in item:
        raise MemoryRefusedError(f"{what} has no content", hint='write {"role": "user", "content": "Hello"}')
    unknown = [key for key in item if key not in (*_TAKEN, *_GIVEN)]
    if unknown:
        advice = did_you_mean(unknown[0], _TAKEN)
        raise MemoryRefusedError(f'{what} has the unknown key "{escape_line(str(unknown[0]))}"{advice}')
    role, content = item.get("role", USER), item["content"]
    if not isinstance(role, str) or not 0 < len(role) <= MAX_ROLE or escape_line(role) != role:
        raise MemoryRefusedError(f"the role of {what} must be a text of 1 to {MAX_ROLE} characters")
    size = len(text_of(content, what).encode())
    if size > MAX_CONTENT_BYTES:
        raise MemoryRefusedError(f"the content of {what} has {size} bytes, more than {MAX_CONTENT_BYTES}")
    return Message(role=role, content=content, at_ms=_milliseconds(item.get("at"), what))


def text_of(content: object, what: str = "the message") -> str:
    """Return a content as text: itself, or its JSON.

    Raises:
        MemoryRefusedError: it is not JSON, or holds a lone surrogate.
    """
    try:
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise MemoryRefusedError(f"the content of {what} is neither text nor JSON in UTF-8") from error
    return text


def _milliseconds(at: object, what: str) -> int:
    if at is None:
        return 0
    try:
        return max(0, round(datetime.fromisoformat(str(at)).timestamp() * 1000))
    except (ValueError, OverflowError) as error:
        hint = "write it as 2026-01-31T12:00:00Z, or leave it away"
        raise MemoryRefusedError(f"the time `at` of {what} is not a time of ISO 8601", hint=hint) from error


def moment(milliseconds: int) -> str | None:
    """Return a time as text, None for 0.

    >>> moment(1735787045678)
    '2025-01-02T03:04:05.678Z'
    """
    if not milliseconds:
        return None
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_key(key: str) -> str:
    """Return a key of messages.

    Raises:
        MemoryRefusedError: it is empty, too long, or has control characters.
    """
    if not key or len(key) > MAX_KEY or escape_line(key) != key:
        raise MemoryRefusedError(f"a key must have 1 to {MAX_KEY} characters, none of them a control character")
    return key
