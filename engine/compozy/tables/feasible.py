"""Compute the feasible combinations of column values of a table, over all assignments of the settings.

Each decision is a function of settings, kept as a decision diagram, and so is the set of rows that match. Tables share
the diagrams of the decisions that they read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from operator import add, and_, or_
from typing import Any, NamedTuple, TypeAlias

from compozy.base.record import dataclass
from compozy.tables.cover import OutOfStepsError
from compozy.tables.decide import RuleSet
from compozy.tables.diagram import Diagram, Diagrams, Join, assignments, values_of
from compozy.tables.index import ColumnIndex
from compozy.tables.link import decision_output, feeders
from compozy.tables.observation import ORIGIN, Assignment, ColumnReading
from compozy.tables.table import ColumnSource, Scalar, Table, identity
from compozy.tables.variables import Partition, Reader, SourceVariables, Variable

# Partitions by the sources that belong to them.
Partitions: TypeAlias = Mapping[ColumnSource, Partition]
# The choices of columns, by position, with settings that lead there.
Combinations: TypeAlias = Iterable[tuple[tuple[int, ...], Assignment]]

# Diagrams are as deep as they have variables, and operations on them call themselves once a level.
_MOST_VARIABLES = 400
# More than there are levels.
_ABOVE = 1 << 32


class InputColumn(NamedTuple):
    """A column of a table: how it reads, the decisions behind that, and its rows by value.

    `depends` holds the settings and facts on which it depends, as bits.
    """

    name: str
    rows: ColumnIndex
    reading: ColumnReading
    decisions: tuple[ColumnSource, ...]
    depends: int


@dataclass(frozen=True, slots=True)
class Joint:
    """The feasible combinations of inputs, by the different sets of rows that match.

    `variables` are those of the inputs; `combinations` finds the choices on request.

    Raises:
        OutOfStepsError: `combinations` has to distinguish too many.
    """

    rows: tuple[int, ...]
    variables: tuple[Variable, ...]
    combinations: Callable[[], Combinations]


class Feasible:
    """Finds the feasible combinations of the inputs of tables; the tables of a rule set share their decisions."""

    def __init__(self, ruleset: RuleSet, most: int) -> None:
        self._ruleset = ruleset
        self._ordered = set(ruleset.order)
        self._diagrams = Diagrams(most)
        self._variables = SourceVariables(ruleset)
        self.behind = _tables_behind(ruleset)
        self._inputs: dict[str, tuple[InputColumn, ...]] = {}
        self._readings: dict[tuple[ColumnSource, bool], tuple[ColumnReading, tuple[ColumnSource, ...], int]] = {}
        self._levels: dict[ColumnSource, int] = {}
        self._bases: dict[ColumnSource, tuple[ColumnSource, ...]] = {}
        self._read: dict[str, Mapping[ColumnSource, Sequence[Reader]]] = {}
        self._grouped: dict[object, Partitions] = {}
        self._related: dict[tuple[Variable, ...], Partition] = {}
        self._decided: dict[tuple[object, ...], Diagram | OutOfStepsError] = {}

    def joint(self, table: Table, group: Sequence[InputColumn]) -> Joint | None:
        """Return the feasible combinations of the inputs of a group, None where these are too many."""
        try:
            partitions = self._partitions(table, group)
            variables = tuple([self._variable(one, partitions) for one in group])
            held = [variable.rows_at(one.rows) for one, variable in zip(group, variables, strict=True)]
            factors = self._factors(group, partitions, held, and_, -1)
            rows = (
                values_of(factors[0])
                if len(factors) == 1
                else self._diagrams.joined_values(factors[0], factors[1], and_)
            )
        except OutOfStepsError:
            return None

        def combinations() -> Combinations:
            # Tuples with the choice of one column; `add` joins them into the choices of all columns.
            numbers = [[(number,) for number in range(len(variable.choices))] for variable in variables]
            factors = self._factors(group, partitions, numbers, add, ())
            function = reduce(partial(self._diagrams.combined, join=add), factors)
            members = {p.level: [assignment for _, assignment in p.members] for p in partitions.values()}
            return assignments(function, members).items()

        return Joint(tuple(rows), variables, combinations)

    # how columns read

    def inputs(self, table: Table) -> tuple[InputColumn, ...]:
        """Return the inputs of a table."""
        found = self._inputs.get(table.id)
        if found is None:
            # Before them those of the tables behind, so that long chains of tables do not recurse.
            for name in self.behind.get(table.id, ()):
                if name not in self._inputs:
                    self.inputs(self._ruleset.tables[name])
            collects = table.hit == "collect"
            columns = zip(table.columns, self._ruleset.compiled[table.id].columns, strict=True)
            found = self._inputs[table.id] = tuple(
                [InputColumn(name, rows, *self._read_as(one.source, collects)) for one, (name, rows) in columns]
            )
        return found

    def inputs_as_written(self, table: Table) -> list[InputColumn]:
        """Return the inputs of a table; those that a decision fills in as they read what is written."""
        return [
            InputColumn(one.name, one.rows, *self._read_as(column.source, False)) if one.reading.filled else one
            for one, column in zip(self.inputs(table), table.columns, strict=True)
        ]

    def _read_as(self, source: ColumnSource, collects: bool) -> tuple[ColumnReading, tuple[ColumnSource, ...], int]:
        """Return how columns read a source, the decisions behind that, and the settings on which that depends."""
        found = self._readings.get((source, collects))
        if found is None:
            reading = self._reading(source, collects=collects)
            self._bases[reading.source] = reading.bases
            decisions = (reading.source,) if reading.source.kind == "decision" else tuple(reading.filled.values())
            # As bits, so that grouping columns by common settings is one operation a pair of columns.
            depends = 0
            for decision in decisions:
                if decision.ref in self._ordered:
                    inputs = self.inputs(self._ruleset.tables[decision.ref])
                    depends = reduce(or_, [one.depends for one in inputs], depends)
            if reading.source.kind != "decision" or reading.source.ref not in self._ordered:
                for base in reading.bases:
                    depends |= 1 << self._level(base)
            found = self._readings[source, collects] = (reading, decisions, depends)
        return found

    def _reading(self, source: ColumnSource, *, collects: bool) -> ColumnReading:
        if source.kind == "decision":
            feeder = self._ruleset.tables.get(source.ref)
            if feeder is not None:
                source = ColumnSource("decision", source.ref, None, decision_output(source, feeder))
        elif self._ruleset.viewer is not None:
            return self._ruleset.viewer.reading(source, collects=collects)
        return ColumnReading(source, (source,))

    def _level(self, base: ColumnSource) -> int:
        return self._levels.setdefault(base, len(self._levels))

    # what depends on common settings

    def _partitions(self, table: Table, group: Sequence[InputColumn]) -> Partitions:
        """Return the partitions of the sources that inputs and the decisions behind them read."""
        key = tuple(
            [one.reading.source if one.reading.source.kind == "decision" else (table.id, one.name) for one in group]
        )
        if key not in self._grouped:
            self._grouped[key] = self._new_partitions(self._readers(table, group), group)
        return self._grouped[key]

    def _readers(self, table: Table, group: Sequence[InputColumn]) -> Mapping[ColumnSource, Sequence[Reader]]:
        """Return the sources that inputs and the decisions behind them read, with their readers."""
        if len(group) == 1 and group[0].reading.source.kind == "decision":
            return self._read_by(group[0].reading.source.ref)
        found: dict[ColumnSource, dict[Reader, None]] = {}
        for one in group:
            for decision in one.decisions:
                for source, readers in self._read_by(decision.ref).items():
                    found.setdefault(source, {}).update(dict.fromkeys(readers))
            if one.reading.source.kind != "decision":
                found.setdefault(one.reading.source, {})[table.id, one.name] = None
        return {source: tuple(readers) for source, readers in found.items()}

    def _read_by(self, table_id: str) -> Mapping[ColumnSource, Sequence[Reader]]:
        if table_id not in self._read:
            for name in (*self.behind[table_id], table_id):
                if name not in self._read:
                    table = self._ruleset.tables[name]
                    self._read[name] = self._readers(table, self.inputs(table))
        return self._read[table_id]

    def _new_partitions(
        self, readers: Mapping[ColumnSource, Sequence[Reader]], group: Sequence[InputColumn]
    ) -> Partitions:
        """Partition the sources; those that read common settings belong to one partition."""
        variables = {source: self._variables.read(source, reading) for source, reading in readers.items()}
        for base, decision in _filled(group).items():
            origin = ColumnSource(ORIGIN, base.ref)
            self._bases[origin] = (base,)
            variables[origin] = self._variables.origin(decision)
        related = self.related(variables)
        if len(related) > _MOST_VARIABLES:
            raise OutOfStepsError
        partitions = [self._partition(bases, sources, variables) for bases, sources in related]
        return {source: partition for partition in partitions for source in partition.sources}

    def related(self, sources: Iterable[ColumnSource]) -> list[tuple[tuple[ColumnSource, ...], list[ColumnSource]]]:
        """Return the sources that read common settings together, after these settings."""
        # Union of overlapping sets of settings: sources that share none are independent and get variables of their own,
        # which keeps the number of members a sum where it would be a product.
        groups: dict[ColumnSource, tuple[dict[ColumnSource, None], list[ColumnSource]]] = {}
        for source in sources:
            bases, members = dict.fromkeys(self._bases[source]), [source]
            for others in {id(groups[base]): groups[base] for base in bases if base in groups}.values():
                bases, members = others[0] | bases, others[1] + members
            groups.update(dict.fromkeys(bases, (bases, members)))
        related = {id(group): group for group in groups.values()}.values()
        return [(tuple(bases), members) for bases, members in related]

    def _partition(
        self, bases: Sequence[ColumnSource], sources: Sequence[ColumnSource], variables: Mapping[ColumnSource, Variable]
    ) -> Partition:
        key = tuple([variables[source] for source in sources])
        known = self._related.get(key)
        if known is None:
            # Common settings give equal levels, so that diagrams of several tables fit together. Fields of an element
            # come first: they choose which settings matter, and below them a diagram branches on those only.
            level = min(self._level(base) - (_ABOVE if base.kind == "item" else 0) for base in bases)
            known = self._related[key] = self._new_partition(bases, sources, key, level)
        return known

    def _new_partition(
        self, bases: Sequence[ColumnSource], sources: Sequence[ColumnSource], variables: Sequence[Variable], level: int
    ) -> Partition:
        viewer = self._ruleset.viewer
        if viewer is None or (tuple(bases) == tuple(sources) and not viewer.limits(sources[0])):
            return Partition.of_one(sources[0], variables[0], level)
        values: dict[str, list[Scalar]] = {}
        for source, variable in zip(sources, variables, strict=True):
            if source.view is None and source.kind != ORIGIN:
                # As many values as there are settings may have to differ from each other.
                values.setdefault(source.ref, []).extend(variable.samples(len(bases)))
        return Partition.of_observed(sources, variables, viewer.observations(bases, sources, values), level)

    # functions of settings

    def _variable(self, one: InputColumn, partitions: Partitions) -> Variable:
        source = one.reading.source
        if source.kind == "decision":
            return self._variables.decided(source)
        partition = partitions[source]
        return partition.variables[partition.sources.index(source)]

    def _factors(
        self,
        group: Sequence[InputColumn],
        partitions: Partitions,
        values: Iterable[Sequence[object]],
        join: Join,
        neutral: object,
    ) -> list[Diagram]:
        """Return one or two functions that give the joined values of inputs; `values` are those of their choices.

        To join `neutral` with a value gives this value.
        """
        parts = [self._of_input(one, partitions, each) for one, each in zip(group, values, strict=True)]
        agreements = [self._agreement(*filled, partitions, neutral) for filled in _filled(group).items()]
        # Neighbours first, because they mostly depend on the same settings.
        while len(parts) > (1 if agreements else 2):
            pairs = zip(parts[::2], parts[1::2], strict=False)
            parts = [self._diagrams.combined(*pair, join) for pair in pairs] + parts[len(parts) // 2 * 2 :]
        for agreement in agreements[:-1]:
            parts = [self._diagrams.combined(parts[0], agreement, join)]
        return [*parts, *agreements[-1:]]

    def _of_input(self, one: InputColumn, partitions: Partitions, values: Sequence[Any]) -> Diagram:
        source = one.reading.source
        if source.kind != "decision":
            return self._of_source(source, partitions[source], values)
        # Diagrams of decisions hold rows, so that one diagram serves all outputs of the table and all its readers.
        each = list(map(values.__getitem__, self._variables.choices_of_rows(source)))
        return self._diagrams.mapped(self._known_deciding(source.ref, partitions), each.__getitem__)

    def _of_source(self, source: ColumnSource, partition: Partition, values: Sequence[object]) -> Diagram:
        return self._diagrams.node(partition.level, tuple(map(values.__getitem__, partition.choices[source])))

    def _known_deciding(self, table_id: str, partitions: Partitions) -> Diagram:
        key = self._key(table_id, partitions)
        if key not in self._decided:
            table = self._ruleset.tables[table_id]
            # All tables behind in their order, so that long chains of tables do not recurse.
            if any(self._key(feeder, partitions) not in self._decided for feeder in feeders(table)):
                for name in self.behind[table_id]:
                    self._known_deciding(name, partitions)
            try:
                self._decided[key] = self._deciding(table, partitions)
            except OutOfStepsError as error:
                self._decided[key] = error
        found = self._decided[key]
        if isinstance(found, OutOfStepsError):
            raise OutOfStepsError
        return found

    def _key(self, table_id: str, partitions: Partitions) -> tuple[object, ...]:
        return (table_id, *map(partitions.__getitem__, self._read_by(table_id)))

    def _deciding(self, table: Table, partitions: Partitions) -> Diagram:
        """Return the row that decides a table; one row stands for all that decide the same. No row is not feasible."""
        # Rows of one outcome are one value: the diagram shrinks, and readers cannot distinguish such rows anyway.
        known: dict[object, int] = {}
        outcomes = [tuple([identity(row.then[output]) for output in table.outputs]) for row in table.rows]
        first = [known.setdefault(outcome, number) for number, outcome in enumerate(outcomes)]

        def decided(one: int, other: int) -> int | None:
            rows = one & other
            return first[(rows & -rows).bit_length() - 1] if rows else None

        inputs = self.inputs(table)
        held: list[list[Any]] = [self._variable(one, partitions).rows_at(one.rows) for one in inputs]
        asked = [sum(1 << n for n, row in enumerate(table.rows) if one.name in row.when) for one in inputs]
        if len(inputs) < 2:
            held = [[decided(rows, -1) for rows in of_choices] for of_choices in held]
        parts = [self._of_input(one, partitions, each) for one, each in zip(inputs, held, strict=True)]
        function: Diagram = parts[0] if parts else decided((1 << len(table.rows)) - 1, -1)
        for number, part in enumerate(parts[1:], 2):
            join = partial(_deciding_rows, reduce(or_, asked[number:], 0)) if number < len(parts) else decided
            function = self._diagrams.combined(function, part, join)
        return function

    def _agreement(
        self, base: ColumnSource, decision: ColumnSource, partitions: Partitions, neutral: object
    ) -> Diagram:
        """Return where a value is written, or is the one of the decision that fills it in."""
        origin = ColumnSource(ORIGIN, base.ref)
        rows = self._variables.rows_of_origins(decision)
        written = self._of_source(origin, partitions[origin], rows)
        decided = self._known_deciding(decision.ref, partitions)
        return self._diagrams.combined(written, decided, lambda rows, row: neutral if rows >> row & 1 else None)


def _tables_behind(ruleset: RuleSet) -> Mapping[str, Sequence[str]]:
    """Return for each table those that it depends on, in the order of evaluation."""
    found: dict[str, Sequence[str]] = {}
    for name in ruleset.order:
        behind: dict[str, None] = {}
        for feeder in feeders(ruleset.tables[name]):
            behind |= dict.fromkeys((*found.get(feeder, ()), feeder))
        found[name] = tuple([feeder for feeder in behind if feeder in found])
    return found


def _filled(group: Iterable[InputColumn]) -> dict[ColumnSource, ColumnSource]:
    """Return the settings whose values decisions give, with these decisions."""
    return {base: decision for one in group for base, decision in one.reading.filled.items()}


def _deciding_rows(open_: int, one: int, other: int) -> int | None:
    """Return the rows of both sets that may decide; further columns have conditions of the rows of `open_` only.

    The first row that no further column can exclude hides all rows behind it, which keeps the sets few.
    """
    rows = one & other
    sure = rows & ~open_
    return rows & ((sure & -sure) * 2 - 1 if sure else rows) or None
