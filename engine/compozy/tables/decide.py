"""Compile tables once, then evaluate them by index lookups, without a scan of the rows.

A decision names the rows behind it, and near misses on request. The caller supplies the values of the columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field

from compozy.base.findings import Finding
from compozy.base.record import dataclass
from compozy.base.suggest import did_you_mean
from compozy.errors import RuleTableError
from compozy.tables.bits import bits
from compozy.tables.cells import scalar_words
from compozy.tables.index import ColumnIndex, build_index
from compozy.tables.link import link_tables
from compozy.tables.observation import Viewer
from compozy.tables.table import Decision, Domain, NearMiss, Row, Scalar, SourceCatalogue, Table


@dataclass(frozen=True, slots=True)
class CompiledTable:
    """A table with the index of each column; bit i of every set is row i."""

    table: Table
    columns: tuple[tuple[str, ColumnIndex], ...]
    everything: int
    hit: str

    def matching(self, inputs: Mapping[str, Scalar]) -> int:
        """Return the rows whose every cell holds, as a bit set."""
        rows = self.everything
        for name, index in self.columns:
            # One intersection a column, independent of the number of rows: microseconds for thousands of rows.
            rows &= index.rows_at(inputs[name])
        return rows

    def index(self, column: str) -> ColumnIndex:
        """Return the index of a column."""
        return dict(self.columns)[column]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Tables ready to decide; `order` is an order in which every table comes after what it reads.

    `faults` is empty unless the set was linked leniently; then only verification may use it. `viewer` is
    for verification; without it, columns that look at one setting through views count as independent. `decided`
    collects a pair for each different decision: the table and the rows that decided, as a bit set.
    """

    tables: Mapping[str, Table]
    order: tuple[str, ...]
    domains: Mapping[str, Mapping[str, Domain]]
    compiled: Mapping[str, CompiledTable]
    faults: tuple[Finding, ...] = ()
    viewer: Viewer | None = None
    decided: set[tuple[str, int]] = field(default_factory=set, repr=False, compare=False)

    def decide(self, table_id: str, inputs: Mapping[str, Scalar]) -> Decision:
        """Decide one table for the values of its columns; `None` is unset, other keys are ignored.

        Raises:
            RuleTableError: the table does not exist, a column has no value, no row of a `unique` or
                `first` table matches, or several rows of a `unique` or `any` table match and disagree.
        """
        compiled = self.compiled.get(table_id)
        if compiled is None:
            raise RuleTableError.of(f'unknown table "{table_id}"{did_you_mean(table_id, self.tables)}')
        try:
            given = {name: inputs[name] for name, _ in compiled.columns}
        except KeyError as error:
            raise RuleTableError.of(f'table "{table_id}" needs a value for its input "{error.args[0]}"') from error
        matching = compiled.matching(given)
        if compiled.hit == "collect":
            self.decided.add((table_id, matching))
            return Decision(table_id, rows_of(compiled.table, matching), given, {})
        row = _single_row(compiled, matching, given)
        self.decided.add((table_id, matching & -matching))
        return Decision(table_id, (row,), given, row.then)


def compile_leniently(tables: Iterable[Table], catalogue: SourceCatalogue, viewer: Viewer | None = None) -> RuleSet:
    """Link and compile tables even when they are faulty, so that verification can report everything."""
    by_id = {table.id: table for table in tables}
    links = link_tables(by_id, catalogue)
    compiled = {name: _compile(table) for name, table in by_id.items()}
    return RuleSet(by_id, links.order, links.domains, compiled, links.faults, viewer)


def _compile(table: Table) -> CompiledTable:
    columns = tuple((c.name, build_index(row.condition(c.name) for row in table.rows)) for c in table.columns)
    return CompiledTable(table, columns, (1 << len(table.rows)) - 1, table.hit)


def rows_of(table: Table, mask: int) -> tuple[Row, ...]:
    """Return the rows of a bit set, in order."""
    return tuple(table.rows[number] for number in bits(mask))


def _single_row(compiled: CompiledTable, matching: int, inputs: Mapping[str, Scalar]) -> Row:
    table = compiled.table
    if not matching:
        raise RuleTableError.of(f'no row of table "{table.id}" matches {_inputs_words(inputs)}', table.place)
    # Rows are bits in their order, so that the lowest bit is the first matching row.
    lowest = matching & -matching
    if compiled.hit in ("unique", "any") and lowest != matching:
        rows = rows_of(table, matching)
        if any(row.outcome() != rows[0].outcome() for row in rows):
            names = " and ".join(f'"{row.id}" ({row.place})' for row in rows)
            reason = f'rows {names} of table "{table.id}" disagree about {_inputs_words(inputs)}'
            raise RuleTableError.of(reason, table.place)
    return table.rows[lowest.bit_length() - 1]


def _inputs_words(inputs: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{name}: {scalar_words(value)}" for name, value in inputs.items()) or "its inputs"


def near_misses(ruleset: RuleSet, decision: Decision) -> tuple[NearMiss, ...]:
    """Return the rows of which exactly one cell failed, in the order of the table."""
    compiled = ruleset.compiled[decision.table]
    # Two bits for each row count its failed cells up to "more than one", for all rows at once.
    once = twice = 0
    failing = []
    for name, index in compiled.columns:
        failed = compiled.everything & ~index.rows_at(decision.inputs[name])
        twice |= once & failed
        once |= failed
        failing.append((name, failed))
    misses = [
        (number, name)
        for name, failed in failing
        for number in bits(failed & ~twice)
    ]  # fmt: skip
    return tuple(_near_miss(compiled.table.rows[number], name, decision) for number, name in sorted(misses))


def _near_miss(row: Row, column: str, decision: Decision) -> NearMiss:
    return NearMiss(row, column, row.condition(column), decision.inputs[column])
