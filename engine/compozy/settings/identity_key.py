"""A cache key for records that are equal to themselves only.

What comes in: a record whose contents cannot be hashed, such as a registry. What goes out: a key that keeps it
alive, so that its identity is not given to another one.
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
