"""Filters of vectors by their metadata: `{"language": "en", "year": [2024, 2025]}`.

A key with a value matches metadata with an equal value; a key with a list matches any of its values; all keys must
match. Values are compared as JSON: `1` equals `1.0`, `true` equals neither, and a missing key equals nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from compozy.errors import VectorError

Scalar: TypeAlias = str | int | float | bool | None
Condition: TypeAlias = Scalar | Sequence[Scalar]
_LONGEST = 64
# Built once: `json.dumps` with an argument builds an encoder for each call.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_ENCODER = msgspec.json.Encoder()


def accepted(condition: Condition) -> list[Scalar]:
    """Return the values of which a condition accepts any, without those that no metadata can have.

    Raises:
        VectorError: the condition holds anything else than texts, numbers, booleans and null.
    """
    found = list[Scalar]()
    for value in condition if isinstance(condition, list | tuple) else [condition]:
        if not isinstance(value, str | int | float | bool | None):
            raise VectorError(
                f"a filter compares with texts, numbers, true, false and null, not {type(value).__name__}"
            )
        found += [value] if is_json(value) else []
    return found


def is_json(value: object) -> bool:
    """Return True if every store can keep the value: JSON in UTF-8, with finite numbers and without NUL characters."""
    return is_text(value) if isinstance(value, str) else json_text(value) is not None


def is_text(value: object) -> bool:
    """Return True if every store can keep the value as a text: UTF-8 without NUL characters."""
    try:
        return isinstance(value, str) and "\0" not in value and value.encode() is not None
    except UnicodeEncodeError:
        return False


def json_text(value: object) -> str | None:
    """Return the JSON of a value; None if some store cannot keep it."""
    try:
        text = _encode(value)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        return None
    return None if "\\u0000" in text.replace("\\\\", "") else text


def metadata_json(metadata: Mapping[str, object]) -> bytes:
    """Return the JSON of metadata that were checked: this encoder writes null for a number that is not finite."""
    return _ENCODER.encode(metadata)


def matches(metadata: Mapping[str, object], where: Mapping[str, Condition]) -> bool:
    """Return True if `metadata` matches every condition of `where`."""
    return all(
        key in metadata and any(_equal(metadata[key], value) for value in accepted(condition))
        for key, condition in where.items()
    )


def _equal(value: object, wanted: Scalar) -> bool:
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def facts(metadata: Mapping[str, object]) -> list[str]:
    """Return a keyword for each scalar, for engines that compare keywords."""
    return [fact(key, value) for key, value in metadata.items() if isinstance(value, str | int | float | None)]


def fact(key: str, value: Scalar) -> str:
    """Return a keyword that is equal for equal JSON values of the same name."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # `json.dumps` builds an encoder for a list or a number, but none for a text.
    text = f"[{json.dumps(key)}, {value if type(value) is int else json.dumps(value)}]"
    return text if len(text) <= _LONGEST else "#" + hashlib.sha256(text.encode()).hexdigest()
