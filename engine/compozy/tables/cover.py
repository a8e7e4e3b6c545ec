"""Find the parts of a space that its rows leave uncovered, by bit sets, without enumerating combinations.

An axis is a list of cells, each with the rows that hold there (bit i is row i); a box is one set of cells an axis (bit
k is cell k). The search halves boxes along the edge of a row until one row covers the whole box or none touches it.
Deciding whether anything is left is NP-hard, so each question has a budget of steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

Box: TypeAlias = tuple[int, ...]

# Steps of one search; about 20 microseconds each.
MOST_STEPS = 50_000


class OutOfStepsError(Exception):
    """A search needs more steps than its budget; what it found until then is true."""


class CellIndex:
    """One axis: `rows_at[k]` are the rows that hold in cell k, `cells[i]` the cells in which row i holds."""

    def __init__(self, rows_at: Sequence[int], rows: int) -> None:
        self.rows_at = rows_at
        self.whole = (1 << len(rows_at)) - 1
        self.cells = _cells_of_rows(rows_at, rows)
        self._any: dict[int, int] = {0: 0}
        self._all: dict[int, int] = {0: (1 << rows) - 1}
        self._any_spans = [list(rows_at)]
        self._all_spans = [list(rows_at)]

    def rows_in_any(self, cells: int) -> int:
        """Return the rows that hold in at least one of the cells."""
        found = self._any.get(cells)
        if found is None:
            found = 0
            for start, length in _runs(cells):
                level = self._span(length)
                spans = self._any_spans[level]
                found |= spans[start] | spans[start + length - (1 << level)]
            self._any[cells] = found
        return found

    def rows_in_all(self, cells: int) -> int:
        """Return the rows that hold in every one of the cells."""
        found = self._all.get(cells)
        if found is None:
            found = self._all[0]
            for start, length in _runs(cells):
                level = self._span(length)
                spans = self._all_spans[level]
                found &= spans[start] & spans[start + length - (1 << level)]
            self._all[cells] = found
        return found

    def _span(self, length: int) -> int:
        """Return the largest level whose spans fit; spans of level j answer for 2**j neighbouring cells."""
        level = length.bit_length() - 1
        while len(self._any_spans) <= level:
            # A sparse table: two overlapping spans of a power of two answer for a run of any length, so a query takes
            # one operation a run. The levels are built when a run is long enough to need them.
            half = 1 << (len(self._any_spans) - 1)
            some, every = self._any_spans[-1], self._all_spans[-1]
            self._any_spans.append([a | b for a, b in zip(some, some[half:], strict=False)])
            self._all_spans.append([a & b for a, b in zip(every, every[half:], strict=False)])
        return level


def _cells_of_rows(rows_at: Sequence[int], rows: int) -> list[int]:
    # A row changes only at few cells: flip everything from there on instead of asking cell by cell.
    cells = [0] * rows
    size, before = len(rows_at), 0
    for number, holding in enumerate(rows_at):
        changed = holding ^ before
        tail = (1 << size) - (1 << number)
        while changed:
            lowest = changed & -changed
            cells[lowest.bit_length() - 1] ^= tail
            changed ^= lowest
        before = holding
    return cells


def _runs(cells: int) -> Iterator[tuple[int, int]]:
    start = 0
    while cells:
        skip = (cells & -cells).bit_length() - 1
        start += skip
        cells >>= skip
        length = (~cells & (cells + 1)).bit_length() - 1
        yield start, length
        start += length
        cells >>= length


class Space:
    """Axes and rows; every row is a box, and boxes are compared axis by axis."""

    def __init__(self, axes: Sequence[CellIndex], rows: int, steps: int = MOST_STEPS) -> None:
        self.axes = tuple(axes)
        self.everything = (1 << rows) - 1
        self.whole: Box = tuple(axis.whole for axis in self.axes)
        self.steps = self.steps_left = steps

    def refill(self) -> None:
        """Refill the budget of steps for the next question."""
        self.steps_left = self.steps

    def spend(self) -> None:
        """Count one step of the budget.

        Raises:
            OutOfStepsError: the budget is used up.
        """
        if not self.steps_left:
            raise OutOfStepsError
        self.steps_left -= 1

    def row(self, number: int) -> Box:
        """Return the box of a row."""
        return tuple(axis.cells[number] for axis in self.axes)

    def touching(self, box: Box, rows: int) -> int:
        """Return those of the rows that share a point with a box."""
        for axis, cells in zip(self.axes, box, strict=True):
            rows &= axis.rows_in_any(cells)
        return rows

    def covering(self, box: Box, rows: int) -> int:
        """Return those of the rows that each contain the whole box."""
        for axis, cells in zip(self.axes, box, strict=True):
            rows &= axis.rows_in_all(cells)
            if not rows:
                break
        return rows

    def within(self, box: Box, rows: int) -> int:
        """Return those of the rows that lie inside a box."""
        for axis, cells in zip(self.axes, box, strict=True):
            rows &= ~axis.rows_in_any(axis.whole ^ cells)
        return rows

    def uncovered(self, box: Box, rows: int) -> Iterator[Box]:
        """Yield disjoint boxes that together are what the rows leave uncovered of a box.

        Raises:
            OutOfStepsError: the budget of steps is used up.
        """
        # A stack of our own in place of recursion: the depth is bounded by rows times axes, beyond Python's limit.
        stack = [(box, self.touching(box, rows))] if all(box) else []
        while stack:
            box, rows = stack.pop()
            if not rows:
                yield box
                continue
            pivot, covers = self._widest(box, rows)
            if not covers:
                self.spend()
                stack += self._halves(box, rows, pivot)

    def _halves(self, box: Box, rows: int, pivot: int) -> list[tuple[Box, int]]:
        """Cut a box along an edge of a row, where the fewest rows lie on both sides."""
        least, best = -1, (0, 0, 0, 0, 0)
        for number, axis in enumerate(self.axes):
            # Only edges of the widest row are tried. It covers one of the parts sooner than any other row, so that few
            # cuts remain; the axis where both sides keep the fewest rows makes the subproblems small.
            inside = box[number] & axis.cells[pivot]
            outside = box[number] ^ inside
            if outside:
                first, second = rows & axis.rows_in_any(inside), rows & axis.rows_in_any(outside)
                cost = first.bit_count() + second.bit_count()
                if least < 0 or cost < least:
                    least, best = cost, (number, inside, outside, first, second)
        number, inside, outside, first, second = best
        before, after = box[:number], box[number + 1 :]
        halves = [((*before, inside, *after), first), ((*before, outside, *after), second)]
        # The half with fewer rows comes off the stack first: what is uncovered is found sooner there.
        return halves if first.bit_count() >= second.bit_count() else halves[::-1]

    def _widest(self, box: Box, rows: int) -> tuple[int, bool]:
        """Return a row that is as wide as the box on as many axes as can be, and whether on all of them."""
        covers = True
        for axis, cells in zip(self.axes, box, strict=True):
            wide = rows & axis.rows_in_all(cells)
            if wide:
                rows = wide
            else:
                covers = False
        return (rows & -rows).bit_length() - 1, covers


def joined_boxes(boxes: Sequence[Box]) -> list[Box]:
    """Join disjoint boxes that differ on one axis only, until none do."""
    # The search cuts gaps along edges of rows that do not touch them; joined again, a report lists each gap once.
    joined = list(dict.fromkeys(boxes))
    axes = range(len(joined[0])) if joined else range(0)
    size = len(joined) + 1
    while len(joined) < size:
        size = len(joined)
        for axis in axes:
            joined = _joined_along(joined, axis)
    return joined


def _joined_along(boxes: Sequence[Box], axis: int) -> list[Box]:
    alike: dict[tuple[Box, Box], int] = {}
    for box in boxes:
        rest = (box[:axis], box[axis + 1 :])
        alike[rest] = alike.get(rest, 0) | box[axis]
    return [(*before, cells, *after) for (before, after), cells in alike.items()]
