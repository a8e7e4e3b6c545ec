"""The declarations of memories in the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compozy.base.record import dataclass
from compozy.resolution.resolve import Resolved, named_elements


@dataclass(frozen=True, slots=True)
class MemoryDefinition:
    """An element of the setting `memories`; 0 stands for no limit, and for no time to live.

    `key` is the template of the key of tasks that name none, empty for none; `redact` are patterns of RE2.
    """

    id: str
    type: str = "buffer"
    max_messages: int = 0
    max_tokens: int = 0
    ttl_s: float = 0.0
    key: str = ""
    eviction: str = "fifo"
    redact: tuple[str, ...] = ()

    @property
    def is_lru(self) -> bool:
        """Return True if the message is evicted that was least recently written or read."""
        return self.eviction == "lru"

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> MemoryDefinition:
        """Return the definition of an element, whose fields have their defaults."""
        return cls(
            id=fields["id"], type=fields["type"], max_messages=fields.get("max_messages", 0),
            max_tokens=fields.get("max_tokens", 0), ttl_s=fields.get("ttl", 0.0), key=fields.get("key", ""),
            eviction=fields["eviction"], redact=tuple(fields.get("redact") or ()),
        )  # fmt: skip


def memory_definitions(resolved: Resolved) -> dict[str, MemoryDefinition]:
    """Return what a configuration declares, by id."""
    setting = resolved.rulebook.registry.settings["memories"]
    elements = named_elements(setting, resolved.get("memories") or ())
    return {element.name: MemoryDefinition.of({"id": element.name, **element.fields}) for element in elements}
