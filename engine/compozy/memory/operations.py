"""The operations of memories by name, as tasks of workflows ask for them, with JSON as input and output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import to_builtins

from compozy.base.record import dataclass
from compozy.errors import DriverError
from compozy.memory.memory import PAGE, Memory, MemoryChange, Repeatable
from compozy.memory.message import MemoryStats


@dataclass(frozen=True, slots=True)
class MemoryRequest:
    """An operation on one key; `limit` is for reading, `once` makes a repeated write harmless."""

    key: str
    payload: object = None
    limit: int = PAGE
    once: Repeatable | None = None


def perform(memory: Memory, operation: str, request: MemoryRequest) -> dict[str, Any]:
    """Perform one of `OPERATIONS` and return its outcome, with the ids of memory and key.

    A key that does not exist has no messages, and nothing is removed from it.

    Raises:
        DriverError: Redis does not answer; `health` answers that instead.
        MemoryRefusedError: the key or the payload cannot be taken.
    """
    outcome = OPERATIONS[operation](memory, request)
    return {"memory": memory.definition.id, "key": request.key, **outcome}


def _read(memory: Memory, request: MemoryRequest) -> dict[str, object]:
    found = memory.read(request.key, request.limit)
    return {"messages": to_builtins(found.messages), "stats": to_builtins(found.stats)}


def _changed(change: MemoryChange | None) -> dict[str, object]:
    change = change or MemoryChange(0, MemoryStats())
    return {"removed": change.removed, "stats": to_builtins(change.stats)}


def _delete(memory: Memory, request: MemoryRequest) -> dict[str, object]:
    removed = memory.delete(request.key)
    return {"removed": removed or 0, "existed": removed is not None}


def _stats(memory: Memory, request: MemoryRequest) -> dict[str, object]:
    return {"stats": to_builtins(memory.stats(request.key) or MemoryStats())}


def _health(memory: Memory, request: MemoryRequest) -> dict[str, object]:
    try:
        found = memory.stats(request.key) or MemoryStats()
    except DriverError as error:
        return {"healthy": False, "error": error.message}
    limits = ((found.entries, memory.definition.max_messages), (found.tokens, memory.definition.max_tokens))
    over = any(0 < limit < number for number, limit in limits)
    return {"healthy": True, "error": None, "over_limit": over, "stats": to_builtins(found)}


OPERATIONS: Mapping[str, Callable[[Memory, MemoryRequest], dict[str, object]]] = {
    "read": _read,
    "write": lambda memory, request: _changed(memory.write(request.key, request.payload, request.once)),
    "append": lambda memory, request: _changed(memory.append(request.key, request.payload, request.once)),
    "delete": _delete,
    "clear": lambda memory, request: _changed(memory.clear(request.key)),
    "flush": lambda memory, request: _changed(memory.flush(request.key)),
    "stats": _stats,
    "health": _health,
}
