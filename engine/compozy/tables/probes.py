"""Probes: configurations drawn at random, for which all tables decide at once.

A set of probes is an integer, bit i is probe i, so that one operation on it evaluates a condition for every probe. Each
probe is feasible; a row that decides in one of them can decide. A row that decides in none of them may still do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, reduce
from itertools import islice
from operator import or_
from random import Random
from typing import TypeAlias

from compozy.tables.atoms import atoms_of, samples_in, samples_of
from compozy.tables.cover import OutOfStepsError
from compozy.tables.decide import RuleSet
from compozy.tables.feasible import Feasible, InputColumn
from compozy.tables.table import ColumnSource, Condition, Scalar, Table

# The values of a source, each with the probes that have it.
Seen: TypeAlias = Iterable[tuple[Scalar, int]]
# For each input, by its name, the sets of rows that hold for its values, with the probes that have these.
Cells: TypeAlias = Mapping[str, Mapping[int, int]]
Readers: TypeAlias = Mapping[ColumnSource, Sequence[tuple[Table, str]]]

# An operation on so many probes takes little longer than one on a single number.
_PROBES = 2048
# More combinations of values would leave too few probes for each.
_MOST_VALUES = 64
# Larger tables are verified by their axes, which need no step for each row and value.
_MOST_ROWS = 100


class Probes:
    """Decides the tables of one rule set for all probes, in the order of evaluation."""

    def __init__(self, ruleset: RuleSet, feasible: Feasible) -> None:
        self._ruleset = ruleset
        self._feasible = feasible
        self._decided: dict[str, list[int]] = {}

    def cells(self, table: Table, inputs: Iterable[InputColumn]) -> Cells | None:
        """Return the cells of inputs of a table, None where these are not known.

        If the table decides, and those behind it decide always, no set of rows is missing.
        """
        if len(table.rows) > _MOST_ROWS:
            return None
        found: dict[str, dict[int, int]] = {}
        for one in inputs:
            values = self._seen(one.reading.source)
            if values is None:
                return None
            probes_at = found[one.name] = dict[int, int]()
            for value, probes in values:
                rows = one.rows.rows_at(value)
                probes_at[rows] = probes_at.get(rows, 0) | probes
        return found

    def matching(self, table: Table, cells: Cells) -> list[int]:
        """Return for each row the probes in which its conditions on these inputs hold."""
        found = []
        for number, row in enumerate(table.rows):
            matching = (1 << _PROBES) - 1
            for name in row.when:
                if name in cells:
                    matching &= reduce(or_, [probes for rows, probes in cells[name].items() if rows >> number & 1], 0)
            found.append(matching)
        return found

    def decide(self, table: Table, cells: Cells) -> list[int]:
        """Return for each row of a table the probes in which it decides, as the first that matches."""
        left, found = -1, []
        for probes in self.matching(table, cells):
            found.append(probes & left)
            left &= ~probes
        self._decided[table.id] = found
        return found

    def _seen(self, source: ColumnSource) -> Seen | None:
        if source.kind != "decision":
            return self._values.get(source)
        if source.ref not in self._decided:
            return None
        values = [row.then[source.output or ""] for row in self._ruleset.tables[source.ref].rows]
        return zip(values, self._decided[source.ref], strict=True)

    @cached_property
    def _values(self) -> Mapping[ColumnSource, list[tuple[Scalar, int]]]:
        readers = self._readers()
        # The same probes in every run.
        found, random = {}, Random(0)  # noqa: S311 - nothing secret
        for bases, sources in self._feasible.related(readers):
            observed = self._observed(bases, sources, readers)
            if observed is not None and len(observed) <= _MOST_VALUES:
                probes = _drawn(random, len(observed), (1 << _PROBES) - 1)
                for source, values in zip(sources, zip(*observed, strict=True), strict=bool(observed)):
                    found[source] = list(zip(values, probes, strict=True))
        return found

    def _readers(self) -> Readers:
        """Return what decisions read, and what findings read that depends on the same settings as their decisions."""
        readers: dict[ColumnSource, list[tuple[Table, str]]] = {}
        for table in [table for table in self._ruleset.tables.values() if len(table.rows) <= _MOST_ROWS]:
            inputs: Sequence[InputColumn] = self._feasible.inputs(table)
            common = -1
            if table.hit == "collect":
                inputs = self._feasible.inputs_as_written(table)
                common = reduce(or_, [one.depends for one in inputs if one.decisions], 0)
            for one in inputs:
                if not one.decisions and one.depends & common:
                    readers.setdefault(one.reading.source, []).append((table, one.name))
        return readers

    def _observed(
        self, bases: Sequence[ColumnSource], sources: Sequence[ColumnSource], readers: Readers
    ) -> Sequence[tuple[Scalar, ...]] | None:
        """Return all values that sources can have together, None where these are too many to observe."""
        viewer = self._ruleset.viewer
        domains = [self._ruleset.domains[readers[source][0][0].id][readers[source][0][1]] for source in sources]
        conditions = [[*self._conditions(source, readers[source])] for source in sources]
        if viewer is None or (tuple(bases) == tuple(sources) and not viewer.limits(sources[0])):
            return [(value,) for value in samples_of(domains[0], conditions[0])]
        values: dict[str, list[Scalar]] = {}
        for source, domain, asked in zip(sources, domains, conditions, strict=True):
            if source.view is None:
                atoms = [atom for atom in atoms_of(domain, asked) if not atom.other]
                # As many values as there are settings may have to differ from each other.
                listed = [value for atom in atoms for value in samples_in(atom, domain, len(bases))]
                values.setdefault(source.ref, []).extend(listed)
        try:
            observations = [one.values for one in islice(viewer.observations(bases, sources, values), _MOST_VALUES + 1)]
        except OutOfStepsError:
            return None
        if len(observations) > _MOST_VALUES:
            return None
        # A value outside a domain is reported where it is written, and no row can ask for it.
        return [
            seen
            for seen in observations
            if all(domain.contains(value) for domain, value in zip(domains, seen, strict=True))
        ]

    def _conditions(self, source: ColumnSource, readers: Iterable[tuple[Table, str]]) -> Iterator[Condition]:
        for table, name in readers:
            yield from [row.when[name] for row in table.rows if name in row.when]
        if self._ruleset.viewer is not None:
            yield from self._ruleset.viewer.limits(source)


def _drawn(random: Random, count: int, probes: int) -> list[int]:
    """Divide probes at random into a number of parts."""
    if count < 2:
        return [probes] * count
    chosen = probes & random.getrandbits(_PROBES)
    return [*_drawn(random, count // 2, chosen), *_drawn(random, count - count // 2, probes ^ chosen)]
