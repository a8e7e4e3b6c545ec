"""The operators, filters and functions of templates: pure functions over JSON values, each with its bound beside it.

`take`, `items`, `search` and `weigh` count a value before the work on it; the compiler bounds the result. The tables
are part of docs/reference/expressions.md.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from functools import partial, reduce
from typing import Any, NamedTuple

from jinja2 import nodes

from compozy.base.suggest import closest
from compozy.workflows.expressions.bounds import Budget, kind

_RAISE: object = object()


class MissingValueError(LookupError):
    """A name, member or item that does not exist; the text is made when it is shown, because `default` drops it."""

    def __str__(self) -> str:
        """Return the reason, with the members or the length that there are."""
        key, holder = self.args
        if isinstance(holder, (list, str)) and type(key) is int:
            return f"item {key} does not exist; the length is {len(holder)}"
        if not isinstance(holder, dict):
            return f'"{str(key)[:100]}" is undefined: {kind(holder)} has no such member'
        meant = closest(str(key), list(holder)[:1000])
        advice = f'did you mean "{meant}"?' if meant else f"there are: {', '.join([*holder][:20]) or 'none'}"
        return f'"{str(key)[:100]}" is undefined; {advice}'


def member(holder: object, key: object) -> Any:
    """Return a member of a mapping, or an item of a list or a text; attributes of Python are out of reach."""
    if isinstance(holder, dict) and isinstance(key, str) and key in holder:
        return holder[key]
    if isinstance(holder, (list, str)) and type(key) is int and -len(holder) <= key < len(holder):
        return holder[key]
    raise MissingValueError(key, holder)


def _calculate(node: type[nodes.BinExpr], budget: Budget, left: Any, right: object) -> object:
    if not {type(left), type(right)} <= {int, float}:
        raise TypeError(f"{node.operator} needs numbers, not {kind(left)} and {kind(right)}; ~ joins texts")
    if node is nodes.Pow:
        # Platforms differ in the powers of fractions.
        if not (isinstance(left, int) and isinstance(right, int) and right >= 0):
            raise TypeError("** takes whole numbers, of which the second is not negative")
        if (left.bit_length() - 1) * right > budget.limits.number_bits:
            raise OverflowError("the number is too large")
    return budget.result(_ARITHMETIC[node](left, right))


def compare(names: Iterable[str], budget: Budget, *operands: Any) -> bool:
    """Return True if all neighbours compare so; equality of any values, order of two numbers or texts, containment."""
    return all(_compare(budget, *pair) for pair in zip(names, operands, operands[1:], strict=False))


def _compare(budget: Budget, name: str, left: object, right: object) -> bool:
    if name in ("in", "notin"):
        return _contains(budget, right, left) is (name == "in")
    types = {type(left), type(right)}
    if name not in ("eq", "ne") and types != {str} and not types <= {int, float}:
        raise TypeError(f"{kind(left)} and {kind(right)} have no order")
    if not types <= {int, float}:
        budget.weigh(left, right)
    return bool(_COMPARISONS[name](left, right))


def _contains(budget: Budget, holder: object, item: object) -> bool:
    if isinstance(holder, list):
        budget.weigh(holder)
    elif not isinstance(item, str) or not isinstance(holder, (dict, str)):
        raise TypeError(f"{kind(item)} cannot be in {kind(holder)}")
    elif isinstance(holder, str):
        budget.search(holder, item)
    return item in holder


def _members(budget: Budget, value: object, attribute: str | None) -> list[object]:
    items = budget.items(value)
    return items if attribute is None else [member(item, attribute) for item in items]


def _sort(budget: Budget, value: object, reverse: bool = False, attribute: str | None = None) -> list[object]:
    items, keys = budget.items(value), _members(budget, value, attribute)
    budget.spend((len(keys) + budget.weigh(*keys) // 16) * len(keys).bit_length() // 4)
    types = (str,) if keys and isinstance(keys[0], str) else (int, float)
    sortable = [budget.take(key, *types) for key in keys]
    return [items[index] for index in sorted(range(len(items)), key=sortable.__getitem__, reverse=reverse)]


def _sum(budget: Budget, value: object, attribute: str | None = None) -> object:
    # The built-in sum() rounds in another way from Python 3.12 on.
    return reduce(operator.add, [budget.take(item, int, float) for item in _members(budget, value, attribute)], 0)


def _number(convert: Callable[[Any], object]) -> Callable[..., object]:
    def number(budget: Budget, value: object, default: object = _RAISE) -> object:
        try:
            budget.weigh(value)
            return budget.result(convert(value))
        except (TypeError, ValueError, OverflowError):
            if default is _RAISE:
                raise ValueError(f"{kind(value)} is not a number here") from None
            return default

    return number


def _round(budget: Budget, value: object, digits: int = 0) -> object:
    if not -20 <= budget.take(digits, int) <= 20:
        raise ValueError("round takes from -20 to 20 digits")
    return round(budget.take(value, int, float), digits or None)


def concatenate(budget: Budget, *values: object, between: str = "") -> str:
    """Return one text of all values."""
    parts = [budget.string(value) for value in values]
    budget.fits(sum(map(len, parts)) + len(budget.take(between, str)) * len(parts))
    return str(budget.result(between.join(parts)))


def _replace(budget: Budget, value: object, old: str, new: str) -> str:
    text, growth = budget.search(value, old), len(budget.take(new, str)) - len(old)
    if not old:
        raise ValueError("replace needs a text to look for")
    budget.fits(len(text) + text.count(old) * max(0, growth))
    return text.replace(old, new)


def _split(budget: Budget, value: object, by: str = " ") -> list[str]:
    text = budget.search(value, by)
    budget.spend(4 * text.count(by))
    return text.split(by)


def _truncate(budget: Budget, value: object, length: int = 255, end: str = "…") -> str:
    text, cut = budget.take(value, str), max(0, budget.take(length, int) - len(budget.take(end, str)))
    return text if len(text) <= length else f"{text[:cut]}{end}"


def _range(budget: Budget, start: int, stop: int | None = None, step: int = 1) -> list[int]:
    first, last = (0, start) if stop is None else (start, stop)
    numbers = range(*(budget.take(limit, int) for limit in (first, last, step)))
    budget.spend(4 * len(numbers))
    return list(numbers)


class Function(NamedTuple):
    """A filter or a function: what it computes, behind the budget, and its line in the documentation."""

    call: Callable[..., object]
    about: str


_ARITHMETIC: Mapping[type[nodes.BinExpr], Callable[..., object]] = {
    nodes.Add: operator.add, nodes.Sub: operator.sub, nodes.Mul: operator.mul, nodes.Div: operator.truediv,
    nodes.FloorDiv: operator.floordiv, nodes.Mod: operator.mod, nodes.Pow: operator.pow,
}  # fmt: skip
_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "lteq": operator.le, "gt": operator.gt,
    "gteq": operator.ge,
}  # fmt: skip
OPERATORS: Mapping[type[nodes.Node], Callable[..., object]] = {
    **{node: partial(_calculate, node) for node in _ARITHMETIC},
    nodes.Concat: concatenate,
    nodes.Dict: lambda budget, *pairs: dict(pairs),
    nodes.Getitem: lambda budget, holder, key: member(holder, key),
    nodes.List: lambda budget, *values: [*values],
    nodes.Neg: lambda budget, value: -budget.take(value, int, float),
    nodes.Not: lambda budget, value: not value,
    nodes.Output: concatenate,
    nodes.Pair: lambda budget, key, value: (budget.take(key, str), value),
    nodes.Pos: lambda budget, value: +budget.take(value, int, float),
    nodes.Tuple: lambda budget, *values: [*values],
}
FUNCTIONS: Mapping[str, Function] = {
    "range": Function(_range, "whole numbers from `start`, or 0, up to and without `stop`"),
}
FILTERS: Mapping[str, Function] = {
    "default": Function(lambda b, value, default: value, "`default` where a name or member in front does not exist"),
    "endswith": Function(lambda b, text, end: b.take(text, str).endswith(b.take(end, str)), "true or false"),
    "first": Function(lambda b, items: member(b.take(items, list, str), 0), "first item or character"),
    "float": Function(_number(float), "number; `default` instead of an error"),
    "int": Function(_number(int), "whole number, cut; `default` instead of an error"),
    "items": Function(lambda b, mapping: [[k, mapping[k]] for k in b.items(b.take(mapping, dict))], "`[key, value]`s"),
    "join": Function(
        lambda b, items, between="": concatenate(b, *b.items(items), between=between), "one text of all items"
    ),
    "keys": Function(lambda b, mapping: b.items(b.take(mapping, dict)), "keys of a mapping"),
    "last": Function(lambda b, items: member(b.take(items, list, str), -1), "last item or character"),
    "length": Function(lambda b, value: len(b.take(value, list, dict, str)), "number of items, keys or characters"),
    "list": Function(Budget.items, "items of a list, keys of a mapping, characters of a text"),
    "lower": Function(lambda b, text: b.take(text, str).lower(), "text in lower case"),
    "map": Function(_members, "list of the member `attribute` of each item"),
    "max": Function(lambda b, items, attribute=None: member(_sort(b, items, True, attribute), 0), "greatest item"),
    "min": Function(lambda b, items, attribute=None: member(_sort(b, items, False, attribute), 0), "least item"),
    "replace": Function(_replace, "text with `new` for each `old`"),
    "reverse": Function(lambda b, items: b.items(items)[::-1], "list from last to first"),
    "round": Function(_round, "rounded number, halves to the even one"),
    "sort": Function(_sort, "list of numbers, or of texts by code point, in order, by the member `attribute`"),
    "split": Function(_split, "list of the parts of a text"),
    "startswith": Function(lambda b, text, start: b.take(text, str).startswith(b.take(start, str)), "true or false"),
    "string": Function(Budget.string, "text as it is, everything else as JSON"),
    "sum": Function(_sum, "sum of numbers, from first to last"),
    "tojson": Function(Budget.json, "JSON"),
    "trim": Function(lambda b, text: b.take(text, str).strip(), "text without white space around it"),
    "truncate": Function(_truncate, "text of at most `length` characters"),
    "unique": Function(
        lambda b, items: list({b.json(i): i for i in b.items(items)}.values()), "list without repetitions"
    ),
    "upper": Function(lambda b, text: b.take(text, str).upper(), "text in capital letters"),
    "values": Function(lambda b, mapping: [mapping[k] for k in b.items(b.take(mapping, dict))], "values of a mapping"),
}
