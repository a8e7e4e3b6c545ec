"""Prove without decision diagrams that each row of a table of findings can be reached.

A column that reads the resolved value of a setting is taken as if this setting were written: then no decision fills it
in. The proof is sufficient only; where it does not succeed, the axes of the table decide.
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
from compozy.tables.table import ColumnSource, Scalar, Table


class RowReach:
    """Proves for the tables of one rule set that rows are reached, in the order of evaluation."""

    def __init__(self, ruleset: RuleSet, builder: AxisBuilder) -> None:
        self._ruleset = ruleset
        self._builder = builder

    def reaches_all(self, table: Table, produced: Produced) -> bool:
        """Return True if it is proven that some configuration reaches every row; `produced` as for axes."""
        inputs, resolved = self._builder.feasible.inputs_as_written(table), self._builder.feasible.inputs(table)
        written = {one.name for one, column in zip(inputs, resolved, strict=True) if one is not column}
        if written and not self._may_be_written(resolved):
            return False
        everything = (1 << len(table.rows)) - 1
        # Groups have no setting in common, so that what reaches a row in each of them combines freely.
        for group in self._builder.groups(inputs):
            # A table without a row for some configuration excludes it, whether or not a row asks for its decision.
            total = self._builder.complete.issuperset([decision.ref for one in group for decision in one.decisions])
            for columns, rows in _asked_together(table, group) if total and len(group) > 1 else [(group, everything)]:
                reached = 0
                for matching in self._matching(table, columns, written, produced):
                    reached |= matching
                    if not rows & ~reached:
                        break
                else:
                    return False
        return True

    def _may_be_written(self, resolved: Sequence[InputColumn]) -> bool:
        """Return True if no constraint limits what may be written, and what fills settings in always decides."""
        viewer = self._ruleset.viewer
        limited = viewer is not None and any(viewer.limits(base) for one in resolved for base in one.reading.bases)
        filling = {decision.ref for one in resolved for decision in one.reading.filled.values()}
        return not limited and filling <= self._builder.complete

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


def _asked_together(table: Table, group: Sequence[InputColumn]) -> Iterator[tuple[Sequence[InputColumn], int]]:
    """Yield the columns of a group on which some row has conditions, with the rows, as bits, that have none on others.

    What other columns of the group read makes no difference to these rows, so that it need not be feasible together
    with what the columns read.
    """
    bits = {one.name: 1 << number for number, one in enumerate(group)}
    asked = dict.fromkeys(bits.values(), 0)
    for number, row in enumerate(table.rows):
        columns = sum([bits[name] for name in row.when if name in bits])
        asked[columns] = asked.get(columns, 0) | 1 << number
    widest: dict[int, int] = {}
    for columns in sorted(asked, key=int.bit_count, reverse=True):
        wider = next((each for each in widest if not columns & ~each), columns)
        widest[wider] = widest.get(wider, 0) | asked[columns]
    for columns, rows in widest.items():
        yield [one for one in group if columns & bits[one.name]], rows
