"""Check that a value can be stored and sent: JSON of limited depth and size, in valid Unicode.

Temporal, SQLite and PostgreSQL have different limits, and some of them fail late; this check fails first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import chain, islice

MAX_DEPTH = 100
MAX_VALUE_BYTES = 1_000_000
_WRAPPING_BYTES = 1_000
MAX_REASON = 4000
_REMEDIES = {
    "bytes": "decode it to text",
    "date": "use isoformat()",
    "datetime": "use isoformat()",
    "Decimal": "use str() or float()",
    "set": "use sorted()",
    "coroutine": "await it",
}


def why_not_plain(value: object, most_bytes: int = MAX_VALUE_BYTES) -> str | None:
    """Return what keeps `value` from being stored and sent, or None; sizes are those of ASCII JSON.

    The quotes of a text, and names and punctuation of the mapping around it, are not counted up to 1,000 bytes.

    >>> why_not_plain({"a": [1, None, "x"]}), why_not_plain("long" * 1000, 3)
    (None, 'it has 4002 bytes as JSON; at most 3 are taken')
    """
    problem = shape_problem(value)
    if problem is not None:
        return problem
    try:
        text = json.dumps(value, allow_nan=False)
        # Only escapes of this form can be half of a surrogate pair; most values have none and are not encoded twice.
        if "\\ud" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "it holds half of a character (a lone surrogate)"
    except (TypeError, ValueError) as error:
        return f"it is not JSON: {_foreign_part(value) or error}"
    if len(text) <= most_bytes + _WRAPPING_BYTES:
        return None
    return f"it has {len(text)} bytes as JSON; at most {most_bytes} are taken"


def _foreign_part(value: object, path: str = "") -> str | None:
    """Return which part of a value no JSON can hold, with a remedy; the value is not nested too deeply."""
    items: Iterable[tuple[str, object]] = ()
    if isinstance(value, Mapping):
        items = ((f".{key}", item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        items = ((f"[{index}]", item) for index, item in enumerate(value))
    elif not isinstance(value, (str, int, float, bool, type(None))):
        kind = type(value).__name__
        remedy = _REMEDIES.get(kind, "convert it to text, numbers or lists")
        return f"{path.lstrip('.') or 'the value'} has the type {kind}; {remedy}"
    return next((found for key, item in items if (found := _foreign_part(item, path + key))), None)


def clean_reason(text: str) -> str:
    """Return a message that every store takes: of a sane length, without half characters and zero bytes."""
    safe = text[:MAX_REASON].encode("utf-8", "backslashreplace").decode()
    return safe.replace("\0", "\\x00")


def shape_problem(value: object, most_values: int = MAX_VALUE_BYTES) -> str | None:
    """Return why `value` is too deep or has too many values, shared ones counted each time, or None.

    >>> shape_problem([[1, 2], 3]), shape_problem([1, 2], 2)
    (None, 'it has more than 2 values')
    """
    level: list[object] = [value]
    count = 0
    for _ in range(MAX_DEPTH + 1):
        count += len(level)
        if count > most_values:
            return f"it has more than {most_values} values"
        children = chain.from_iterable(_children(item) for item in level)
        level = list(islice(children, most_values + 1))
        if not level:
            return None
    return f"it is nested deeper than {MAX_DEPTH} levels"


def _children(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()
