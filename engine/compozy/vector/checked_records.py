"""Check records before a vector store writes any of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from compozy.errors import VectorError
from compozy.vector.vector_store import VectorRecord, unit_vector


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
    try:
        text = json.dumps([record.id, record.text, dict(record.metadata)], ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise VectorError(f"record {record.id!r} has metadata or a text that is not JSON in UTF-8: {error}") from error
    if "\\u0000" in text.replace("\\\\", ""):
        raise VectorError(f"record {record.id!r} has a NUL character", hint="remove it from its id, text or metadata")
    metadata: Mapping[str, object] = json.loads(text)[2]
    return metadata
