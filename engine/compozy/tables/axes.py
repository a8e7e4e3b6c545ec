"""The axes along which one table is verified: its columns, as far as their values can really occur.

What comes in: a rule set. What goes out: for one table, independent axes of points. A column that alone
reads a setting is an axis of its own. Columns that depend on common settings, through whatever tables
feed them or views they look through, make one axis together, whose points are exactly the combinations
that some settings bring about. Where these are too many, each column falls back to the values that its
feeder produces, and the axis says that it is not exact.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter, getitem
from typing import NamedTuple, TypeAlias

from compozy.tables.atoms import Atom, atoms_of
from compozy.tables.cover import OutOfStepsError
from compozy.tables.decide import RuleSet
from compozy.tables.link import decision_output, feeders
from compozy.tables.relation import Cutter, Family, Opened, Relation, Step, Variable, combine, plain_family, seen_family
from compozy.tables.sight import ORIGIN, Assignment, Look
from compozy.tables.table import Column, Domain, Identity, Scalar, Source, Table, identity

MOST_COMBINATIONS = 20_000

Combinations: TypeAlias = tuple[Relation | None, list[Variable]]
Choices: TypeAlias = tuple[tuple[Atom, ...], ...]
Shown: TypeAlias = Mapping[Identity, Assignment]
Produced: TypeAlias = Mapping[tuple[str, str], Sequence[Scalar]]


class Point(NamedTuple):
    """One combination of values of an axis' columns, and settings that bring it about.

    `choices` holds for each column the atoms that are alike here; `rows` the rows that match.
    """

    rows: int
    choices: tuple[tuple[Atom, ...], ...]
    witness: Assignment


@dataclass(frozen=True, slots=True)
class Axis:
    """Columns, all their atoms, and cells: a cell is all points at which the same rows match.

    `free` tells that the points are all that a column may be, with no table in between; `exact` is false
    where nothing may lead to some of the points.
    """

    columns: tuple[str, ...]
    atoms: tuple[tuple[Atom, ...], ...]
    cells: tuple[tuple[Point, ...], ...]
    free: bool
    exact: bool = True

    def rows_at(self) -> list[int]:
        """Return for each cell the rows that match there."""
        return [cell[0].rows for cell in self.cells]


class AxisBuilder:
    """Builds the axes of the tables of one rule set; cones are remembered between tables."""

    def __init__(self, ruleset: RuleSet, most: int = MOST_COMBINATIONS) -> None:
        self._ruleset = ruleset
        self._most = most
        self._cutter = Cutter(ruleset)
        self._opened = Opened(ruleset)
        self._related: dict[tuple[Variable, ...], Family] = {}
        self._ordered = set(ruleset.order)
        self._sources: dict[tuple[str, str], Source] = {}
        self._steps: dict[str, Step] = {}
        self._looks: dict[Source, Look] = {}
        self._cones: dict[str, frozenset[Source]] = {}
        self._sound: dict[str, bool] = {}
        self._known: dict[tuple[Source, ...], Combinations] = {}

    def axes(self, table: Table, produced: Produced) -> list[Axis]:
        """Build the axes of a table; `produced` are the values that the tables before it can decide."""
        axes: list[Axis] = []
        for group in self._groups(table):
            axes += self._axes_of(table, group, produced)
        return axes

    def _axes_of(self, table: Table, group: Sequence[Column], produced: Produced) -> list[Axis]:
        fed = [source for column in group for source in self._decisions(table, column)]
        sound = all(self._is_sound(source) for source in fed)
        if not sound or (len(group) == 1 and not fed and self._is_plain(table, group[0])):
            return [self._single_axis(table, column, produced) for column in group]
        joint = self._joint_axis(table, group)
        return [joint] if joint else [self._single_axis(table, column, produced, exact=False) for column in group]

    def _decisions(self, table: Table, column: Column) -> Collection[Source]:
        """Return the decisions that a column reads, or that fill in what it looks at."""
        source = self._resolved(table, column)
        return (source,) if source.kind == "decision" else self._looks[source].filled.values()

    def _is_plain(self, table: Table, column: Column) -> bool:
        """Return True if a column shows any value of one setting, or whatever a view shows by itself."""
        look, viewer = self._looks[self._resolved(table, column)], self._ruleset.viewer
        limited = viewer is not None and any(viewer.limits(base) for base in look.bases)
        return not limited and (look.source.view is not None or len(look.bases) == 1)

    # which columns depend on common settings

    def _groups(self, table: Table) -> list[list[Column]]:
        groups: list[tuple[set[Source], list[Column]]] = []
        for column in table.columns:
            sources, members = set(self._cone_of(table, column)), [column]
            apart = []
            for other, columns in groups:
                if sources.isdisjoint(other):
                    apart.append((other, columns))
                else:
                    sources |= other
                    members = columns + members
            groups = [*apart, (sources, members)]
        return [members for _, members in groups]

    def _is_sound(self, source: Source) -> bool:
        """Tell whether a decision exists, and all that it depends on."""
        if source.ref not in self._ordered:
            return False
        table = self._ruleset.tables[source.ref]
        if table.hit == "collect" or decision_output(source, table) not in table.outputs:
            return False
        known = self._sound.get(table.id)
        if known is None:
            fed = [column.source for column in table.columns if column.source.kind == "decision"]
            known = self._sound[table.id] = all(self._is_sound(feeder) for feeder in fed)
        return known

    def _cone_of(self, table: Table, column: Column) -> frozenset[Source]:
        if column.source.kind == "decision" and column.source.ref in self._ordered:
            return self._cone(column.source.ref)
        look = self._looks[self._resolved(table, column)]
        filling = (self._cone(decision.ref) for decision in look.filled.values() if decision.ref in self._ordered)
        return frozenset(look.bases).union(*filling)

    def _cone(self, table_id: str) -> frozenset[Source]:
        known = self._cones.get(table_id)
        if known is None:
            table = self._ruleset.tables[table_id]
            known = frozenset().union(*(self._cone_of(table, column) for column in table.columns))
            self._cones[table_id] = known
        return known

    def _resolved(self, table: Table, column: Column) -> Source:
        """Return where a column reads; sources that look at the same value differ in their view only."""
        # By names, because hashing a source takes longer than all the rest.
        key = (table.id, column.name)
        known = self._sources.get(key)
        if known is None:
            look = self._look(column.source, collects=table.hit == "collect")
            known = self._sources[key] = look.source
            self._looks[known] = look
        return known

    def _look(self, source: Source, *, collects: bool) -> Look:
        """Return a source with nothing left implicit, and the underlying values that it looks at."""
        if source.kind == "decision":
            feeder = self._ruleset.tables.get(source.ref)
            if feeder is not None:
                source = Source("decision", source.ref, None, decision_output(source, feeder))
        elif self._ruleset.viewer is not None:
            return self._ruleset.viewer.look(source, collects=collects)
        return Look(source, (source,))

    # one column alone

    def _single_axis(self, table: Table, column: Column, produced: Produced, *, exact: bool = True) -> Axis:
        domain = self._ruleset.domains[table.id][column.name]
        source = self._resolved(table, column)
        if source.kind == "decision" and (source.ref, source.output) in produced:
            domain = Domain.finite(produced[source.ref, source.output or ""])
        atoms = atoms_of(domain, (row.condition(column.name) for row in table.rows))
        shown = self._shown(source, len(atoms))
        if shown is not None:
            atoms = tuple(atom for atom in atoms if identity(atom.sample) in shown)
        index = self._ruleset.compiled[table.id].index(column.name)
        points = (Point(index.rows_at(a.sample), ((a,),), _said(source, a.sample, shown)) for a in atoms)
        cells = _cells(points, ordered=domain.kind == "number")
        return Axis((column.name,), (atoms,), cells, source.kind != "decision", exact)

    def _shown(self, source: Source, most: int) -> Shown | None:
        """Return what a view by itself can show, with what brings it about; `None` where there is no view."""
        bases, viewer = self._looks[source].bases, self._ruleset.viewer
        if viewer is None or source in bases or source.view is None:
            return None
        shown: dict[Identity, Assignment] = {}
        try:
            for sight in viewer.sights(bases, [source], {}):
                shown.setdefault(identity(sight.seen[0]), sight.said)
                if len(shown) == most:
                    break
        except OutOfStepsError:
            return None
        return shown

    # columns that depend on each other

    def _joint_axis(self, table: Table, group: Sequence[Column]) -> Axis | None:
        combinations, variables = self._combinations(table, group)
        if combinations is None:
            return None
        compiled = self._ruleset.compiled[table.id]
        held = [v.rows_at(compiled.index(c.name)) for c, v in zip(group, variables, strict=True)]
        choices = [variable.choices for variable in variables]
        atoms = tuple(_reached_atoms(combinations, number, every) for number, every in enumerate(choices))
        points = (_joint_point(values, witness, held, choices) for values, witness in combinations.items())
        return Axis(tuple(column.name for column in group), atoms, _cells(points), free=False)

    def _combinations(self, table: Table, group: Sequence[Column]) -> Combinations:
        """Return what a group's columns can be together; groups of decisions only are remembered."""
        last = self._step(table, group)
        known = self._known.get(last.sources)
        if known is not None:
            return known
        agreements = self._agreements(last)
        steps = [*self._ancestors([*last.sources, *agreements.values()]), last]
        variables = self._cutter.variables(steps, agreements)
        try:
            families = self._families(variables)
        except OutOfStepsError:
            return None, []
        relation = combine(self._opened, steps, variables, families, agreements, self._most)
        combinations = (relation, [variables[source] for source in last.sources])
        if all(source.kind == "decision" for source in last.sources):
            self._known[last.sources] = combinations
        return combinations

    def _agreements(self, step: Step) -> dict[Source, Source]:
        """Return the origin of each value that a decision fills in, with that decision."""
        agreements: dict[Source, Source] = {}
        for base, decision in (pair for source in step.sources for pair in self._looks[source].filled.items()):
            origin = Source(ORIGIN, base.ref)
            self._looks[origin] = Look(origin, (base,))
            agreements[origin] = decision
        return agreements

    def _ancestors(self, sources: Iterable[Source]) -> list[Step]:
        """Return the tables behind sources, each right after what it reads, so that little is kept long."""
        visited: dict[str, None] = {}
        for source in sources:
            if source.kind == "decision":
                self._visit(source.ref, visited)
        return [self._whole_step(table_id) for table_id in visited]

    def _visit(self, table_id: str, visited: dict[str, None]) -> None:
        if table_id not in visited:
            for feeder in feeders(self._ruleset.tables[table_id]):
                self._visit(feeder, visited)
            visited[table_id] = None

    def _whole_step(self, table_id: str) -> Step:
        known = self._steps.get(table_id)
        if known is None:
            table = self._ruleset.tables[table_id]
            known = self._steps[table_id] = self._step(table, table.columns)
        return known

    def _step(self, table: Table, columns: Sequence[Column]) -> Step:
        return Step(table, tuple(columns), tuple(self._resolved(table, column) for column in columns))

    def _families(self, variables: Mapping[Source, Variable]) -> dict[Source, Family]:
        """Group the sources that look at common underlying values."""
        related: list[tuple[dict[Source, None], list[Source]]] = []
        for source in variables:
            if source.kind != "decision":
                bases, members = dict.fromkeys(self._looks[source].bases), [source]
                for group in [group for group in related if not bases.keys().isdisjoint(group[0])]:
                    related.remove(group)
                    bases, members = group[0] | bases, group[1] + members
                related.append((bases, members))
        families = (self._family(tuple(bases), sources, variables) for bases, sources in related)
        return {source: family for family in families for source in family.sources}

    def _family(
        self, bases: Sequence[Source], sources: Sequence[Source], variables: Mapping[Source, Variable]
    ) -> Family:
        key = tuple(variables[source] for source in sources)
        known = self._related.get(key)
        if known is None:
            known = self._related[key] = self._made_family(bases, sources, variables)
        return known

    def _made_family(
        self, bases: Sequence[Source], sources: Sequence[Source], variables: Mapping[Source, Variable]
    ) -> Family:
        viewer = self._ruleset.viewer
        if viewer is None or (tuple(bases) == tuple(sources) and not viewer.limits(sources[0])):
            return plain_family(sources[0], variables[sources[0]])
        values: dict[str, list[Scalar]] = {}
        for source in sources:
            if source.view is None and source.kind != ORIGIN:
                # As many values as there are settings may have to differ from each other.
                values.setdefault(source.ref, []).extend(variables[source].samples(len(bases)))
        return seen_family(sources, variables, viewer.sights(bases, sources, values))


def _said(source: Source, value: Scalar, shown: Shown | None) -> Assignment:
    return ((source, value),) if shown is None else shown[identity(value)]


def _reached_atoms(relation: Relation, column: int, choices: Choices) -> tuple[Atom, ...]:
    reached = {values[column] for values in relation}
    return tuple(sorted((atom for value in reached for atom in choices[value]), key=attrgetter("order")))


def _joint_point(
    values: tuple[int, ...], witness: Assignment, held: Sequence[Sequence[int]], choices: Sequence[Choices]
) -> Point:
    rows = -1
    for holding, value in zip(held, values, strict=True):
        rows &= holding[value]
    return Point(rows, tuple(map(getitem, choices, values)), witness)


def _cells(points: Iterable[Point], *, ordered: bool = False) -> tuple[tuple[Point, ...], ...]:
    if ordered:
        # Numbers keep their order and join neighbours only, so that ranges stay runs of cells.
        return tuple(tuple(alike) for _, alike in groupby(points, key=lambda point: point.rows))
    cells: dict[int, list[Point]] = {}
    for point in points:
        cells.setdefault(point.rows, []).append(point)
    return tuple(tuple(alike) for alike in cells.values())
