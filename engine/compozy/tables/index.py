"""The index of a column: returns the rows whose condition holds for a value as a bit set (bit i is row i).

It is total: every value has an answer, inside the domain of the column or outside.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from compozy.base.record import dataclass
from compozy.tables.table import Condition, Interval, Scalar, is_number


@dataclass(frozen=True, slots=True)
class ColumnIndex:
    """Rows by value: `exact` for text, numbers and unset, `booleans`, `spans` between `breaks`.

    `spans[k]` holds for numbers between `breaks[k - 1]` and `breaks[k]`, both outside. `other` holds
    for every value that no condition mentions.
    """

    exact: Mapping[Scalar, int]
    booleans: Mapping[Scalar, int]
    breaks: Sequence[float]
    spans: Sequence[int]
    other: int

    def rows_at(self, value: Scalar) -> int:
        """Return the rows whose condition holds for a value."""
        # True and 1 are one dictionary key, so booleans live apart.
        known = self.booleans if value.__class__ is bool else self.exact
        found = known.get(value)
        if found is not None:
            return found
        if is_number(value) and value == value:  # NaN lies in no interval
            return self.spans[bisect_left(self.breaks, value)]
        return self.other


def build_index(conditions: Iterable[Condition]) -> ColumnIndex:
    """Build the index of one column; the i-th condition is row i's."""
    rows: dict[Condition, int] = {}
    for number, condition in enumerate(conditions):
        rows[condition] = rows.get(condition, 0) | 1 << number
    return index_of(rows)


def index_of(rows: Mapping[Condition, int]) -> ColumnIndex:
    """Build the index from distinct conditions and the rows (a bit set) that have each of them."""
    negated = 0
    for condition, mask in rows.items():
        if condition.negated:
            negated |= mask
    breaks, points, spans = _sweep(rows)
    exact: dict[Scalar, int] = dict(points)
    booleans: dict[Scalar, int] = {}
    _add_listed(rows, exact, booleans, (breaks, spans))
    exact.setdefault(None, 0)
    # What a row lists is where a negated row does not hold: one exclusive or turns it round.
    return ColumnIndex(
        {value: mask ^ negated for value, mask in exact.items()},
        {value: mask ^ negated for value, mask in booleans.items()},
        breaks,
        [mask ^ negated for mask in spans],
        negated,
    )


def _add_listed(
    rows: Mapping[Condition, int],
    exact: dict[Scalar, int],
    booleans: dict[Scalar, int],
    numbers: tuple[Sequence[float], Sequence[int]],
) -> None:
    breaks, spans = numbers
    for condition, mask in rows.items():
        if condition.unset:
            exact[None] = exact.get(None, 0) | mask
        for value in condition.values:
            known = booleans if value.__class__ is bool else exact
            if value not in known:
                known[value] = spans[bisect_left(breaks, value)] if is_number(value) else 0
            known[value] |= mask


def _sweep(rows: Mapping[Condition, int]) -> tuple[list[float], dict[Scalar, int], list[int]]:
    """Return the breakpoints, the rows at each of them, and the rows between them."""
    pairs = [(interval, mask) for condition, mask in rows.items() for interval in condition.intervals]
    breaks = sorted({bound for interval, _ in pairs for bound in (interval.low, interval.high) if bound is not None})
    position = {bound: 2 * number + 1 for number, bound in enumerate(breaks)}
    toggles = [0] * (2 * len(breaks) + 2)
    for interval, mask in pairs:
        start, stop = _reach(interval, position, len(toggles) - 1)
        # The intervals of one condition are disjoint, so switching on and off never collides.
        toggles[start] ^= mask
        toggles[stop] ^= mask
    held, running = [], 0
    for toggle in toggles[:-1]:
        running ^= toggle
        held.append(running)
    return breaks, dict(zip(breaks, held[1::2], strict=True)), held[0::2]


def _reach(interval: Interval, position: Mapping[float, int], last: int) -> tuple[int, int]:
    start = 0 if interval.low is None else position[interval.low] + (1 if interval.low_open else 0)
    stop = last if interval.high is None else position[interval.high] + (0 if interval.high_open else 1)
    return start, stop
