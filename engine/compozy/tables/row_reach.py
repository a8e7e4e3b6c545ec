"""Prove without decision diagrams that a table has no fault, and that each row of a table of findings can be reached.

In tables of findings, a column that reads the resolved value of a setting is taken as if this setting were written:
then no decision fills it in. The proof is sufficient only; where it does not succeed, the axes of the table decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import and_, or_

from compozy.tables.atoms import samples_of
from compozy.tables.axes import AxisBuilder, Produced
from compozy.tables.cover import OutOfStepsError
from compozy.tables.decide import RuleSet
from compozy.tables.feasible import InputColumn
from compozy.tables.probes import Probes
from compozy.tables.sweep import decides_once, has_distinct_rows
from compozy.tables.table import ColumnSource, Scalar, Table


class RowReach:
    """Proves for the tables of one rule set that rows are reached, in the order of evaluation."""

    def __init__(self, ruleset: RuleSet, builder: AxisBuilder) -> None:
        self._ruleset = ruleset
        self._builder = builder
        self._probes = Probes(ruleset, builder.feasible)
        self._complete: set[str] = set()

    def completed(self, table: Table) -> None:
        """Record that a table has no gap; with those behind it, it decides for every configuration."""
        if self._decides(table):
            self._complete.add(table.id)

    def _decides(self, table: Table) -> bool:
        """Return True if all tables behind a table decide always; those of a circle do not."""
        behind = self._builder.feasible.behind.get(table.id)
        return behind is not None and self._complete.issuperset(behind)

    def proves(self, table: Table, produced: Produced) -> bool:
        """Return True if it is proven that the rows of a table have no fault; `produced` as for axes."""
        if table.hit == "collect":
            return has_distinct_rows(table) and self.reaches_all(table, produced)
        return self.decides_once(table)

    def decides_once(self, table: Table) -> bool:
        """Return True if it is proven that one row decides a table for every configuration, and that each row does."""
        if self._ruleset.faults or not self._decides(table):
            return False
        cells = self._probes.cells(table, self._builder.feasible.inputs(table))
        if cells is None or not all(self._probes.decide(table, cells)):
            return False
        return decides_once(table, cells.values())

    def reaches_all(self, table: Table, produced: Produced) -> bool:
        """Return True if it is proven that some configuration reaches every row; `produced` as for axes."""
        inputs, resolved = self._builder.feasible.inputs_as_written(table), self._builder.feasible.inputs(table)
        written = {one.name for one, column in zip(inputs, resolved, strict=True) if one is not column}
        if written and not self._may_be_written(resolved):
            return False
        everything = (1 << len(table.rows)) - 1
        # Groups have no setting in common, so that what reaches a row in each of them combines freely.
        for group in self._builder.groups(inputs):
            if written.isdisjoint([one.name for one in group]) and self._probed(table, group):
                continue
            reached = 0
            for rows in self._matching(table, group, written, produced):
                reached |= rows
                if reached == everything:
                    break
            else:
                return False
        return True

    def _probed(self, table: Table, group: Sequence[InputColumn]) -> bool:
        """Return True if some probe reaches every row; only inputs behind which tables decide are probed."""
        fed = [decision.ref for one in group for decision in one.decisions]
        if not fed or not self._complete.issuperset(fed):
            return False
        cells = self._probes.cells(table, group)
        return cells is not None and all(self._probes.matching(table, cells))

    def _may_be_written(self, resolved: Sequence[InputColumn]) -> bool:
        """Return True if no constraint limits what may be written, and what fills settings in always decides."""
        viewer = self._ruleset.viewer
        limited = viewer is not None and any(viewer.limits(base) for one in resolved for base in one.reading.bases)
        filling = {decision.ref for one in resolved for decision in one.reading.filled.values()}
        return not limited and filling <= self._complete

    def _matching(
        self, table: Table, group: Sequence[InputColumn], written: set[str], produced: Produced
    ) -> Iterator[int]:
        """Yield sets of rows that match together for feasible values of a group."""
        as_written = not written.isdisjoint([one.name for one in group])
        views = [one for one in group if one.reading.source not in one.reading.bases]
        if (as_written or views) and not any(one.decisions for one in group):
            yield from self._observed(table, group, as_written=as_written)
        elif not as_written:
            axes = self._builder.axes_of(table, group, produced, lazily=True)
            if all(axis.exact for axis in axes):
                yield reduce(and_, [reduce(or_, axis.rows, 0) for axis in axes])

    def _observed(self, table: Table, group: Sequence[InputColumn], *, as_written: bool) -> Iterator[int]:
        """Yield the rows that match observations; as far as settings are `as_written`, those in which all are."""
        viewer, domains = self._ruleset.viewer, self._ruleset.domains[table.id]
        if viewer is None:
            return
        values: dict[str, list[Scalar]] = {}
        for one in group:
            if one.reading.source.view is None:
                conditions = [row.when[one.name] for row in table.rows if one.name in row.when]
                values.setdefault(one.reading.source.ref, []).extend(samples_of(domains[one.name], conditions))
        bases: dict[ColumnSource, None] = dict.fromkeys([base for one in group for base in one.reading.bases])
        try:
            for seen, assignment in viewer.observations([*bases], [one.reading.source for one in group], values):
                # A value outside a domain is reported where it is written, and no row can ask for it.
                known = all(domains[one.name].contains(value) for one, value in zip(group, seen, strict=True))
                if known and not (as_written and None in [value for _, value in assignment]):
                    yield reduce(and_, [one.rows.rows_at(value) for one, value in zip(group, seen, strict=True)])
        except OutOfStepsError:
            return
