"""The filters and functions of templates, each with the bound of its work and size.

Every one is pure, takes and returns JSON values, and counts its work before it does it. Nothing else can be called.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from compozy.workflows.budget import Budget, checked_number

_ITEM = 4  # units for one item of a new list: its memory counts as well
_RAISE: Any = object()
_KINDS = {"str": "a text", "list": "a list", "dict": "a mapping"}


def text_of(budget: Budget, value: Any) -> str:
    """Return how a value reads inside a text: texts as they are, everything else as JSON."""
    return value if isinstance(value, str) else to_json(budget, value)


def to_json(budget: Budget, value: Any) -> str:
    """Return the JSON of a value."""
    budget.text(budget.weigh(value))
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def items_of(budget: Budget, value: Any) -> list[Any]:
    """Return the items of a list, the keys of a mapping or the characters of a text."""
    if not isinstance(value, (list, dict, str)):
        raise TypeError(f"expected a list, not {kind(value)}")
    budget.spend(1 + _ITEM * len(value))
    return list(value)


def kind(value: Any) -> str:
    """Return the name of a value's JSON type, with its article."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true or false"
    return _KINDS.get(type(value).__name__, "a number")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, not {kind(value)}; the filter string makes one")
    return value


def is_number(value: Any) -> bool:
    """Return True for numbers, to which true and false do not belong."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _length(budget: Budget, value: Any) -> int:
    if not isinstance(value, (list, dict, str)):
        raise TypeError(f"{kind(value)} has no length")
    return len(value)


def _sized(change: Callable[[str], str]) -> Callable[[Budget, Any], str]:
    def changed(budget: Budget, value: Any) -> str:
        budget.text(len(_text(value)))
        return change(value)

    return changed


def _replace(budget: Budget, value: Any, old: str, new: str) -> str:
    budget.search(_text(value), _text(old))
    if not old:
        raise ValueError("replace needs a text to look for")
    budget.text(len(value) + value.count(old) * max(0, len(_text(new)) - len(old)))
    return str(value.replace(old, new))


def _split(budget: Budget, value: Any, by: str = " ") -> list[str]:
    budget.search(_text(value), _text(by))
    budget.spend(_ITEM * (1 + (value.count(by) if by else 0)))
    return value.split(by)  # type: ignore[no-any-return]


def _join(budget: Budget, value: Any, between: str = "") -> str:
    parts = [text_of(budget, item) for item in items_of(budget, value)]
    budget.text(sum(map(len, parts)) + len(_text(between)) * len(parts))
    return between.join(parts)


def _truncate(budget: Budget, value: Any, length: int = 255, end: str = "…") -> str:
    budget.text(len(_text(value)))
    return _text(value) if len(value) <= length else value[: max(0, length - len(_text(end)))] + end


def _end(index: int) -> Callable[[Budget, Any], Any]:
    def end(budget: Budget, value: Any) -> Any:
        items = items_of(budget, value)
        if not items:
            raise LookupError("the list is empty; default gives a value for that")
        return items[index]

    return end


def _map(budget: Budget, value: Any, attribute: str) -> list[Any]:
    found = items_of(budget, value)
    if not all(isinstance(item, dict) and attribute in item for item in found):
        raise LookupError(f'"{attribute}" is undefined in an item of the list')
    return [item[attribute] for item in found]


def _comparable(budget: Budget, value: Any, attribute: str | None) -> tuple[list[Any], list[Any]]:
    keys = items_of(budget, value) if attribute is None else _map(budget, value, attribute)
    if not (all(map(is_number, keys)) or all(isinstance(key, str) for key in keys)):
        raise TypeError("the items are neither all numbers nor all texts")
    budget.spend(budget.weigh(*keys) * len(keys).bit_length() // 4)
    return items_of(budget, value), keys


def _sort(budget: Budget, value: Any, reverse: bool = False, attribute: str | None = None) -> list[Any]:
    items, keys = _comparable(budget, value, attribute)
    return [items[index] for index in sorted(range(len(items)), key=keys.__getitem__, reverse=reverse)]


def _extreme(choose: Callable[..., int]) -> Callable[..., Any]:
    def extreme(budget: Budget, value: Any, attribute: str | None = None) -> Any:
        items, keys = _comparable(budget, value, attribute)
        return items[choose(range(len(items)), key=keys.__getitem__)]

    return extreme


def _unique(budget: Budget, value: Any) -> list[Any]:
    # The keys are texts, whose hashes cannot be chosen to collide.
    return list({to_json(budget, item): item for item in items_of(budget, value)}.values())


def _sum(budget: Budget, value: Any, attribute: str | None = None) -> Any:
    numbers = items_of(budget, value) if attribute is None else _map(budget, value, attribute)
    if not all(map(is_number, numbers)):
        raise TypeError("sum adds numbers only")
    return checked_number(sum(numbers))


def _round(budget: Budget, value: Any, digits: int = 0) -> Any:
    if not is_number(value) or not isinstance(digits, int) or abs(digits) > 20:
        raise TypeError("round takes a number, and from -20 to 20 digits")
    return round(value, digits) if digits else checked_number(round(value))


def _number(convert: Callable[[Any], Any]) -> Callable[..., Any]:
    def number(budget: Budget, value: Any, default: Any = _RAISE) -> Any:
        budget.weigh(value)
        try:
            return checked_number(convert(value))
        except (TypeError, ValueError, OverflowError):
            if default is _RAISE:
                raise ValueError(f"{kind(value)} is not a number here") from None
            return default

    return number


def _mapping(part: Callable[[Mapping[str, Any]], Any]) -> Callable[[Budget, Any], list[Any]]:
    def parts(budget: Budget, value: Any) -> list[Any]:
        if not isinstance(value, dict):
            raise TypeError(f"expected a mapping, not {kind(value)}")
        budget.spend(2 * _ITEM * len(value))
        return list(part(value))

    return parts


def _range(budget: Budget, *limits: Any) -> list[int]:
    if not all(isinstance(limit, int) and limit.bit_length() < 63 for limit in limits):
        raise TypeError("range takes whole numbers")
    numbers = range(*limits)
    budget.spend(math.ceil(_ITEM * len(numbers)))
    return list(numbers)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {"range": _range}
FILTERS: Mapping[str, Callable[..., Any]] = {
    "first": _end(0), "float": _number(float), "int": _number(int),
    "items": _mapping(lambda found: [[key, value] for key, value in found.items()]),
    "join": _join, "keys": _mapping(lambda found: found.keys()), "last": _end(-1), "length": _length, "list": items_of,
    "lower": _sized(str.lower), "map": _map, "max": _extreme(max), "min": _extreme(min), "replace": _replace,
    "reverse": lambda budget, value: items_of(budget, value)[::-1], "round": _round, "sort": _sort, "split": _split,
    "string": text_of, "sum": _sum, "tojson": to_json, "trim": _sized(str.strip), "truncate": _truncate,
    "unique": _unique, "upper": _sized(str.upper), "values": _mapping(lambda found: found.values()),
}  # fmt: skip
