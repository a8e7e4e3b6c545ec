"""The frozen records of a decision table: domains, conditions, rows, tables and decisions.

This module reads no files and knows no setting of Compozy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import field, replace
from typing import NamedTuple, Protocol, TypeAlias, TypeGuard

from compozy.base.document import Scalar
from compozy.base.place import Place
from compozy.base.record import dataclass

__all__ = [
    "ANY", "SET", "UNSET", "Column", "Condition", "Decision", "Domain", "Interval", "NearMiss",
    "Place", "Row", "Scalar", "Table", "TableExample", "identity", "is_number",
]  # fmt: skip

# What a finding adds to its severity, key and text.
_EXAMPLES = ("good", "bad")
_EXPLAINING = ("suggest", "hint", "docs", *_EXAMPLES)
Identity: TypeAlias = tuple[bool, Scalar]


def identity(value: Scalar) -> Identity:
    """Return a key under which `True` differs from `1`, and `1` equals `1.0`.

    >>> identity(True) == identity(1), identity(1) == identity(1.0)
    (False, True)
    """
    return (value.__class__ is bool, value)


def is_number(value: object) -> TypeGuard[int | float]:
    """Return True if a value is an integer or a float; booleans are not.

    >>> is_number(1), is_number(True), is_number("1")
    (True, False, False)
    """
    return value.__class__ is int or value.__class__ is float


class Interval(NamedTuple):
    """Numbers between `low` and `high`; `None` is unbounded, an open end is not inside."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def contains(self, number: float) -> bool:
        """Return True if a number lies inside."""
        above = self.low is None or number > self.low or (number == self.low and not self.low_open)
        below = self.high is None or number < self.high or (number == self.high and not self.high_open)
        return above and below

    @property
    def empty(self) -> bool:
        """True if no real number lies inside."""
        if self.low is None or self.high is None:
            return False
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """A cell in its closed form: listed values, disjoint intervals, unset; or everything but these.

    A negated condition is the exact complement, so `not: memory` also holds for an unset value.
    Under `key` equal conditions are equal, and `True` differs from `1`. Build it with `Condition.of`,
    which removes repetitions and joins intervals.
    """

    values: tuple[Scalar, ...] = ()
    intervals: tuple[Interval, ...] = ()
    unset: bool = False
    negated: bool = False
    key: tuple[object, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Kept, because compiling and verifying look conditions up by the thousand.
        listed = frozenset(identity(value) for value in self.values)
        object.__setattr__(self, "key", (listed, self.intervals, self.unset, self.negated))

    @classmethod
    def of(cls, values: Iterable[Scalar] = (), intervals: Iterable[Interval] = ()) -> Condition:
        """Build the condition that holds for any of the values (`None` is unset) or intervals.

        >>> Condition.of(["a", None]).matches(None), Condition.of([1]).matches(True)
        (True, False)
        """
        given = {identity(value): value for value in values}
        joined = _joined(intervals)
        kept = (v for v in given.values() if v is not None and not _within(v, joined))
        return cls(tuple(kept), joined, (False, None) in given)

    def inverted(self) -> Condition:
        """Return the complement."""
        return replace(self, negated=not self.negated)

    def matches(self, value: Scalar) -> bool:
        """Return True if the condition holds for a value; `None` is unset."""
        return self._lists(value) != self.negated

    def _lists(self, value: Scalar) -> bool:
        if value is None:
            return self.unset
        key = identity(value)
        return any(identity(listed) == key for listed in self.values) or _within(value, self.intervals)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _within(value: Scalar, intervals: tuple[Interval, ...]) -> bool:
    return bool(intervals) and is_number(value) and any(i.contains(value) for i in intervals)


def _joined(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    given = sorted((i for i in intervals if not i.empty), key=_start)
    joined: list[Interval] = []
    for interval in given:
        if joined and _touches(joined[-1], interval):
            joined[-1] = _span(joined[-1], interval)
        else:
            joined.append(interval)
    return tuple(joined)


def _start(interval: Interval) -> tuple[float, bool]:
    return (float("-inf") if interval.low is None else interval.low, interval.low_open)


def _touches(first: Interval, second: Interval) -> bool:
    if first.high is None or second.low is None:
        return True
    both_open = first.high_open and second.low_open
    return second.low < first.high or (second.low == first.high and not both_open)


def _span(first: Interval, second: Interval) -> Interval:
    if first.high is None or second.high is None:
        return first._replace(high=None, high_open=False)
    if second.high > first.high:
        return first._replace(high=second.high, high_open=second.high_open)
    both_open = first.high_open and (second.high_open or second.high < first.high)
    return first._replace(high_open=both_open)


ANY = Condition(negated=True)
SET = Condition(unset=True, negated=True)
UNSET = Condition(unset=True)


@dataclass(frozen=True, slots=True)
class Domain:
    """The domain of a column or an output: `finite`, `text` or `number`, and whether it may be unset.

    `values` are the legal values of a finite domain, in order, without `None`. `minimum` and `maximum`,
    inclusive unless they are open, and `integer` belong to numbers. A text that is `nonempty` has a visible character.
    """

    kind: str
    values: tuple[Scalar, ...] = ()
    optional: bool = False
    integer: bool = False
    minimum: float | None = None
    maximum: float | None = None
    minimum_open: bool = False
    maximum_open: bool = False
    nonempty: bool = False

    @property
    def listed(self) -> list[Scalar]:
        """Return the values of a finite domain, with None where it may be unset."""
        return [*self.values, *([None] if self.optional else [])]

    @classmethod
    def finite(cls, values: Iterable[Scalar], *, optional: bool = False) -> Domain:
        """Build a domain of listed values; a `None` among them makes it optional."""
        given = {identity(value): value for value in values}
        unset = given.pop((False, None), "absent") is None
        return cls("finite", tuple(given.values()), optional or unset)

    @classmethod
    def boolean(cls, *, optional: bool = False) -> Domain:
        """Build the domain of `False` and `True`."""
        return cls("finite", (False, True), optional)

    @classmethod
    def text(cls, *, optional: bool = False, nonempty: bool = False) -> Domain:
        """Build the domain of any text."""
        return cls("text", (), optional, nonempty=nonempty)

    @classmethod
    def number(
        cls,
        *,
        integer: bool = False,
        minimum: float | None = None,
        maximum: float | None = None,
        optional: bool = False,
    ) -> Domain:
        """Build a domain of numbers between two inclusive bounds."""
        return cls("number", (), optional, integer, minimum, maximum)

    @classmethod
    def within(cls, interval: Interval, *, integer: bool = False, optional: bool = False) -> Domain:
        """Build the domain of the numbers of an interval."""
        low, high = interval.low, interval.high
        return cls("number", (), optional, integer, low, high, interval.low_open, interval.high_open)

    @property
    def interval(self) -> Interval:
        """The interval between the bounds of a domain of numbers."""
        return Interval(self.minimum, self.maximum, self.minimum_open, self.maximum_open)

    def contains(self, value: Scalar) -> bool:
        """Return True if a value is in the domain; `None` is unset.

        >>> Domain.boolean().contains(1), Domain.number(integer=True, minimum=1).contains(80)
        (False, True)
        """
        if value is None:
            return self.optional
        if self.kind == "finite":
            # As a number equals a truth value, what is found is compared by its identity as well.
            found = value in self.values
            return found and (value.__class__ is str or identity(value) in map(identity, self.values))
        if self.kind == "text":
            return isinstance(value, str) and not (self.nonempty and not value.strip())
        return self._contains_number(value)

    def _contains_number(self, value: Scalar) -> bool:
        if not is_number(value):
            return False
        if self.integer and isinstance(value, float) and not value.is_integer():
            return False
        return self.interval.contains(value)


class ColumnSource(NamedTuple):
    """The source of the values of a column.

    `kind` is `setting`, `machine`, `item`, `decision` or `input`; `ref` the path, fact, field, table or name. `view`
    names a function of the value, `output` the output of the table, `each` the list an item is of.
    """

    kind: str
    ref: str
    view: str | None = None
    output: str | None = None
    each: str | None = None

    def __str__(self) -> str:
        of = f"{self.each}[]." if self.each else ""
        part = f".{self.output}" if self.output else ""
        return f"{self.kind} {of}{self.ref}{part}" + (f" ({self.view})" if self.view else "")


@dataclass(frozen=True, slots=True)
class Column:
    """A named input of a table."""

    name: str
    source: ColumnSource
    place: Place


@dataclass(frozen=True, slots=True)
class Row:
    """A rule: when every cell holds, `then` are the outputs.

    `body` is the plain content of `finding`, empty without one. `cells` holds the place of each
    condition. A column without condition holds always.
    """

    id: str
    when: Mapping[str, Condition]
    then: Mapping[str, Scalar]
    because: str
    place: Place
    body: Mapping[str, object] = field(default_factory=dict)
    replaces: str | None = None
    cells: Mapping[str, Place] = field(default_factory=dict)

    def condition(self, column: str) -> Condition:
        """Return the condition on a column."""
        return self.when.get(column, ANY)

    def outcome(self) -> tuple[object, ...]:
        """Return what the row decides in a form that can be compared; hints and examples are left out."""
        return self._content(_EXPLAINING)

    def effect(self) -> tuple[object, ...]:
        """Return all that the row gives, hints included, without the examples of a finding, which decide nothing."""
        return self._content(_EXAMPLES)

    def _content(self, without: Collection[str]) -> tuple[object, ...]:
        body = sorted([(key, value) for key, value in self.body.items() if key not in without])
        return (tuple(sorted([(name, identity(value)) for name, value in self.then.items()])), repr(body))


@dataclass(frozen=True, slots=True)
class TableExample:
    """The rows of a table that decide where `given` is configured, which is plain data and not interpreted here."""

    given: object
    rows: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Table:
    """A decision table; `hit` is `unique`, `any`, `first` or `collect`, `rows` are in order of authorship.

    `sets` maps an output to the settings that it derives and is not interpreted here. `for_each` names a list;
    the table is then evaluated once for each of its elements.
    """

    id: str
    stage: str
    hit: str
    about: str
    for_each: str | None
    columns: tuple[Column, ...]
    outputs: Mapping[str, Domain]
    sets: Mapping[str, str]
    rows: tuple[Row, ...]
    place: Place
    examples: tuple[TableExample, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision of a table: the matching rows, the column values and the outputs.

    With hit policy `collect` there are 0..n rows and `outputs` is empty: each row's `then` counts.
    """

    table: str
    rows: tuple[Row, ...]
    inputs: Mapping[str, Scalar]
    outputs: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A row that would have matched but for one cell."""

    row: Row
    column: str
    condition: Condition
    value: Scalar


class SourceCatalogue(Protocol):
    """The domains of the sources of columns; implemented by the owner of the settings."""

    def domain(self, source: ColumnSource) -> Domain | None:
        """Return the domain of a setting, machine fact, item or view; `None` for an unknown source."""
        ...
