"""Records of vector stores as points of Qdrant, embedded or a server; both libraries have the same models.

A point's id is a UUID of the record's id. Each scalar of the metadata is also a keyword of the field `facts`, which
has an index: filters compare keywords, so names with any characters, null and numbers of any type are compared as JSON.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from compozy.vector.metadata_filter import Condition, Scalar, accepted
from compozy.vector.ranking import rounded
from compozy.vector.vector_store import VectorMatch, VectorRecord

FACTS = "facts"
_NAMESPACE = uuid.UUID("5f0c2a8e-6d0b-5b52-9a51-0d3b4c8f7e21")
_LONGEST = 64


def point_id(record_id: str) -> str:
    """Return the id of the point of a record."""
    return str(uuid.uuid5(_NAMESPACE, record_id))


def payload_of(record: VectorRecord) -> dict[str, Any]:
    """Return the payload of the point of a record."""
    facts = [_fact(key, value) for key, value in record.metadata.items() if _is_scalar(value)]
    return {"id": record.id, "text": record.text, "metadata": dict(record.metadata), FACTS: facts}


def match_of(score: float, payload: Mapping[str, Any]) -> VectorMatch:
    """Return a found point as a match; `score` is its cosine similarity."""
    return VectorMatch(payload["id"], rounded(score), payload["text"], payload["metadata"])


def record_of(vector: Iterable[float], payload: Mapping[str, Any]) -> VectorRecord:
    """Return the record of a point."""
    return VectorRecord(payload["id"], list(vector), payload["text"], payload["metadata"])


def filter_of(models: Any, where: Mapping[str, Condition] | None) -> Any:
    """Return a filter of metadata in the classes of `models`, or None for all points."""
    if not where:
        return None
    facts = [[_fact(key, value) for value in accepted(condition)] for key, condition in where.items()]
    # Qdrant takes an empty list for no condition, and no fact is an empty text.
    conditions = [models.FieldCondition(key=FACTS, match=models.MatchAny(any=values or [""])) for values in facts]
    return models.Filter(must=conditions)


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float | bool | None)


def _fact(key: str, value: object) -> str:
    """Return a keyword that is equal for equal JSON values of the same name."""
    number: Scalar = int(value) if isinstance(value, float) and value.is_integer() else value  # type: ignore[assignment]
    text = json.dumps([key, number])
    return text if len(text) <= _LONGEST else "#" + hashlib.sha256(text.encode()).hexdigest()
