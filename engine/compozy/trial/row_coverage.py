"""Which rows of the rules decided: in their examples and in recordings of tests and live runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from tempfile import TemporaryDirectory

from compozy.base.record import dataclass
from compozy.rulebook import Rulebook
from compozy.rulebook.files import shipped_texts
from compozy.rulebook.recording import RowKey, decided_rows, row_key
from compozy.tables.table import Row, Table
from compozy.trial.examples import examples_of, run_example, run_table_example

EXAMPLES = "examples"


@dataclass(frozen=True, slots=True)
class CoveredRow:
    """A row and the names of the sources in which it decided."""

    row: Row
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CoveredTable:
    """A table with those of its rows that count."""

    table: Table
    rows: tuple[CoveredRow, ...]

    @property
    def never(self) -> tuple[Row, ...]:
        """The rows that decided in no source."""
        return tuple(covered.row for covered in self.rows if not covered.by)

    def decided(self, source: str) -> int:
        """Return the number of rows that decided in a source."""
        return sum(source in covered.by for covered in self.rows)


@dataclass(frozen=True, slots=True)
class Coverage:
    """The tables that have rows that count; `sources` are the names of the examples and recordings."""

    sources: tuple[str, ...]
    tables: tuple[CoveredTable, ...]

    @property
    def rows(self) -> int:
        """The number of rows that count."""
        return sum(len(table.rows) for table in self.tables)

    @property
    def decided(self) -> int:
        """The number of rows that decided in at least one source."""
        return self.rows - sum(len(table.never) for table in self.tables)

    @property
    def percent(self) -> float:
        """The share of rows that decided, rounded down to a tenth; 100 where no row counts."""
        return self.decided * 1000 // self.rows / 10 if self.rows else 100.0


def measure(rulebook: Rulebook, decided: Mapping[str, Collection[RowKey]], *, shipped: bool) -> Coverage:
    """Return which rows decided by source; without `shipped` only the rows of rule packs count."""
    files = () if shipped else shipped_texts().keys()
    tables = (_covered(table, decided, files) for table in rulebook.tables.values())
    return Coverage(tuple(decided), tuple(table for table in tables if table.rows))


def _covered(table: Table, decided: Mapping[str, Collection[RowKey]], left_out: Collection[str]) -> CoveredTable:
    def by(row: Row) -> Iterator[str]:
        key = row_key(table, row)
        return (source for source, keys in decided.items() if key in keys)

    counted = [row for row in table.rows if row.place.file not in left_out]
    return CoveredTable(table, tuple(CoveredRow(row, tuple(by(row))) for row in counted))


def rows_in_examples(rulebook: Rulebook) -> set[RowKey]:
    """Run every example of the rules and return the rows that decided."""
    apart = replace(
        rulebook, ruleset=replace(rulebook.ruleset, decided=set()), never=replace(rulebook.never, decided=set())
    )
    with TemporaryDirectory(prefix="compozy-rules-") as directory:
        for example in examples_of(apart):
            run_example(apart, example, directory)
        for table in apart.ruleset.tables.values():
            for shown in table.examples:
                run_table_example(apart, table, shown, directory)
    return decided_rows(apart.ruleset) | decided_rows(apart.never)
