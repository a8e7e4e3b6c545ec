"""Typed records of the HTTP interface's responses about memories; clients without a server return the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from compozy.client.answers import Answer
from compozy.memory.message import MemoryKey, MemoryStats, MemorySummary, StoredMessage


class MemoryList(Answer, frozen=True, kw_only=True):
    """The declared memories, in the order of the configuration."""

    memories: Sequence[MemorySummary]


class MemoryKeys(Answer, frozen=True, kw_only=True):
    """Keys of one memory, ordered by name; `next_cursor` is null on the last page."""

    memory: str
    keys: Sequence[MemoryKey]
    next_cursor: Annotated[str | None, Meta(description="Null on the last page.")] = None


class MemoryMessages(Answer, frozen=True, kw_only=True):
    """Messages of one key, the oldest first, and its statistics."""

    memory: str
    key: str
    messages: Sequence[StoredMessage]
    stats: MemoryStats


class MemoryChanged(Answer, frozen=True, kw_only=True):
    """The changes of an operation: the numbers of removed and evicted messages, and the statistics after it."""

    memory: str
    key: str
    removed: int
    stats: MemoryStats
