"""The unary tests and literals of FEEL (DMN 1.3, chapters 9 and 10) that a decision table of ours can hold.

The grammar is that of simple unary tests with literals as endpoints. Everything else is refused with a reason and a
fix, because a condition must be a set of values that verification can compare.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from compozy.base.findings import Finding
from compozy.base.record import dataclass
from compozy.errors import RuleTableError
from compozy.tables.table import ANY, Condition, Interval, Scalar, is_number

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<number>-?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w]))
    |(?P<sign>\.\.|<=|>=|!=|[<>=,()\[\]-])
    |(?P<name>[^\W\d]\w*)
    |(?P<other>\S))""",
    re.VERBOSE | re.DOTALL,
)
_EXACT = 2**63
_LITERALS = {"true": True, "false": False, "null": None}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{6})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "'": "'"}
_TIMES = ("date", "time", "duration", "days", "years")
_MOVE = "move the expression to a decision of its own, and read its result as an input"


class FeelError(RuleTableError):
    """A text that is not in the supported subset of FEEL; with `reason` and `hint`."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__([Finding.at(self.id, reason, hint=hint)], hint=hint)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def parse_tests(text: str) -> Condition:
    """Parse the unary tests of an input entry, input values or allowed values; an empty text holds always.

    A comparison with null is neither true nor false in FEEL, so `not(< 5)` does not hold for null: where an input
    may be null, see `strict`.

    >>> parse_tests('"a", "b"') == Condition.of(["a", "b"]), parse_tests("not(null)").matches(None)
    (True, False)

    Raises:
        FeelError: the text is not in the subset.
    """
    return _Parser(text).tests()


def parse_literal(text: str) -> Scalar:
    """Parse the text, number, boolean or null of an output entry; an empty text is null.

    Raises:
        FeelError: the text is not a literal.
    """
    return _Parser(text).literal()


def strict(condition: Condition) -> Condition:
    """Return a condition as FEEL holds it for an input that may be null: a negated range does not match null."""
    if condition.negated and condition.intervals:
        return Condition(condition.values, condition.intervals, unset=True, negated=True)
    return condition


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text.strip()
        self._tokens = [*_tokens(self._text)]
        self._at = 0

    def tests(self) -> Condition:
        if self._text in ("", "-"):
            return ANY
        negated = self._next_texts(2) == ["not", "("]
        self._at += 2 if negated else 0
        values, intervals = list[Scalar](), list[Interval]()
        while True:
            found = self._test()
            (intervals if isinstance(found, Interval) else values).append(found)  # type: ignore[arg-type]
            if not self._accepts(","):
                break
        if negated and not self._accepts(")"):
            raise self._unexpected()
        self._end()
        condition = Condition.of(values, intervals)
        return condition.inverted() if negated else condition

    def literal(self) -> Scalar:
        if not self._text:
            return None
        value = self._value()
        self._end()
        return value

    def _test(self) -> Scalar | Interval:
        for sign in ("<=", ">=", "<", ">"):
            if self._accepts(sign):
                bound, is_open = self._number(), len(sign) == 1
                return Interval(high=bound, high_open=is_open) if sign[0] == "<" else Interval(bound, low_open=is_open)
        # FEEL also writes an open end with the bracket turned outwards, as in `]1..5[`.
        for bracket in ("[", "(", "]"):
            if self._accepts(bracket):
                return self._interval(low_open=bracket != "[")
        self._accepts("=")
        return self._value()

    def _interval(self, *, low_open: bool) -> Interval:
        low = self._number()
        if not self._accepts(".."):
            raise self._unexpected()
        high = self._number()
        for bracket in ("]", ")", "["):
            if self._accepts(bracket):
                return Interval(low, high, low_open, bracket != "]")
        raise self._unexpected()

    def _number(self) -> float:
        value = self._value()
        if not is_number(value):
            raise FeelError("a comparison or range of something other than numbers", "list the values one by one")
        return value

    def _value(self) -> Scalar:
        token = self._token()
        if token.kind == "string":
            self._at += 1
            return _string(token.text)
        if token.kind == "number":
            self._at += 1
            return _number(token.text)
        following = self._next_texts(2)[1:]
        if token.text in _LITERALS and following != ["("]:
            self._at += 1
            return _LITERALS[token.text]
        raise self._unexpected()

    def _end(self) -> None:
        if self._at < len(self._tokens):
            raise self._unexpected()

    def _accepts(self, sign: str) -> bool:
        found = self._token() == _Token("sign", sign)
        self._at += found
        return found

    def _token(self) -> _Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else _Token("end", "the end")

    def _next_texts(self, count: int) -> list[str]:
        return [token.text for token in self._tokens[self._at : self._at + count]]

    def _unexpected(self) -> FeelError:
        token, following = self._token(), self._next_texts(2)[1:]
        if token.text == "@" or (token.text in _TIMES and "(" in self._text):
            return FeelError("dates, times and durations are not supported", "compare a number, such as days or hours")
        if token.kind == "name" and following == ["("]:
            return FeelError(f"the function call {token.text}(...) is not supported", _MOVE)
        if token.kind == "name":
            return FeelError(f"the name {token.text} is not supported", f"put a text into quotes; else {_MOVE}")
        if token.kind == "end":
            return FeelError("the text ends too early", "complete it")
        if token.text == "!=":
            return FeelError("!= is not supported", "write not(...)")
        return FeelError(f"expressions are not supported; unexpected {token.text}", _MOVE)


def _tokens(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        yield _Token(str(found.lastgroup), found[str(found.lastgroup)])


def _number(text: str) -> int | float:
    """Return a number, whole ones as integers; FEEL has 34 decimal digits, of which a float holds 15 for sure."""
    exact = Decimal(text)
    whole = abs(exact) <= _EXACT and exact == exact.to_integral_value()
    if not whole and exact != Decimal(repr(float(text))):
        raise FeelError(f"the number {text} has more digits than a 64-bit float holds", "use fewer digits")
    return int(exact) if whole else float(text)


def _string(text: str) -> str:
    value = _ESCAPE.sub(_character, text[1:-1])
    if "\0" in value:
        raise FeelError("a text with a NUL character", "remove it")
    return value


def _character(found: re.Match[str]) -> str:
    code, known = found[1] or found[2], _ESCAPED.get(found[3] or "")
    if code is not None and int(code, 16) <= 0x10FFFF and not 0xD800 <= int(code, 16) <= 0xDFFF:
        return chr(int(code, 16))
    if known is None:
        raise FeelError(f"the escape {found[0]} is not supported", 'use \\n, \\r, \\t, \\", \\\\ or \\uXXXX')
    return known


def unary_text(condition: Condition) -> str:
    """Return unary tests that hold exactly where a condition holds; null counts as unset.

    >>> [unary_text(c) for c in (ANY, Condition.of(["a", None]), Condition.of([5], [Interval(0, 1, True)]))]
    ['-', '"a", null', '5, (0..1]']
    >>> unary_text(Condition.of(intervals=[Interval(0, 5)]).inverted())
    '< 0, > 5, null'

    Raises:
        FeelError: the condition never holds, or excludes a range together with a text.
    """
    if condition == ANY:
        return "-"
    if not condition.negated:
        return ", ".join(_parts(condition)) or _never()
    if not condition.intervals:
        return f"not({', '.join(_parts(condition))})"
    return ", ".join(_parts(_complement(condition))) or _never()


def _never() -> str:
    raise FeelError("a condition that never holds cannot be written in FEEL", "remove the row")


def _parts(condition: Condition) -> list[str]:
    parts = [literal_text(value) for value in condition.values]
    parts += [_interval_text(interval) for interval in condition.intervals]
    return parts + (["null"] if condition.unset else [])


def _complement(condition: Condition) -> Condition:
    """Return the numbers, and null, outside a negated condition: in FEEL a negated range would not match null."""
    numbers = [value for value in condition.values if is_number(value)]
    if len(numbers) < len(condition.values):
        raise FeelError("a condition excludes a range together with texts", "use separate rows")
    listed = Condition.of(intervals=[*condition.intervals, *(Interval(n, n) for n in numbers)]).intervals
    low, low_open, outside = None, False, list[Interval]()
    for interval in listed:
        if interval.low is not None:
            outside.append(Interval(low, interval.low, low_open, not interval.low_open))
        low, low_open = interval.high, not interval.high_open
    if low is not None:
        outside.append(Interval(low, low_open=low_open))
    return Condition.of([] if condition.unset else [None], outside)


def _interval_text(interval: Interval) -> str:
    low = "" if interval.low is None else literal_text(interval.low)
    high = "" if interval.high is None else literal_text(interval.high)
    if low and high:
        return f"{'(' if interval.low_open else '['}{low}..{high}{')' if interval.high_open else ']'}"
    if low:
        return f">{'' if interval.low_open else '='} {low}"
    # Without bounds: every number but not null, which `-` would include.
    return f"<{'' if interval.high_open else '='} {high}" if high else "< 0, >= 0"


def literal_text(value: Scalar) -> str:
    """Return a FEEL literal.

    >>> [literal_text(value) for value in (True, None, 1e-7, 'a "b"')]
    ['true', 'null', '0.0000001', '"a \\\\"b\\\\""']
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return '"' + "".join(_written(char) for char in value) + '"'
    # Without an exponent, which not every version of FEEL knows.
    return f"{Decimal(repr(value)):f}"


def _written(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if char.isprintable() else f"\\U{ord(char):06x}" if ord(char) > 0xFFFF else f"\\u{ord(char):04x}"
