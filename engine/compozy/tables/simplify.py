"""Propose simpler tables that decide the same; each proposal is proven by comparing the table before and after it.

Proposals build on each other: all of them together lead to the simplified tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TypeAlias

from compozy.base.record import dataclass
from compozy.tables.atoms import atoms_of, condition_of
from compozy.tables.axes import AxisBuilder
from compozy.tables.cells import condition_words
from compozy.tables.decide import compile_leniently
from compozy.tables.difference import compare_tables
from compozy.tables.observation import Viewer
from compozy.tables.pairs import meeting_rows
from compozy.tables.subject import Subject
from compozy.tables.table import ANY, Condition, Place, Row, SourceCatalogue, Table
from compozy.tables.verify import verify_table

# Steps of the proofs of one run, about ten seconds. A proof compares each row with each row.
MOST_STEPS = 200_000_000
_STEPS_OF_A_PROOF = 40_000  # beside those of the rows


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of the text: `row` is empty for one of the table itself.

    `action` is `set-cell`, `drop-cell`, `set-because`, `remove-row`, `set-hit` or `drop-input`; `text` holds the new
    reason or hit policy.
    """

    action: str
    table: str
    file: str
    row: str = ""
    column: str = ""
    condition: Condition = ANY
    text: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A simplification: `kind` is `full-cell`, `merge`, `redundant-row`, `unique` or `unused-input`."""

    kind: str
    table: str
    message: str
    places: tuple[Place, ...]
    edits: tuple[Edit, ...]


Step: TypeAlias = tuple[Proposal, Table]


class Simplifier:
    """Simplifies the rows and tables that stand in `files`; `tables` are all tables of the rule set.

    When `steps_left` is below 0 at the end, there may be further proposals.
    """

    def __init__(
        self, tables: Mapping[str, Table], catalogue: SourceCatalogue, viewer: Viewer | None, files: Collection[str]
    ) -> None:
        self.tables = dict(tables)
        self._catalogue = catalogue
        self._viewer = viewer
        self._files = files
        self.steps_left = MOST_STEPS

    def proposals(self) -> Iterator[Proposal]:
        """Yield the proposals of every table."""
        for name in [*self.tables]:
            while (step := self._next(self.tables[name])) is not None:
                proposal, self.tables[name] = step
                yield proposal

    def _next(self, table: Table) -> Step | None:
        found = (self._full_cells, self._merges, self._redundant_rows, self._unique, self._unused_inputs)
        # Lazily, since the first proven step changes the table, and the other candidates are searched anew in it.
        steps = (step for part in found for step in part(table))
        for step in steps:
            # Counted before the proof, so that a large table ends the run early and not late.
            self.steps_left -= _STEPS_OF_A_PROOF + len(table.rows) ** 2
            if self.steps_left < 0:
                return None
            # A candidate may be wrong: its search is a heuristic, and only the proof decides.
            if self._is_equivalent(step[1]):
                return step
        return None

    def _is_equivalent(self, new: Table) -> bool:
        """Return True if a table decides as the present one does, and verification finds nothing new in it."""
        tables = {**self.tables, new.id: new}
        if not compare_tables(self.tables, tables, self._catalogue, self._viewer).same:
            return False
        # Equal decisions are not enough: `unique` with overlapping rows decides alike and is a fault all the same.
        return self._fault_kinds(tables, new.id) <= self._fault_kinds(self.tables, new.id)

    def _fault_kinds(self, tables: Mapping[str, Table], name: str) -> set[str]:
        ruleset = compile_leniently(tables.values(), self._catalogue, self._viewer)
        return {finding.id for finding in verify_table(ruleset, name)}

    def _subject(self, table: Table) -> Subject:
        ruleset = compile_leniently(self.tables.values(), self._catalogue, self._viewer)
        return Subject.of(ruleset, table, AxisBuilder(ruleset).axes(table, {}), 1)

    def _own(self, table: Table) -> list[Row]:
        return [row for row in table.rows if row.place.file in self._files]

    def _edit(self, action: str, table: Table, row: Row, column: str = "", condition: Condition = ANY) -> Edit:
        return Edit(action, table.id, row.place.file, row.id, column, condition)

    # what may be simpler

    def _full_cells(self, table: Table) -> Iterator[Step]:
        own = [(row, name) for row in self._own(table) for name in row.when]
        axes = self._subject(table).axes if own else ()
        samples = {n: [a.sample for a in atoms] for x in axes for n, atoms in zip(x.columns, x.atoms, strict=True)}
        for row, name in own:
            if all(map(row.when[name].matches, samples[name])):
                words = condition_words(row.when[name])
                message = f'row "{row.id}": {name}: {words} lists everything that it can be; leave it out'
                edits = (self._edit("drop-cell", table, row, name),)
                places = (row.cells.get(name, row.place),)
                yield Proposal("full-cell", table.id, message, places, edits), _with(table, _without_cell(row, name))

    def _merges(self, table: Table) -> Iterator[Step]:
        if table.hit == "collect":
            return
        domains = compile_leniently(self.tables.values(), self._catalogue, self._viewer).domains[table.id]
        for name, alike in _alike_but_for_one(self._own(table), [column.name for column in table.columns]):
            for pair in combinations(alike, 2):
                conditions = [row.condition(name) for row in pair]
                atoms = atoms_of(domains[name], conditions)
                both = condition_of((a for a in atoms if any(c.matches(a.sample) for c in conditions)), atoms)
                for kept, removed in (pair, pair[::-1]) if table.hit == "first" else (pair,):
                    if _may_go(table, removed):
                        yield self._merge(table, name, both, kept, removed)

    def _merge(self, table: Table, name: str, condition: Condition, kept: Row, removed: Row) -> Step:
        reasons = dict.fromkeys([kept.because, removed.because])
        merged = replace(kept, when={**kept.when, name: condition}, because="; ".join(reasons))
        if condition == ANY:
            merged = _without_cell(merged, name)
        edits = [self._edit("drop-cell" if condition == ANY else "set-cell", table, kept, name, condition)]
        if len(reasons) > 1:
            edits.append(replace(self._edit("set-because", table, kept), text=merged.because))
        edits.append(self._edit("remove-row", table, removed))
        cell = f"without {name}" if condition == ANY else f"with {name}: {condition_words(condition)}"
        message = f'rows "{kept.id}" and "{removed.id}" decide the same; make them one, "{kept.id}", {cell}'
        proposal = Proposal("merge", table.id, message, (kept.place, removed.place), tuple(edits))
        return proposal, _with(table, merged, removed)

    def _redundant_rows(self, table: Table) -> Iterator[Step]:
        """Yield rows without which the next one that matches decides the same."""
        for row in self._own(table) if table.hit in ("first", "any") else ():
            # Without a second row of the same effect, the removal would change a decision or lose an outcome: no proof
            # is needed.
            shared = any(other.effect() == row.effect() for other in table.rows if other is not row)
            if shared and _may_go(table, row):
                message = f'row "{row.id}" changes nothing: without it, further rows decide the same; remove it'
                edits = (self._edit("remove-row", table, row),)
                yield Proposal("redundant-row", table.id, message, (row.place,), edits), _with(table, None, row)

    def _unique(self, table: Table) -> Iterator[Step]:
        if table.hit != "first" or table.place.file not in self._files:
            return
        if not any(meeting_rows(self._subject(table))):
            message = "no two rows match together, so the hit policy first can be unique, which is verified"
            edits = (Edit("set-hit", table.id, table.place.file, text="unique"),)
            yield Proposal("unique", table.id, message, (table.place,), edits), replace(table, hit="unique")

    def _unused_inputs(self, table: Table) -> Iterator[Step]:
        """Yield inputs that no row asks; the texts of findings may show them."""
        for column in table.columns if table.hit != "collect" else ():
            asked = any(column.name in row.when for row in table.rows)
            if not asked and column.place.file in self._files:
                message = f'no row asks the input "{column.name}"; remove it'
                edits = (Edit("drop-input", table.id, column.place.file, column=column.name),)
                columns = tuple(other for other in table.columns if other is not column)
                proposal = Proposal("unused-input", table.id, message, (column.place,), edits)
                yield proposal, replace(table, columns=columns)


def _alike_but_for_one(rows: Sequence[Row], columns: Iterable[str]) -> Iterator[tuple[str, list[Row]]]:
    """Yield a column, and rows of one effect that differ at most there."""
    for name in columns:
        groups: dict[object, list[Row]] = {}
        for row in rows:
            others = frozenset((other, cell) for other, cell in row.when.items() if other != name and cell != ANY)
            groups.setdefault((row.effect(), others), []).append(row)
        yield from ((name, alike) for alike in groups.values() if len(alike) > 1)


def _may_go(table: Table, row: Row) -> bool:
    """Return False for a row that an example names, or without which the row that it replaces would be back."""
    return row.replaces is None and not any(row.id in example.rows for example in table.examples)


def _without_cell(row: Row, name: str) -> Row:
    return replace(row, when={other: cell for other, cell in row.when.items() if other != name})


def _with(table: Table, changed: Row | None, removed: Row | None = None) -> Table:
    """Return a table with a row changed, found by its id, and another one removed."""
    rows = [row for row in table.rows if row is not removed]
    if changed is not None:
        rows = [changed if row.id == changed.id else row for row in rows]
    return replace(table, rows=tuple(rows))
