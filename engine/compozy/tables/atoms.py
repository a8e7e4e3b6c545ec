"""Partition a domain into atoms: every condition holds for all values of an atom or for none.

Each atom has a sample value; chosen atoms can be turned back into one condition. Rows and tables are not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import ceil, floor, inf, nextafter
from typing import NamedTuple

from compozy.tables.table import ANY, SET, Condition, Domain, Interval, Scalar, is_number

# Larger integers are written as floats.
_BEYOND_INTEGERS = 2**63


class Atom(NamedTuple):
    """A piece of a domain; `order` is its position in it, `sample` a value inside.

    `interval` is set for a piece of the number line that is more than a point; `other` marks the
    texts that no condition lists.
    """

    order: int
    sample: Scalar
    interval: Interval | None = None
    other: bool = False


def atoms_of(domain: Domain, conditions: Iterable[Condition]) -> tuple[Atom, ...]:
    """Cut a domain; unset comes first, so that a first choice is the least to write down.

    >>> [atom.sample for atom in atoms_of(Domain.text(optional=True), [Condition.of(["a", "b"])])]
    [None, 'a', 'b', 'other']
    """
    if domain.kind == "finite":
        return tuple([Atom(order, value) for order, value in enumerate(samples_of(domain, conditions))])
    pieces: list[tuple[Scalar, Interval | None, bool]] = [(None, None, False)] if domain.optional else []
    if domain.kind == "text":
        pieces += _text_pieces(domain, conditions)
    else:
        pieces += [(sample, piece, False) for sample, piece in _number_pieces(domain, conditions)]
    return tuple([Atom(order, *piece) for order, piece in enumerate(pieces)])


def samples_of(domain: Domain, conditions: Iterable[Condition]) -> Sequence[Scalar]:
    """Return the samples of the atoms of a domain."""
    if domain.kind == "finite":
        return (None, *domain.values) if domain.optional else domain.values
    return [atom.sample for atom in atoms_of(domain, conditions)]


def _text_pieces(domain: Domain, conditions: Iterable[Condition]) -> list[tuple[Scalar, Interval | None, bool]]:
    listed = dict.fromkeys(v for condition in conditions for v in condition.values if domain.contains(v))
    other, number = "other", 2
    while other in listed:
        other, number = f"other-{number}", number + 1
    return [*((value, None, False) for value in listed), (other, None, True)]


def _number_pieces(domain: Domain, conditions: Iterable[Condition]) -> Iterator[tuple[Scalar, Interval | None]]:
    whole = domain.interval
    # A bound between two integers cuts the integers as well, although it is not one of them.
    breaks = sorted({n for condition in set(conditions) for n in _breaks(condition) if whole.contains(n)})
    if not breaks:
        yield from _piece(whole, domain)
        return
    yield from _piece(whole._replace(high=breaks[0], high_open=True), domain)
    for first, second in pairwise(breaks):
        yield from _point(first, domain)
        yield from _piece(Interval(first, second, True, True), domain)
    yield from _point(breaks[-1], domain)
    yield from _piece(whole._replace(low=breaks[-1], low_open=True), domain)


def _point(number: float, domain: Domain) -> Iterator[tuple[Scalar, Interval | None]]:
    if domain.contains(number):
        yield number, None


def _breaks(condition: Condition) -> Iterator[float]:
    yield from (value for value in condition.values if is_number(value))
    for interval in condition.intervals:
        yield from (bound for bound in (interval.low, interval.high) if bound is not None)


def _piece(interval: Interval, domain: Domain) -> Iterator[tuple[Scalar, Interval | None]]:
    if interval.empty:
        return
    sample = _integer_sample(interval) if domain.integer else _real_sample(interval)
    if interval.contains(sample):
        yield sample, interval


def _integer_sample(interval: Interval) -> int:
    """Return the simplest integer inside: 0, else the one at an end; one outside where none is inside."""
    if interval.contains(0):
        return 0
    if interval.low is not None and interval.low >= 0:
        return floor(interval.low) + 1 if interval.low_open else ceil(interval.low)
    high = -1 if interval.high is None else interval.high
    return ceil(high) - 1 if interval.high_open else floor(high)


def _real_sample(interval: Interval) -> float:
    """Return a number inside: a 64-bit integer where there is one, because beyond 2**53 floats skip integers."""
    whole = _integer_sample(interval)
    if interval.contains(whole) and abs(whole) < _BEYOND_INTEGERS:
        return whole
    if interval.low is None or interval.high is None:
        return nextafter(interval.low or 0, inf) if interval.high is None else nextafter(interval.high, -inf)
    return interval.low / 2 + interval.high / 2


def samples_in(atom: Atom, domain: Domain, most: int) -> list[Scalar]:
    """Return up to `most` different values of an atom, its sample first; one for an atom that is a point.

    >>> count = Domain.number(integer=True)
    >>> [samples_in(atom, count, 2) for atom in atoms_of(count, [Condition.of([0, 2])])]
    [[-1, -2], [0], [1], [2], [3, 4]]
    """
    found, parts = [atom.sample], [atom]
    for part in parts:
        for interval in _halves(part) if len(found) < most else ():
            for sample, piece in _piece(interval, domain):
                found.append(sample)
                parts.append(Atom(atom.order, sample, piece))
    return found[:most]


def boundary_values(atom: Atom, domain: Domain) -> list[Scalar]:
    """Return the values at the ends of an atom, or its sample where it has no ends.

    >>> count = Domain.number(integer=True, minimum=0)
    >>> [boundary_values(atom, count) for atom in atoms_of(count, [Condition.of([], [Interval(5, 9)])])]
    [[0, 4], [5], [6, 8], [9], [10]]
    """
    interval = atom.interval
    if interval is None:
        return [atom.sample]
    ends = [
        _end(bound, inwards, open_=open_, integer=domain.integer)
        for bound, inwards, open_ in ((interval.low, inf, interval.low_open), (interval.high, -inf, interval.high_open))
        if bound is not None
    ]
    return [*dict.fromkeys(end for end in ends if interval.contains(end))] or [atom.sample]


def _end(bound: float, inwards: float, *, open_: bool, integer: bool) -> float:
    """Return the last number before a bound; `inwards` is the infinity on the side of the interval."""
    if not integer:
        return nextafter(bound, inwards) if open_ else bound
    whole = ceil(bound) if inwards > 0 else floor(bound)
    return whole + (1 if inwards > 0 else -1) if open_ and whole == bound else whole


def _halves(atom: Atom) -> list[Interval]:
    if atom.interval is None or not is_number(atom.sample):
        return []
    low, high = atom.interval, atom.interval
    return [
        Interval(low.low, atom.sample, low.low_open, True),
        Interval(atom.sample, high.high, True, high.high_open),
    ]


def condition_of(chosen: Iterable[Atom], atoms: Sequence[Atom]) -> Condition:
    """Return the condition that holds exactly within the chosen ones of a domain's atoms.

    >>> atoms = atoms_of(Domain.text(), [Condition.of(["a", "b"])])
    >>> condition_of(atoms[1:], atoms) == Condition.of(["a"]).inverted()
    True
    """
    orders = {atom.order for atom in chosen}
    if len(orders) == len(atoms):
        return ANY
    inside = [atom for atom in atoms if atom.order in orders]
    if len(inside) == len(atoms) - 1 and atoms[0].sample is None and atoms[0].order not in orders:
        return SET
    if any(atom.other for atom in inside):
        return _listed([atom for atom in atoms if atom.order not in orders], atoms).inverted()
    return _listed(inside, atoms)


def _listed(chosen: Sequence[Atom], atoms: Sequence[Atom]) -> Condition:
    numbers = [atom for atom in chosen if is_number(atom.sample)]
    values = [atom.sample for atom in chosen if not is_number(atom.sample)] if len(numbers) < len(chosen) else []
    intervals = []
    for run in _runs(numbers):
        if any(atom.interval for atom in run):
            intervals.append(_covering(run, atoms))
        else:
            values += [atom.sample for atom in run]
    return Condition.of(values, intervals)


def _runs(atoms: Sequence[Atom]) -> list[list[Atom]]:
    runs: list[list[Atom]] = []
    for atom in atoms:
        if runs and runs[-1][-1].order == atom.order - 1:
            runs[-1].append(atom)
        else:
            runs.append([atom])
    return runs


def _covering(run: Sequence[Atom], atoms: Sequence[Atom]) -> Interval:
    # A bound of the domain itself is redundant; numbers come last, after unset.
    low, high = _interval(run[0]), _interval(run[-1])
    lowest = next(atom.order for atom in atoms if is_number(atom.sample)) == run[0].order
    highest = atoms[-1].order == run[-1].order
    return Interval(
        None if lowest else low.low,
        None if highest else high.high,
        low.low_open and not lowest,
        high.high_open and not highest,
    )


def _interval(atom: Atom) -> Interval:
    if atom.interval is not None:
        return atom.interval
    # Only numbers are asked for, and a point is both its own bounds.
    point = atom.sample if is_number(atom.sample) else None
    return Interval(point, point)
