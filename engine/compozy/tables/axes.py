"""The axes along which one table is verified: its columns, as far as their values are feasible.

A column that alone reads a setting is an axis of its own. Columns that depend on common settings, through tables that
feed them or through views, form one axis, whose points are exactly the feasible combinations. Where these are
too many, each column falls back to the values that its feeder produces, and the axis is marked as not exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial, reduce
from itertools import groupby
from operator import and_, attrgetter, getitem
from typing import NamedTuple, TypeAlias

from compozy.base.record import dataclass
from compozy.tables.atoms import Atom, atoms_of, samples_of
from compozy.tables.cover import OutOfStepsError
from compozy.tables.decide import RuleSet
from compozy.tables.feasible import Feasible, InputColumn, Joint
from compozy.tables.index import ColumnIndex
from compozy.tables.link import decision_output
from compozy.tables.observation import Assignment, ColumnReading
from compozy.tables.table import ColumnSource, Domain, Identity, Scalar, Table, identity

MOST_COMBINATIONS = 20_000

Shown: TypeAlias = Mapping[Identity, Assignment]
Produced: TypeAlias = Mapping[tuple[str, str], Sequence[Scalar]]


class Point(NamedTuple):
    """One combination of values of an axis' columns, and settings that lead there.

    `choices` holds for each column the atoms that are alike here; `rows` the rows that match.
    """

    rows: int
    choices: tuple[tuple[Atom, ...], ...]
    witness: Assignment


@dataclass(frozen=True, eq=False)
class Axis:
    """Columns and cells: a cell is all points at which the same rows match; `rows` holds them for each cell.

    `listed` returns the points. Where the axis is `ordered`, points are in the order of numbers and only neighbours
    make a cell. `free` is true if a column can have every one of its values, with no table in between; `exact` is
    false where settings may not lead to some of the points.
    """

    columns: tuple[str, ...]
    rows: tuple[int, ...]
    listed: Callable[[], Iterable[Point]]
    free: bool
    ordered: bool = False
    exact: bool = True

    @cached_property
    def cells(self) -> tuple[tuple[Point, ...], ...]:
        """The points of each cell."""
        if self.ordered:
            return tuple(tuple(alike) for _, alike in groupby(self.listed(), key=attrgetter("rows")))
        cells: dict[int, list[Point]] = {rows: [] for rows in self.rows}
        for point in self.listed():
            cells[point.rows].append(point)
        return tuple(map(tuple, cells.values()))

    @cached_property
    def atoms(self) -> tuple[tuple[Atom, ...], ...]:
        """For each column the atoms of all points, in order."""
        choices = zip(*(point.choices for cell in self.cells for point in cell), strict=True)
        found = tuple(
            tuple(sorted({atom.order: atom for choice in every for atom in choice}.values(), key=attrgetter("order")))
            for every in choices
        )
        return found or ((),) * len(self.columns)


class AxisBuilder:
    """Builds the axes of the tables of one rule set; what is feasible is remembered between tables."""

    def __init__(self, ruleset: RuleSet, most: int = MOST_COMBINATIONS) -> None:
        self._ruleset = ruleset
        self.feasible = Feasible(ruleset, most)
        self._sound: dict[str, bool] = {}
        for name in ruleset.order:
            table = ruleset.tables[name]
            fed = [column.source for column in table.columns if column.source.kind == "decision"]
            self._sound[name] = table.hit != "collect" and all(map(self._is_sound, fed))
        self._shown_by: dict[ColumnSource, Shown | None] = {}

    def axes(self, table: Table, produced: Produced, *, lazily: bool = False) -> list[Axis]:
        """Build the axes of a table; `produced` are the values that the tables before it can decide.

        Points that are listed `lazily` may turn out to be too many: `OutOfStepsError`.
        """
        axes: list[Axis] = []
        for group in self.groups(self.feasible.inputs(table)):
            axes += self.axes_of(table, group, produced, lazily=lazily)
        return axes

    def axes_of(self, table: Table, group: Sequence[InputColumn], produced: Produced, *, lazily: bool) -> list[Axis]:
        """Build the axes of a group of inputs, one if they depend on each other."""
        fed = [decision for one in group for decision in one.decisions]
        if not all(map(self._is_sound, fed)) or (len(group) == 1 and not fed and self._is_plain(group[0].reading)):
            return [self._single_axis(table, one, produced) for one in group]
        joint = self._joint_axis(table, group, lazily=lazily)
        return [joint] if joint else [self._single_axis(table, one, produced, exact=False) for one in group]

    def _is_plain(self, reading: ColumnReading) -> bool:
        """Return True if a column alone reads one setting, or a view of it."""
        viewer = self._ruleset.viewer
        limited = viewer is not None and any(map(viewer.limits, reading.bases))
        return not limited and (reading.source.view is not None or len(reading.bases) == 1)

    def groups(self, inputs: Iterable[InputColumn]) -> list[list[InputColumn]]:
        """Return the inputs that depend on common settings together."""
        groups: list[tuple[int, list[InputColumn]]] = []
        for one in inputs:
            depends, members, apart = one.depends, [one], []
            for group in groups:
                if depends & group[0]:
                    depends |= group[0]
                    members = group[1] + members
                else:
                    apart.append(group)
            groups = [*apart, (depends, members)]
        return [members for _, members in groups]

    def _is_sound(self, source: ColumnSource) -> bool:
        """Return True if a decision exists, and all that it depends on."""
        if not self._sound.get(source.ref):
            return False
        table = self._ruleset.tables[source.ref]
        return decision_output(source, table) in table.outputs

    # one column alone

    def _single_axis(self, table: Table, one: InputColumn, produced: Produced, *, exact: bool = True) -> Axis:
        domain, source = self._ruleset.domains[table.id][one.name], one.reading.source
        if source.kind == "decision" and (source.ref, source.output) in produced:
            domain = Domain.finite(produced[source.ref, source.output or ""])
        conditions = [row.when[one.name] for row in table.rows if one.name in row.when]
        # Values of finite domains are atoms as they are, which are made only where points are listed.
        atoms = () if domain.kind == "finite" else atoms_of(domain, conditions)
        samples = [atom.sample for atom in atoms] or samples_of(domain, conditions)
        shown = self._shown(one.reading, domain)
        if shown is not None:
            samples = [sample for sample in samples if identity(sample) in shown]
        held = list(map(one.rows.rows_at, samples))
        ordered = domain.kind == "number"
        # Numbers keep their order and join neighbours only, so that ranges stay runs of cells.
        rows = tuple([rows for rows, _ in groupby(held)]) if ordered else tuple(dict.fromkeys(held))

        def points() -> Iterable[Point]:
            for atom in atoms or atoms_of(domain, conditions):
                witness = ((source, atom.sample),) if shown is None else shown.get(identity(atom.sample))
                if witness is not None:
                    yield Point(one.rows.rows_at(atom.sample), ((atom,),), witness)

        return Axis((one.name,), rows, points, source.kind != "decision", ordered, exact)

    def _shown(self, reading: ColumnReading, domain: Domain) -> Shown | None:
        """Return the feasible values of a view, with settings for each; None without a view."""
        viewer = self._ruleset.viewer
        if viewer is None or reading.source in reading.bases or reading.source.view is None:
            return None
        if reading.source not in self._shown_by:
            legal = set(map(identity, samples_of(domain, ()))) if domain.kind == "finite" else None
            try:
                found: dict[Identity, Assignment] = {}
                for observation in viewer.observations(reading.bases, [reading.source], {}):
                    found[identity(observation.values[0])] = observation.assignment
                    if legal is not None and legal <= found.keys():
                        break
                self._shown_by[reading.source] = found
            except OutOfStepsError:
                self._shown_by[reading.source] = None
        return self._shown_by[reading.source]

    # columns that depend on each other

    def _joint_axis(self, table: Table, group: Sequence[InputColumn], *, lazily: bool) -> Axis | None:
        joint = self.feasible.joint(table, group)
        if joint is None:
            return None
        points: Callable[[], list[Point]] = partial(_joint_points, joint, [one.rows for one in group])
        if not lazily:
            try:
                # The points are listed now, once; the method of the list returns them at each call.
                points = points().copy
            except OutOfStepsError:
                return None
        return Axis(tuple([one.name for one in group]), joint.rows, points, free=False)


def _joint_points(joint: Joint, indexes: Sequence[ColumnIndex]) -> list[Point]:
    held = [variable.rows_at(index) for variable, index in zip(joint.variables, indexes, strict=True)]
    return [
        Point(
            reduce(and_, map(getitem, held, numbers)),
            tuple([variable.choices[n] for variable, n in zip(joint.variables, numbers, strict=True)]),
            witness,
        )
        for numbers, witness in joint.combinations()
    ]
