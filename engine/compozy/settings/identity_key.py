"""A cache key that compares records by identity, for records that cannot be hashed, such as a registry.

The key keeps its record alive, so that the identity is not reused.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Record = TypeVar("Record")


class ById(Generic[Record]):
    """Compares and hashes by the identity of `record`."""

    __slots__ = ("record",)

    def __init__(self, record: Record) -> None:
        self.record = record

    def __hash__(self) -> int:
        return id(self.record)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ById) and self.record is other.record
