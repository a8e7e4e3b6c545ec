"""The declarations of inputs: which mappings are one, which types there are, and how a text becomes a value."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from compozy.base.suggest import closest

INPUT_KEYS = ("default", "description", "required", "type")
# A mapping with more keys is data, in which no key is a misspelled one.
_FEW = 8
_KINDS: Mapping[str, Callable[[object], bool]] = {
    "text": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "list": lambda value: isinstance(value, list),
    "mapping": lambda value: isinstance(value, Mapping),
}
_ALSO = {"string": "text", "array": "list", "object": "mapping"}
INPUT_TYPES = (*_KINDS, *_ALSO)


def is_input_details(value: object) -> bool:
    """Return True for a declaration such as `{default: 3}`, False for a default that is a mapping.

    >>> [is_input_details(value) for value in ({"type": "text"}, {"requird": True}, {"name": "x"}, {}, 3)]
    [True, True, False, False, False]
    """
    if not isinstance(value, Mapping):
        return False
    if any(key in value for key in INPUT_KEYS):
        return True
    return len(value) <= _FEW and any(closest(str(key), INPUT_KEYS) for key in value)


def fits(value: object, kind: str) -> bool:
    """Return True if a value is of an input type; no type fits every value, and null fits every type."""
    return not kind or value is None or _KINDS[_ALSO.get(kind, kind)](value)


def parse_parameter(text: str, kind: str = "", default: object = None) -> object:
    """Return the value that a text stands for, where an input of this type or with this default takes it.

    A declared text stays text. Elsewhere a text is JSON where JSON would write it exactly like that.

    >>> [parse_parameter(text) for text in ("5", "01234", "+49", "1e5", "null", "true", "[1]", "1.50", '"5"')]
    [5, '01234', '+49', '1e5', 'null', True, [1], '1.50', '5']
    >>> parse_parameter("5", "text"), parse_parameter("5", default="x"), parse_parameter("1e5", "number")
    ('5', '5', 100000.0)
    """
    if _ALSO.get(kind, kind) == "text" or (not kind and isinstance(default, str)):
        return text
    try:
        value = json.loads(text)
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    declared = bool(kind) and fits(value, kind)
    exact = value is not None and (written == text or isinstance(value, (list, dict, str)))
    return value if declared or exact else text
