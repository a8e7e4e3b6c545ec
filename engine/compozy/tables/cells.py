"""Parse the cells of a table as conditions, and print conditions as YAML data or in words.

The words `set`, `unset` and `any` stand for themselves only inside `is` and `in`.
"""

from __future__ import annotations

import json

from compozy.base.document import Node, resolve_scalar
from compozy.base.findings import Finding
from compozy.base.place import Place
from compozy.errors import RuleTableError
from compozy.tables.table import ANY, SET, UNSET, Condition, Interval, Scalar, is_number

_WORDS = {"set": SET, "unset": UNSET, "any": ANY}
BOUNDS = ("above", "at_least", "below", "at_most")


class CellError(RuleTableError):
    """A condition that cannot be understood; `place` is where."""

    def __init__(self, place: Place, reason: str) -> None:
        super().__init__([Finding.at("malformed", reason, place)])
        self.place = place
        self.reason = reason


def parse_condition(node: Node) -> Condition:
    """Read one cell of `when`.

    Raises:
        CellError: the cell is none of the forms that a condition may have.
    """
    if isinstance(node.value, list):
        return _parse_list(node)
    if isinstance(node.value, dict):
        return _parse_mapping(node)
    word = _WORDS.get(node.value) if isinstance(node.value, str) else None
    return word or Condition.of([node.value])


def _parse_list(node: Node) -> Condition:
    if not node.value:
        raise CellError(node.place, "an empty list never holds; list the values, or write `any`")
    parts = [_parse_member(item) for item in node.value]
    values: list[Scalar] = [value for part in parts for value in part.values]
    values += [None for part in parts if part.unset]
    return Condition.of(values, [interval for part in parts for interval in part.intervals])


def _parse_member(node: Node) -> Condition:
    if isinstance(node.value, list):
        raise CellError(node.place, "a list cannot hold a list")
    part = parse_condition(node)
    if part.negated:
        raise CellError(node.place, "a list may hold values, ranges and `unset`; put `not` around the list")
    return part


def _parse_mapping(node: Node) -> Condition:
    keys = list(node.value)
    if keys == ["is"]:
        return Condition.of([_scalar(node.value["is"])])
    if keys == ["in"]:
        return _parse_in(node.value["in"])
    if keys == ["not"]:
        return parse_condition(node.value["not"]).inverted()
    if keys and all(key in BOUNDS for key in keys):
        return _parse_range(node)
    raise CellError(
        node.place,
        "not a condition: expected a value, a list, `set`, `unset`, `any`, or exactly one of "
        "{is: ..}, {in: [..]}, {not: ..}, or bounds {above, at_least, below, at_most}",
    )


def _parse_in(node: Node) -> Condition:
    if not isinstance(node.value, list) or not node.value:
        raise CellError(node.place, "`in` needs a list of values")
    return Condition.of([_scalar(item) for item in node.value])


def _scalar(node: Node) -> Scalar:
    if isinstance(node.value, dict | list):
        raise CellError(node.place, "a single value is expected here")
    value: Scalar = node.value
    return value


def _parse_range(node: Node) -> Condition:
    bounds = {key: _bound(value) for key, value in node.value.items()}
    for pair in (("above", "at_least"), ("below", "at_most")):
        if all(key in bounds for key in pair):
            raise CellError(node.place, f"`{pair[0]}` and `{pair[1]}` exclude each other; keep one")
    low = bounds.get("above", bounds.get("at_least"))
    high = bounds.get("below", bounds.get("at_most"))
    return Condition.of(intervals=[Interval(low, high, "above" in bounds, "below" in bounds)])


def _bound(node: Node) -> float:
    bound: object = node.value
    if not is_number(bound):
        raise CellError(node.place, "a bound must be a number")
    return bound


def condition_data(condition: Condition) -> object:
    """Return the condition as the plain data that `parse_condition` would read back.

    >>> condition_data(Condition.of(["a", None])), condition_data(SET)
    (['a', 'unset'], 'set')
    """
    if condition.negated:
        return _negated_data(condition)
    parts = [_literal(value) for value in condition.values]
    parts += [bounds for interval in condition.intervals for bounds in _bounds(interval)]
    parts += ["unset"] if condition.unset else []
    if not parts:
        return {"not": "any"}
    return parts[0] if len(parts) == 1 else parts


def _negated_data(condition: Condition) -> object:
    for word in ("any", "set"):
        if condition == _WORDS[word]:
            return word
    return {"not": condition_data(condition.inverted())}


def _literal(value: Scalar) -> object:
    return {"is": value} if isinstance(value, str) and value in _WORDS else value


def _bounds(interval: Interval) -> list[dict[str, float]]:
    # No word means "any number"; two adjacent ranges express it.
    bounds = interval_data(interval)
    return [bounds] if bounds else [{"below": 0}, {"at_least": 0}]


def interval_data(interval: Interval) -> dict[str, float]:
    """Return the bounds of an interval in the words of a cell, empty for any number."""
    bounds: dict[str, float] = {}
    if interval.low is not None:
        bounds["above" if interval.low_open else "at_least"] = interval.low
    if interval.high is not None:
        bounds["below" if interval.high_open else "at_most"] = interval.high
    return bounds


def scalar_words(value: Scalar) -> str:
    """Return a value as YAML would write it; text is quoted only where it must be.

    >>> [scalar_words(value) for value in ("a", "5", 5, True, None)]
    ['a', '"5"', '5', 'true', 'unset']
    """
    if value is None:
        return "unset"
    if isinstance(value, str):
        plain = value.strip() == value and value != "" and value not in _WORDS and resolve_scalar(value) == value
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def condition_words(condition: Condition) -> str:
    """Return a condition in words, `-` for any.

    >>> condition_words(Condition.of(["a", "b"])), condition_words(Condition.of(["a"]).inverted())
    ('a or b', 'not a')
    """
    if condition == ANY:
        return "-"
    if condition == SET:
        return "set"
    parts = [scalar_words(value) for value in condition.values]
    parts += [_interval_words(interval) for interval in condition.intervals]
    parts += ["unset"] if condition.unset else []
    if condition.negated:
        return "not " + " nor ".join(parts)
    return " or ".join(parts) or "never"


def _interval_words(interval: Interval) -> str:
    low = "" if interval.low is None else f"{'>' if interval.low_open else '>='} {scalar_words(interval.low)}"
    high = "" if interval.high is None else f"{'<' if interval.high_open else '<='} {scalar_words(interval.high)}"
    return " and ".join(part for part in (low, high) if part) or "any number"
