"""Test cases of one decision table: boundary values, and pairs that show the effect of each cell (MC/DC).

Only inputs that settings can bring about count, as in verification. Boundary values are the points at which a
condition of the column changes, and their neighbours. Modified condition/decision coverage asks, for each cell of a
row, for two cases that differ in that input only, of which the row decides one and another outcome results in the
other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field
from itertools import islice, product

from compozy.base.record import dataclass
from compozy.tables.atoms import Atom, boundary_values
from compozy.tables.axes import Axis, AxisBuilder, Point
from compozy.tables.bits import bits
from compozy.tables.cells import scalar_words
from compozy.tables.cover import MOST_STEPS, Box, CellIndex, OutOfStepsError, Space
from compozy.tables.decide import RuleSet, rows_of
from compozy.tables.observation import Assignment
from compozy.tables.subject import Subject
from compozy.tables.table import ANY, Identity, Row, Scalar, Table, identity, is_number

ALONE = "no inputs that settings can bring about differ in this one only"
SAME = "the outcome is the same on both sides for all values of the other inputs"
STOPPED = "none was found: the search was stopped"

Values = Mapping[str, Scalar]


@dataclass(slots=True)
class Case:
    """Inputs of a table, the rows that decide, and settings that produce the inputs.

    `cells` and `values` are its purpose: cells, as `row/input`, to whose MC/DC pair it belongs, and boundary values.
    """

    inputs: Values
    rows: tuple[Row, ...]
    witness: Assignment
    cells: dict[str, None] = field(default_factory=dict)
    values: dict[str, None] = field(default_factory=dict)

    @property
    def shows(self) -> str:
        """The purpose of the case, in one line."""
        parts = {"MC/DC": self.cells, "boundary": self.values}
        return "; ".join(f"{name} {', '.join(listed)}" for name, listed in parts.items() if listed)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two cases, by number, that differ in `column` only and in the outcome; or the `reason` why none exist."""

    row: Row
    column: str
    holds: int | None = None
    fails: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CaseSet:
    """The cases of a table. `proven` is false where settings may not lead to some of the inputs."""

    table: Table
    cases: tuple[Case, ...]
    pairs: tuple[Pair, ...]
    proven: bool


def table_cases(ruleset: RuleSet, table: Table) -> CaseSet:
    """Return the cases of a table of a rule set without gaps and conflicts."""
    subject = Subject.of(ruleset, table, AxisBuilder(ruleset).axes(table, {}), 0)
    finder = _Finder(ruleset, subject)
    pairs = [finder.pair(number, row, name) for number, row in enumerate(table.rows) for name in _asked(table, row)]
    for column in table.columns:
        finder.boundaries(column.name)
    finder.rest()
    return CaseSet(table, tuple(finder.cases), tuple(pairs), subject.proven)


def _asked(table: Table, row: Row) -> Iterator[str]:
    return (column.name for column in table.columns if row.condition(column.name) != ANY)


class _Finder:
    """Looks for cases in the space of one table; equal inputs are one case."""

    def __init__(self, ruleset: RuleSet, subject: Subject) -> None:
        self.subject = subject
        self.table = subject.table
        self.compiled = ruleset.compiled[self.table.id]
        self.effects = [row.effect() for row in self.table.rows]
        self.collects = self.table.hit == "collect"
        self.cases: list[Case] = []
        self._numbers: dict[tuple[Identity, ...], int] = {}
        self._groups = {name: _alike(axis, name) for axis in subject.axes for name in axis.columns}
        # Points that no file can set are the last choice: their cases need variables or derived values to be pasted.
        points = (point for axis in subject.axes for cell in axis.cells for point in cell)
        self._unsaid = frozenset(id(point) for point in points if _effort(point)[0])
        self._others: dict[int, Space] = {}
        # A bound for the whole table beside that of each question: many cells of a hard table would add up.
        self._steps_left = MOST_STEPS * 40
        self._simplest: dict[tuple[int, int], Point] = {}

    def axis_of(self, column: str) -> int:
        """Return the number of the axis that a column belongs to."""
        return next(at for at, axis in enumerate(self.subject.axes) if column in axis.columns)

    # where the other axes have to be

    def others(self, at: int) -> Space:
        """Return the space of all axes but one."""
        if at not in self._others:
            rows = len(self.table.rows)
            axes = [axis for number, axis in enumerate(self.subject.axes) if number != at]
            self._others[at] = Space([CellIndex(axis.rows, rows) for axis in axes], rows)
        return self._others[at]

    def box(self, at: int, sides: Iterable[tuple[Point, int]]) -> Box | None:
        """Return where the other axes let a row decide at each of some points of an axis, if anywhere."""
        space = self.others(at)
        box, hidden = space.whole, 0
        for point, row in sides:
            box = tuple(a & b for a, b in zip(box, space.row(row), strict=True))
            hidden |= 0 if self.collects else point.rows & ((1 << row) - 1)
        return next(space.uncovered(box, hidden), None)

    @contextmanager
    def _budget(self, at: int) -> Iterator[Space]:
        """Set the budget of steps of a question, as long as the table has some left."""
        space = self.others(at)
        space.steps_left = given = min(MOST_STEPS, self._steps_left)
        try:
            yield space
        finally:
            self._steps_left -= given - space.steps_left

    # MC/DC

    def pair(self, number: int, row: Row, column: str) -> Pair:
        """Return the pair of a cell."""
        at, reason = self.axis_of(column), ALONE
        try:
            with self._budget(at) as space:
                for inside, outside in _neighbours(self._groups[column], self._unsaid, number, space):
                    reason = SAME
                    box = self._apart(at, number, inside, outside)
                    if box is not None:
                        holds, fails = (self._case(at, point, box) for point in (inside, outside))
                        for case in (holds, fails):
                            self.cases[case].cells[f"{row.id}/{column}"] = None
                        return Pair(row, column, holds, fails)
        except OutOfStepsError:
            reason = STOPPED
        return Pair(row, column, reason=reason)

    def _apart(self, at: int, row: int, inside: Point, outside: Point) -> Box | None:
        """Return where the row decides inside, and outside there is another outcome."""
        if self.collects:
            return self.box(at, [(inside, row)])
        space = self.others(at)
        boxes = (
            self.box(at, [(inside, row), (outside, other)])
            for other in bits(space.touching(space.row(row), outside.rows))
            if self.effects[other] != self.effects[row]
        )
        return next((box for box in boxes if box is not None), None)

    # boundary values

    def boundaries(self, column: str) -> None:
        """Add a case for each boundary value of a column and each row whose cell ends there, else for any row."""
        at = self.axis_of(column)
        axis, index = self.subject.axes[at], self.compiled.index(column)
        atoms = axis.atoms[axis.columns.index(column)]
        holding = [index.rows_at(atom.sample) for atom in atoms]
        asking = sum(1 << number for number, row in enumerate(self.table.rows) if row.condition(column) != ANY)
        for number, atom in enumerate(atoms):
            points = _points_with(axis, column, atom)
            # Only rows whose own cell ends at this atom: the boundary of another row is no boundary for them.
            edges = holding[number] & asking & ~_inner(atoms, holding, number)
            found = [*self._deciding(at, points, edges)]
            # A value without an edge of its own still gets one case, for one of the rows that hold there.
            found = found or [*islice(self._deciding(at, points, holding[number]), 1)]
            for (point, box), value in product(found, self._values(axis, column, atom)):
                case = self._case(at, point, box, {column: value})
                self.cases[case].values[f"{column} = {scalar_words(value)}"] = None

    def rest(self) -> None:
        """Add a case for each row that decides in none so far."""
        if not self.table.columns:
            self.add({}, ())
            return
        decided = {row.id for case in self.cases for row in case.rows}
        missing = sum(1 << number for number, row in enumerate(self.table.rows) if row.id not in decided)
        points = sorted((point for cell in self.subject.axes[0].cells for point in cell), key=_effort)
        for point, box in self._deciding(0, points, missing):
            self._case(0, point, box)

    def _deciding(self, at: int, points: Sequence[Point], rows: int) -> Iterator[tuple[Point, Box]]:
        """Yield for each of the rows one of the points, and where it decides there."""
        for row in bits(rows):
            with suppress(OutOfStepsError), self._budget(at):
                boxes = ((point, self.box(at, [(point, row)])) for point in points if point.rows >> row & 1)
                yield from islice(((point, box) for point, box in boxes if box is not None), 1)

    def _values(self, axis: Axis, column: str, atom: Atom) -> list[Scalar]:
        """Return the values of an atom that count."""
        return boundary_values(atom, self.subject.domains[column]) if self._alone(axis, column) else [atom.sample]

    def _alone(self, axis: Axis, column: str) -> bool:
        """Return True if a column sees a setting as it is, so that each of its values can be written down."""
        source = next(c.source for c in self.table.columns if c.name == column)
        return axis.free and len(axis.columns) == 1 and source.kind == "setting" and source.view is None

    # cases

    def _case(self, at: int, point: Point, box: Box, values: Values | None = None) -> int:
        """Add the case of a point of one axis and the simplest points of the others, and return its number.

        `values` replaces what is seen at the point.
        """
        numbers = [number for number in range(len(self.subject.axes)) if number != at]
        chosen = {number: self._point(number, cells) for number, cells in zip(numbers, box, strict=True)} | {at: point}
        witness = [pair for number in numbers for pair in chosen[number].witness]
        seen = dict(values or {})
        # Of a plain setting any value of the atom can be written, not only the sample of its witness.
        alone = [value for name, value in seen.items() if self._alone(self.subject.axes[at], name)]
        witness += [(source, alone[0]) for source, _ in point.witness] if alone else point.witness
        for number, one in chosen.items():
            for name, choice in zip(self.subject.axes[number].columns, one.choices, strict=True):
                seen.setdefault(name, choice[0].sample)
        return self.add({column.name: seen[column.name] for column in self.table.columns}, tuple(witness))

    def _point(self, at: int, cells: int) -> Point:
        """Return the point of some cells of an axis that is the least to write down."""
        if (at, cells) not in self._simplest:
            axis = self.subject.axes[at]
            points = (point for number in bits(cells) for point in axis.cells[number])
            self._simplest[at, cells] = min(points, key=_effort)
        return self._simplest[at, cells]

    def add(self, inputs: Values, witness: Assignment) -> int:
        """Add a case, unless there is one with equal inputs, and return its number."""
        number = self._numbers.setdefault(tuple(map(identity, inputs.values())), len(self.cases))
        if number == len(self.cases):
            matching = self.compiled.matching(inputs)
            rows = rows_of(self.table, matching if self.collects else matching & -matching)
            self.cases.append(Case(inputs, rows, witness))
        return number


def _effort(point: Point) -> tuple[bool, int]:
    """Order points by whether a configuration file can set all of them, and by the number of settings."""
    kinds = {source.kind for source, _ in point.witness}
    return (not kinds.isdisjoint({"derived", "flag"}), sum(value is not None for _, value in point.witness))


def _alike(axis: Axis, column: str) -> list[list[Point]]:
    """Group the points of an axis that differ in one column only, in the order of its values."""
    at = axis.columns.index(column)
    groups: dict[tuple[int, ...], list[Point]] = {}
    for point in (point for cell in axis.cells for point in cell):
        rest = tuple(choice[0].order for number, choice in enumerate(point.choices) if number != at)
        groups.setdefault(rest, []).append(point)
    return [sorted(group, key=lambda point: point.choices[at][0].order) for group in groups.values()]


def _neighbours(
    groups: Sequence[Sequence[Point]], unsaid: frozenset[int], row: int, space: Space
) -> Iterator[tuple[Point, Point]]:
    """Yield points of one group, of which a row holds at the first only; those that are not `unsaid` come first.

    Of pairs at which the same rows hold the first is enough. The outer point is looked for from the inner one outwards;
    each look is a step of the budget of `space`.

    Raises:
        OutOfStepsError: the budget is used up.
    """
    seen: set[tuple[int, int]] = set()
    for hard in (False, True) if unsaid else (False,):
        for group in groups:
            for at, inside in enumerate(group):
                for outside in _outwards(group, at) if inside.rows >> row & 1 else ():
                    space.spend()
                    rows = (inside.rows, outside.rows)
                    if (
                        not outside.rows >> row & 1
                        and rows not in seen
                        and hard != unsaid.isdisjoint((id(inside), id(outside)))
                    ):
                        seen.add(rows)
                        yield inside, outside


def _outwards(group: Sequence[Point], at: int) -> Iterator[Point]:
    for distance in range(1, len(group)):
        yield from (group[near] for near in (at - distance, at + distance) if 0 <= near < len(group))


def _inner(atoms: Sequence[Atom], holding: Sequence[int], number: int) -> int:
    """Return the rows that hold on both sides of an atom of the number line, so that none of their cells ends there."""
    around = (number - 1, number + 1)
    if not is_number(atoms[number].sample) or not all(0 <= near < len(atoms) for near in around):
        return 0
    return holding[around[0]] & holding[around[1]] if is_number(atoms[around[0]].sample) else 0


def _points_with(axis: Axis, column: str, atom: Atom) -> list[Point]:
    at = axis.columns.index(column)
    return sorted((point for cell in axis.cells for point in cell if atom in point.choices[at]), key=_effort)
