"""Say how large the result of an operation of a template would be, before it is built.

What comes in: the name of a filter, a method, an operator or a test, and what it is given. What goes out: nothing, or
an OverflowError. Each check has the parameters of what it checks. A method that is not in the table cannot be called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any

from markupsafe import Markup

from compozy.workflows.budget import MAX_BITS, MAX_TEXT, MAX_WEIGHT, Budget, too_long

MAX_PRECISION = 400
_ESCAPED = 6  # how many characters one becomes at most when it is escaped
_COPIED_IN_ONE = 16
_SORT_WORK = 100

Check = Callable[..., None]


def _walk(budget: Budget, *values: Any, **named: Any) -> None:
    """Check what makes nothing that is larger than what it is given."""
    budget.call(*values, *named.values())


def _text(budget: Budget, value: Any, *others: Any, **named: Any) -> None:
    """Check what makes a text of a value."""
    _fits(budget, budget.weight(value))


def _order(budget: Budget, value: Any, *others: Any, **named: Any) -> None:
    """Check what compares the parts of a value with one another."""
    budget.call(*others, *named.values())
    count = len(value) if isinstance(value, (str, list, tuple, Mapping)) else 0
    budget.work(budget.weight(value) + _SORT_WORK * count)


def _replace(budget: Budget, s: Any, old: Any, new: Any, count: Any = None) -> None:
    weights = [budget.weight(value) for value in (s, old, new)]
    for weight in weights:
        _fits(budget, weight)
    text, sought = str(s), str(old)
    found = text.count(sought)
    if isinstance(count, int) and count >= 0:
        found = min(found, count)
    _fits(budget, len(text) + found * _escaped(max(0, len(str(new)) - len(sought)), s, new))


def _join(budget: Budget, value: Any, d: Any = "", attribute: Any = None) -> None:
    parts = len(value) if isinstance(value, (str, list, tuple, Mapping, range)) else 0
    # Which attribute is meant is not looked up here: no part is larger than what it is a part of.
    _fits(budget, _escaped(budget.weight(value) + parts * budget.weight(d), value, d))


def _method_join(budget: Budget, separator: str, iterable: Any) -> None:
    _join(budget, iterable, separator)


def _strip(budget: Budget, text: Any, chars: Any = None) -> None:
    _text(budget, text)
    budget.work(budget.weight(text) * (len(chars) if isinstance(chars, str) else 1))


def _backwards(budget: Budget, text: str, sep: Any = None, *others: Any, **named: Any) -> None:
    """Check a search from the end, which is slow for long texts."""
    budget.call(text)
    budget.work(len(text) * (len(sep) if isinstance(sep, str) else 1) // _COPIED_IN_ONE)


def _pad(budget: Budget, text: str, width: Any, *others: Any) -> None:
    _fits(budget, max(len(text), width if isinstance(width, int) else 0))


def _expandtabs(budget: Budget, text: str, tabsize: Any = 8) -> None:
    _fits(budget, len(text) + text.count("\t") * (max(0, tabsize) if isinstance(tabsize, int) else 0))


def _round(budget: Budget, value: Any, precision: Any = 0, method: Any = "common") -> None:
    budget.call()
    if isinstance(precision, int) and abs(precision) > MAX_PRECISION:
        raise OverflowError(f"the precision is too large: more than {MAX_PRECISION} digits")


def _sum(budget: Budget, iterable: Any, attribute: Any = None, start: Any = 0) -> None:
    budget.call(iterable)
    if not isinstance(start, (int, float)):  # lists are added by copying what there is, each time
        budget.work((len(iterable) * budget.weight(iterable) + budget.weight(start)) // _COPIED_IN_ONE)


FILTERS: Mapping[str, Check] = {
    **dict.fromkeys(("abs", "count", "d", "default", "first", "float", "int", "items", "last"), _walk),
    **dict.fromkeys(("length", "list", "map", "reject", "rejectattr", "select", "selectattr"), _walk),
    **dict.fromkeys(("capitalize", "e", "escape", "lower", "string", "title", "tojson", "truncate"), _text),
    **dict.fromkeys(("upper", "urlencode", "wordcount"), _text),
    **dict.fromkeys(("dictsort", "groupby", "max", "min", "sort", "unique"), _order),
    "join": _join, "replace": _replace, "round": _round, "sum": _sum, "trim": _strip,
}  # fmt: skip
_TEXT_METHODS: Mapping[str, Check] = {
    **dict.fromkeys(("capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha"), _walk),
    **dict.fromkeys(("isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric"), _walk),
    **dict.fromkeys(("isprintable", "isspace", "istitle", "isupper", "lower", "partition"), _walk),
    **dict.fromkeys(("removeprefix", "removesuffix", "split", "splitlines", "startswith"), _walk),
    **dict.fromkeys(("swapcase", "title", "upper"), _walk),
    **dict.fromkeys(("center", "ljust", "rjust", "zfill"), _pad),
    **dict.fromkeys(("lstrip", "rstrip", "strip"), _strip),
    **dict.fromkeys(("rfind", "rindex", "rpartition", "rsplit"), _backwards),
    "expandtabs": _expandtabs, "join": _method_join, "replace": _replace,
}  # fmt: skip
_OTHER_METHODS: Mapping[str, Check] = {
    **dict.fromkeys(("copy", "get", "items", "keys", "values"), _walk),
    **dict.fromkeys(("count", "index"), _order),
    **dict.fromkeys(("bit_length", "is_integer"), _walk),
}


def check_method(budget: Budget, owner: Any, name: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Check the call of the method `name` of a value.

    Raises:
        TypeError: templates cannot call it.
        OverflowError: its result would be too large.
    """
    checks = _TEXT_METHODS if isinstance(owner, str) else _OTHER_METHODS
    if name not in checks or isinstance(owner, type):
        raise TypeError(f"the method {name} is not available in templates")
    checks[name](budget, owner, *args, **named)


def check_operator(budget: Budget, operator: str, left: Any, right: Any) -> None:
    """Check a binary operator.

    Raises:
        TypeError: it is no operator for texts here.
        OverflowError: its result would be too large.
    """
    if operator == "%" and isinstance(left, str):
        raise TypeError("% does not format text here; write the values into the template")
    if isinstance(left, int) and isinstance(right, int):
        if _bits(operator, left, right) > MAX_BITS:
            raise OverflowError(f"the result of {operator} is too large")
        return
    budget.call(left, right)
    sizes = [budget.weight(value) for value in (left, right) if isinstance(value, (str, list, tuple))]
    times = [abs(value) for value in (left, right) if isinstance(value, int)]
    limit = MAX_TEXT if isinstance(left, str) or isinstance(right, str) else MAX_WEIGHT
    if operator in "+*" and sizes and sum(sizes) * (times[0] if times else 1) > limit:
        raise OverflowError(f"the result of {operator} is too large")


def check_comparison(budget: Budget, operator: str, left: Any, right: Any) -> None:
    """Check a comparison, which makes nothing, but may take long.

    Raises:
        OverflowError: it would take too long.
    """
    weights = [budget.weight(value) if isinstance(value, (list, tuple, Mapping)) else 0 for value in (left, right)]
    budget.work(min(weights))
    if operator in ("in", "notin"):
        budget.call(right)
    elif isinstance(left, str) and isinstance(right, str):
        budget.work(min(len(left), len(right)) // _COPIED_IN_ONE)


def check_text(budget: Budget, value: Any) -> None:
    """Check what makes a text of a value.

    Raises:
        OverflowError: the text would be too long.
    """
    _text(budget, value)


def check_concatenation(budget: Budget, parts: list[Any]) -> None:
    """Check the operator `~`, all of its operands at once.

    Raises:
        OverflowError: the text would be too long.
    """
    _fits(budget, sum(map(budget.weight, parts)))


def check_format(budget: Budget, text: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Check `text.format(...)`.

    Raises:
        OverflowError: the text would be too long.
        ValueError: the format is not readable, or has fields inside of fields.
    """
    largest = max(map(budget.weight, (*args, *named.values())), default=0)
    size = len(text)
    for _, field, spec, _ in Formatter().parse(text):
        if "{" in (spec or ""):
            raise ValueError("a format cannot be made of fields here; write the numbers into it")
        widths = [int(digits) for digits in re.findall(r"\d+", spec or "")]
        size += max(largest, *widths) if widths else largest * (field is not None)
    _fits(budget, size)


def _fits(budget: Budget, size: int) -> None:
    if size > MAX_TEXT:
        raise too_long()
    budget.call()
    budget.work(size)


def _escaped(size: int, *values: Any) -> int:
    """Return the size when one of the values makes the others be escaped."""
    return size * _ESCAPED if any(isinstance(value, Markup) for value in values) else size


def _bits(operator: str, left: int, right: int) -> int:
    if operator == "**":
        return abs(left).bit_length() * abs(right)
    return abs(left).bit_length() + abs(right).bit_length()
