"""Check records before a vector store writes any of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any

from compozy.errors import VectorError
from compozy.vector.metadata_filter import Condition, is_text, json_text
from compozy.vector.vector_store import VectorRecord, unit_vector

_LARGEST = 2**63
# Types whose valid values are the same after encoding and decoding as JSON.
_PLAIN: dict[type, Callable[[Any], bool]] = {
    str: is_text,
    int: lambda value: -_LARGEST <= value < _LARGEST,
    float: math.isfinite,
    bool: lambda _: True,
    NoneType: lambda _: True,
}


def checked(records: Sequence[VectorRecord], dimension: int | None) -> dict[str, VectorRecord]:
    """Return the last record of each id, with a vector of length 1 and metadata of JSON values.

    Raises:
        VectorError: a vector has another `dimension` (None: than the first) or no direction, an id is empty, or a text
            or the metadata cannot be stored by every engine.
    """
    found = {}
    for record in records:
        dimension = dimension or len(record.vector)
        vector = unit_vector(record.vector, dimension)
        found[record.id] = VectorRecord(record.id, vector, record.text, _metadata(record))
    return found


def _metadata(record: VectorRecord) -> Mapping[str, object]:
    """Return the metadata of a record as JSON values, after a check of all its texts."""
    if not record.id:
        raise VectorError("a record has no id")
    metadata = dict(record.metadata)
    texts = is_text(record.id) and is_text(record.text)
    # Almost all metadata are plain, and to encode and decode them costs more than everything else about a record.
    if texts and all(
        type(key) is str and is_text(key) and type(value) in _PLAIN and _PLAIN[type(value)](value)
        for key, value in metadata.items()
    ):
        return metadata
    data = json_text(metadata)
    if data is None or not texts:
        reason = f"record {record.id!r} has an id, a text or metadata that cannot be stored"
        raise VectorError(reason, hint="use JSON values in UTF-8, with finite numbers and without NUL characters")
    found: Mapping[str, object] = _decode(data)
    return found


def _integer(digits: str) -> int:
    """Return an integer of metadata; engines keep larger ones with fewer digits."""
    if not -_LARGEST <= int(digits) < _LARGEST:
        raise VectorError(f"the integer {digits} in metadata is too large", hint="write integers of 64 bits, or a text")
    return int(digits)


# Built once: `json.loads` with an argument builds a decoder for each call.
_decode = json.JSONDecoder(parse_int=_integer).decode


def check_selection(ids: Sequence[str] | None, where: Mapping[str, Condition] | None) -> None:
    """Require ids or a filter, so that no omitted argument deletes every record.

    Raises:
        VectorError: neither of the two is given, or both.
    """
    if (ids is None) == (where is None):
        raise VectorError("a deletion needs either ids or a filter")
