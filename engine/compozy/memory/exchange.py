"""The file that `compozy memory export` writes and `import` reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from compozy.errors import UsageError
from compozy.memory.message import (
    MAX_CONTENT_BYTES,
    MAX_MESSAGES,
    MemoryRefusedError,
    check_key,
    read_messages,
    text_of,
)


class ExportedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key with its messages as a read answers them, the oldest first."""

    key: str
    messages: list[dict[str, object]]


class ExportedMemory(msgspec.Struct, frozen=True, kw_only=True):
    """One memory."""

    id: str
    keys: list[ExportedKey]


class MemoryExport(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    format_version: int = 1
    memories: list[ExportedMemory]


def read_exported(exported: object, what: str) -> MemoryExport:
    """Return an export whose keys and messages can be written; `what` names it in messages.

    Raises:
        UsageError: it is not an export, of a newer format, or holds what a memory cannot take.
    """
    try:
        found = msgspec.convert(exported, MemoryExport)
    except msgspec.ValidationError as error:
        hint = "it must be what compozy memory export writes"
        raise UsageError(f"{what} is not an export of memories: {error}", hint=hint) from error
    if found.format_version > 1:
        raise UsageError(f"{what} has format_version {found.format_version}; this version reads 1", hint="upgrade")
    for memory in found.memories:
        for key in memory.keys:
            _check(key, f"{what}: memory {memory.id}, key {key.key}")
    return found


def _check(key: ExportedKey, what: str) -> None:
    try:
        check_key(key.key)
        for part in portions(key.messages):
            read_messages(part)
    except MemoryRefusedError as error:
        raise UsageError(f"{what}: {error.message}", hint=error.hint) from error


def portions(messages: Sequence[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    """Yield messages in portions that one operation takes, at least one portion."""
    part: list[dict[str, object]] = []
    size = 0
    for message in messages:
        more = len(text_of(message.get("content")).encode())
        if part and (len(part) == MAX_MESSAGES or size + more > MAX_CONTENT_BYTES):
            yield part
            part, size = [], 0
        part.append(message)
        size += more
    yield part
