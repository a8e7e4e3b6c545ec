"""Use one memory of a project through its running server."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from compozy.client.memory_answers import MemoryChanged, MemoryKeys, MemoryMessages

if TYPE_CHECKING:
    from compozy.client.remote import RemoteClient


class RemoteMemory:
    """See `MemoryClient`; `path` is that of the memory on the server."""

    def __init__(self, client: RemoteClient, path: str) -> None:
        self._client = client
        self._path = path

    def keys(self, limit: int, after: str = "") -> MemoryKeys:
        """Return keys behind `after`, ordered by name."""
        cursor = f"&cursor={quote(after, safe='')}" if after else ""
        return self._client.ask(MemoryKeys, "GET", f"{self._path}?limit={limit}{cursor}")

    def read(self, key: str, limit: int, before: int = 0) -> MemoryMessages:
        """Return the newest messages of a key that are older than the id `before`."""
        older = f"&before={before}" if before else ""
        return self._client.ask(MemoryMessages, "GET", f"{self._at(key)}?limit={limit}{older}")

    def append(self, key: str, payload: object) -> MemoryChanged:
        """Add messages to a key."""
        return self._client.ask(MemoryChanged, "POST", self._at(key), payload)

    def write(self, key: str, payload: object) -> MemoryChanged:
        """Replace the messages of a key."""
        return self._client.ask(MemoryChanged, "PUT", self._at(key), payload)

    def clear(self, key: str) -> MemoryChanged:
        """Remove the messages of a key, and keep its statistics."""
        return self._client.ask(MemoryChanged, "DELETE", f"{self._at(key)}?only=messages")

    def delete(self, key: str) -> MemoryChanged:
        """Remove a key."""
        return self._client.ask(MemoryChanged, "DELETE", self._at(key))

    def _at(self, key: str) -> str:
        return f"{self._path}/{quote(key, safe='')}"
