"""Turn boxes of cells into regions, one condition a column, and find settings that lead there.

A joint axis may need several regions for one box; together they are exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from compozy.base.record import dataclass
from compozy.tables.atoms import condition_of
from compozy.tables.axes import Axis, Point
from compozy.tables.cells import condition_words
from compozy.tables.cover import Box
from compozy.tables.observation import Assignment
from compozy.tables.table import ANY, Condition, Table


@dataclass(frozen=True, slots=True)
class Region:
    """Conditions by column, `any` left out, and settings that lead into the region."""

    when: Mapping[str, Condition]
    witness: Assignment

    def __str__(self) -> str:
        words = [f"{name}: {condition_words(condition)}" for name, condition in self.when.items()]
        return ", ".join(words) or "any input"


def regions_of(table: Table, axes: Sequence[Axis], box: Box) -> Iterator[Region]:
    """Yield the regions that make up a box; on what can be reached they are disjoint."""
    parts = [list(_parts(axis, cells)) for axis, cells in zip(axes, box, strict=True)]
    # Axes are independent, so that any combination of their parts is feasible.
    for chosen in product(*parts):
        conditions = {name: condition for when, _ in chosen for name, condition in when.items()}
        ordered = {c.name: conditions[c.name] for c in table.columns if conditions[c.name] != ANY}
        yield Region(ordered, tuple(pair for _, witness in chosen for pair in witness))


def witness_of(axes: Sequence[Axis], box: Box) -> Assignment:
    """Return settings that lead into a box, as few as can be."""
    chosen = [_witness(axis, cells) for axis, cells in zip(axes, box, strict=True)]
    return tuple(pair for witness in chosen for pair in witness)


def _witness(axis: Axis, cells: int) -> Assignment:
    # If every value leads there, no setting is the shortest witness; behind a table, some values may be infeasible.
    if axis.free:
        return () if _is_whole(axis, cells) else _first_point(axis, cells).witness
    return _simplest(list(_points(axis, cells)))


def _first_point(axis: Axis, cells: int) -> Point:
    # Unset is the first atom of a domain, so nothing can be shorter to write down.
    return axis.cells[(cells & -cells).bit_length() - 1][0]


def _is_whole(axis: Axis, cells: int) -> bool:
    return cells == (1 << len(axis.cells)) - 1


def _points(axis: Axis, cells: int) -> Iterator[Point]:
    for number, cell in enumerate(axis.cells):
        if cells >> number & 1:
            yield from cell


def _simplest(points: Sequence[Point]) -> Assignment:
    return min((point.witness for point in points), key=lambda pairs: sum(value is not None for _, value in pairs))


def _parts(axis: Axis, cells: int) -> Iterator[tuple[dict[str, Condition], Assignment]]:
    if _is_whole(axis, cells):
        yield dict.fromkeys(axis.columns, ANY), _witness(axis, cells)
        return
    points = list(_points(axis, cells))
    if len(axis.columns) == 1:
        yield _conditions(axis, points), _witness(axis, cells)
        return
    every = [point for cell in axis.cells for point in cell]
    for part in _products(points, every):
        yield _conditions(axis, part), _simplest(part)


def _conditions(axis: Axis, points: Sequence[Point]) -> dict[str, Condition]:
    return {
        name: condition_of((atom for point in points for atom in point.choices[number]), axis.atoms[number])
        for number, name in enumerate(axis.columns)
    }


def _products(points: Sequence[Point], every: Sequence[Point]) -> Iterator[list[Point]]:
    """Cut points into disjoint parts, each a choice of values column by column among all points."""
    remaining = {_key(point): point for point in points}
    others = [_key(point) for point in every]
    while remaining:
        # Greedy: a part grows from one point by whole values of a column as long as every feasible point inside is
        # wanted. Points that no settings reach do not count against it, which gives fewer and shorter conditions.
        seed = next(iter(remaining))
        sides = [{value} for value in seed]
        for number, side in enumerate(sides):
            for value in sorted({key[number] for key in remaining} - side):
                if _fits(sides, number, value, others, remaining):
                    side.add(value)
        part = [key for key in remaining if _inside(key, sides)]
        yield [remaining.pop(key) for key in part]


def _fits(
    sides: Sequence[set[int]],
    number: int,
    value: int,
    others: Sequence[tuple[int, ...]],
    remaining: Mapping[tuple[int, ...], Point],
) -> bool:
    widened = [{value} if n == number else side for n, side in enumerate(sides)]
    return all(key in remaining for key in others if _inside(key, widened))


def _inside(key: tuple[int, ...], sides: Sequence[set[int]]) -> bool:
    return all(value in side for value, side in zip(key, sides, strict=True))


def _key(point: Point) -> tuple[int, ...]:
    return tuple(choice[0].order for choice in point.choices)
