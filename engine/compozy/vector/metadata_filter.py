"""Filters of vectors by their metadata: `{"language": "en", "year": [2024, 2025]}`.

A key with a value matches metadata with an equal value; a key with a list matches any of its values; all keys must
match. Values are compared as JSON: `1` equals `1.0`, `true` equals neither, and a missing key equals nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from compozy.errors import VectorError

Scalar: TypeAlias = str | int | float | bool | None
Condition: TypeAlias = Scalar | Sequence[Scalar]


def accepted(condition: Condition) -> list[Scalar]:
    """Return the values of which a condition accepts any.

    Raises:
        VectorError: the condition holds anything else than texts, numbers, booleans and null.
    """
    values = condition if isinstance(condition, list | tuple) else [condition]
    for value in values:
        if not isinstance(value, str | int | float | bool | None):
            raise VectorError(
                f"a filter compares with texts, numbers, true, false and null, not {type(value).__name__}"
            )
    return list(values)


def matches(metadata: Mapping[str, object], where: Mapping[str, Condition]) -> bool:
    """Return True if `metadata` matches every condition of `where`."""
    return all(
        key in metadata and any(_equal(metadata[key], value) for value in accepted(condition))
        for key, condition in where.items()
    )


def _equal(value: object, wanted: Scalar) -> bool:
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)
