"""Prove in one pass over the axes that a table has no fault of reachability, completeness or consistency.

Most tables have none. Where the proof does not succeed, the table is searched for its faults.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import reduce
from operator import and_, or_

from compozy.tables.axes import Axis
from compozy.tables.table import Row, Table

# The limit on different sets of matching rows.
_MOST_SETS = 500


def is_faultless(table: Table, axes: Sequence[Axis]) -> bool:
    """Return True if every row can decide, some row always decides, and no two rows repeat or contradict each other."""
    everything = (1 << len(table.rows)) - 1
    # A row fires if each axis has a cell in which it holds: axes are independent, so that such cells combine freely.
    firing = reduce(and_, [reduce(or_, axis.rows, 0) for axis in axes], everything)
    if firing != everything or not all(axis.exact for axis in axes):
        return False
    return has_distinct_rows(table) if table.hit == "collect" else decides_once(table, [axis.rows for axis in axes])


def decides_once(table: Table, cells: Iterable[Collection[int]]) -> bool:
    """Return True if one row decides everywhere; `cells` are the rows that hold in each cell of the columns or axes.

    Cells may combine that are not feasible together: what holds for all combinations holds for the feasible ones.
    """
    everything = (1 << len(table.rows)) - 1
    # The different sets of rows that hold together are few even where the combinations of cells are many.
    matching = _matching(cells, everything)
    if not matching or 0 in matching:
        return False
    # The first row of each set decides it; a row that is the first of none is masked.
    if table.hit == "first":
        return reduce(or_, [rows & -rows for rows in matching]) == everything
    return not any(rows & (rows - 1) for rows in matching)


def has_distinct_rows(table: Table) -> bool:
    """Return True if no two rows decide the same."""
    # The text is part of the outcome, and quicker to compare.
    alike: dict[str | None, list[Row]] = {}
    for row in table.rows:
        alike.setdefault(text if isinstance(text := row.body.get("text"), str) else None, []).append(row)
    return all(len(rows) == 1 or len({row.outcome() for row in rows}) == len(rows) for rows in alike.values())


def _matching(cells: Iterable[Collection[int]], everything: int) -> set[int]:
    """Return the sets of rows that match together, none where they are too many."""
    found = {everything}
    for each in cells:
        if len(found) * len(each) > _MOST_SETS:
            return set()
        # Sets are merged after each axis, which keeps the product from growing with the number of axes.
        found = {rows & held for rows in found for held in each}
    return found
