"""Use one memory of a project in this process; the server answers requests with it."""

from __future__ import annotations

from typing import TypeVar

from compozy.client.memory_answers import MemoryChanged, MemoryKeys, MemoryMessages
from compozy.errors import NotFoundError
from compozy.memory.memory import Memory, MemoryChange
from compozy.memory.message import MemoryStats

Found = TypeVar("Found")


class LocalMemory:
    """See `MemoryClient`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._id = memory.definition.id

    def keys(self, limit: int, after: str = "") -> MemoryKeys:
        """Return keys behind `after`, ordered by name."""
        keys, following = self._memory.keys(limit, after)
        return MemoryKeys(memory=self._id, keys=keys, next_cursor=following or None)

    def read(self, key: str, limit: int, before: int = 0) -> MemoryMessages:
        """Return the newest messages of a key that are older than the id `before`."""
        found = self._memory.read(key, limit, before)
        self._existing(key, found.stats.created_at)
        return MemoryMessages(memory=self._id, key=key, messages=found.messages, stats=found.stats)

    def append(self, key: str, payload: object) -> MemoryChanged:
        """Add messages to a key."""
        return self._changed(key, self._memory.append(key, payload))

    def write(self, key: str, payload: object) -> MemoryChanged:
        """Replace the messages of a key."""
        return self._changed(key, self._memory.write(key, payload))

    def clear(self, key: str) -> MemoryChanged:
        """Remove the messages of a key, and keep its statistics."""
        return self._changed(key, self._existing(key, self._memory.clear(key)))

    def delete(self, key: str) -> MemoryChanged:
        """Remove a key."""
        removed = self._existing(key, self._memory.delete(key))
        return self._changed(key, MemoryChange(removed, MemoryStats()))

    def _changed(self, key: str, change: MemoryChange) -> MemoryChanged:
        return MemoryChanged(memory=self._id, key=key, removed=change.removed, stats=change.stats)

    def _existing(self, key: str, found: Found | None) -> Found:
        if found is None:
            hint = f"compozy memory list {self._id} shows the keys; one may have expired"
            raise NotFoundError(f"memory {self._id}: key", key, hint=hint)
        return found
