"""Say whether a value can travel: JSON, not nested too deeply, not too large, all of it Unicode.

What comes in: any value. What goes out: None, or the reason why not. Temporal, SQLite and PostgreSQL each refuse
something else, some of them only when it is too late; this refuses it first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import chain, islice
from typing import Any

MAX_DEPTH = 100
MAX_VALUE_BYTES = 1_000_000
_WRAPPING_BYTES = 1_000
MAX_REASON = 4000


def why_not_plain(value: Any, most_bytes: int = MAX_VALUE_BYTES) -> str | None:
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
        if "\\ud" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "it holds half of a character (a lone surrogate)"
    except (TypeError, ValueError) as error:
        return f"it is not JSON: {error}"
    if len(text) <= most_bytes + _WRAPPING_BYTES:
        return None
    return f"it has {len(text)} bytes as JSON; at most {most_bytes} are taken"


def clean_reason(text: str) -> str:
    """Return a message that every store takes: of a sane length, without half characters and zero bytes."""
    safe = text[:MAX_REASON].encode("utf-8", "backslashreplace").decode()
    return safe.replace("\0", "\\x00")


def shape_problem(value: Any, most_values: int = MAX_VALUE_BYTES) -> str | None:
    """Return why `value` is too deep or has too many values, shared ones counted each time, or None.

    >>> shape_problem([[1, 2], 3]), shape_problem([1, 2], 2)
    (None, 'it has more than 2 values')
    """
    level: list[Any] = [value]
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


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()
