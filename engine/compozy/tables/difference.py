"""Regions in which two versions of a decision table decide differently.

The rows of both versions become one table, so that their regions are compared exactly, box by box, without
enumerating inputs. Inputs are matched by their source, not by their name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from compozy.base.record import dataclass
from compozy.tables.axes import AxisBuilder
from compozy.tables.bits import bits
from compozy.tables.cover import Box, OutOfStepsError, joined_boxes
from compozy.tables.decide import RuleSet, compile_leniently
from compozy.tables.observation import Viewer
from compozy.tables.regions import regions_of
from compozy.tables.subject import Subject
from compozy.tables.table import Column, ColumnSource, Condition, Domain, Row, SourceCatalogue, Table

MOST_REGIONS = 100


@dataclass(frozen=True, slots=True)
class TableDifference:
    """A region of one table: `old` and `new` are the rows that decide there, None where a version has none.

    `proven` is false where too many combinations of settings had to be distinguished to prove that some lead there.
    """

    table: str
    when: Mapping[str, Condition]
    region: str
    old: Row | None
    new: Row | None
    witness: str
    proven: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences between two rule sets; `cut` names the tables that differ, or may differ, in further regions."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    differences: tuple[TableDifference, ...]
    cut: tuple[str, ...]

    @property
    def same(self) -> bool:
        """True if both rule sets decide alike."""
        return not (self.added or self.removed or self.differences or self.cut)


class JoinedCatalogue:
    """The inputs of two versions: a domain holds what either version accepts."""

    def __init__(self, old: SourceCatalogue, new: SourceCatalogue) -> None:
        self._old, self._new = old, new

    def domain(self, source: ColumnSource) -> Domain | None:
        """Return the domain behind a source, None where neither version knows it."""
        old, new = self._old.domain(source), self._new.domain(source)
        if old is None or new is None or "finite" not in (old.kind, new.kind):
            return new or old
        values = (*new.values, *old.values, *([None] if old.optional or new.optional else []))
        return Domain.finite(values) if old.kind == new.kind else new


def compare_tables(
    old: Mapping[str, Table], new: Mapping[str, Table], catalogue: SourceCatalogue, viewer: Viewer | None
) -> Comparison:
    """Compare the tables of two rule sets; settings are looked up in `catalogue`, which knows those of both."""
    # Tables of equal content cannot differ, so that comparing versions costs time for what changed only.
    both = [name for name in new if name in old and _content(old[name]) != _content(new[name])]
    merged = {name: _merged(old[name], new[name]) for name in both}
    ruleset = compile_leniently([*new.values(), *merged.values()], catalogue, viewer)
    builder = AxisBuilder(ruleset)
    found: list[TableDifference] = []
    cut = []
    for name, table in merged.items():
        parts: list[TableDifference] = []
        stopped = True
        with suppress(OutOfStepsError):
            # One more than is kept shows that the table differs in further regions.
            parts += islice(_differences(ruleset, builder, old[name], new[name], table), MOST_REGIONS + 1)
            stopped = False
        found += parts[:MOST_REGIONS]
        cut += [name] if stopped or len(parts) > MOST_REGIONS else []
    added = tuple(name for name in new if name not in old)
    return Comparison(added, tuple(name for name in old if name not in new), tuple(found), tuple(cut))


def _content(table: Table) -> object:
    """Return what decides: not the places, the order of `unique` rows and the reasons."""
    columns = {column.name: str(column.source) for column in table.columns}
    rows = [(row.id, {columns[n]: c for n, c in row.when.items() if n in columns}, row.effect()) for row in table.rows]
    return (table.hit, table.for_each, rows)


def _merged(old: Table, new: Table) -> Table:
    """Return one table with the rows of both, the old ones first."""
    names: dict[ColumnSource, str] = {column.source: column.name for column in new.columns}
    columns = list(new.columns)
    for column in old.columns:
        if column.source not in names:
            taken = {*names.values()}
            name = column.name if column.name not in taken else f"{column.name} (old)"
            names[column.source] = name
            columns.append(Column(name, column.source, column.place))
    known = {column.name: names[column.source] for column in old.columns}
    rows = [replace(row, when={known[name]: cell for name, cell in row.when.items()}) for row in old.rows]
    return replace(new, id=f"{new.id} (both)", columns=tuple(columns), rows=(*rows, *new.rows), sets={})


def _differences(
    ruleset: RuleSet, builder: AxisBuilder, old: Table, new: Table, merged: Table
) -> Iterator[TableDifference]:
    # The merged table has the cells of both versions, so that no region of it is cut by a condition of either.
    subject = Subject.of(ruleset, merged, builder.axes(merged, {}), MOST_REGIONS)
    rows, before = merged.rows, len(old.rows)
    parts = _collected(subject, before) if new.hit == "collect" else _decided(subject, before)
    for one, other, boxes in parts:
        for box in joined_boxes(boxes):
            for region in regions_of(merged, subject.axes, box):
                witness = subject.written(region.witness)
                pair = (None if one is None else rows[one], None if other is None else rows[other])
                yield TableDifference(new.id, region.when, str(region), *pair, witness, subject.proven)


Part = tuple[int | None, int | None, list[Box]]


def _decided(subject: Subject, before: int) -> Iterator[Part]:
    """Yield the regions of tables in which one row decides: the first that matches."""
    space, rows = subject.space, subject.table.rows
    old, new = (1 << before) - 1, (1 << len(rows)) - (1 << before)
    outcomes = [row.effect() for row in rows]
    for one in range(before):
        earlier = (1 << one) - 1
        for other in bits(space.touching(subject.box(one), new)):
            if outcomes[one] != outcomes[other]:
                # Both rows decide where neither is masked by an earlier row of its own version.
                box, hidden = subject.meeting(one, other), earlier | (new & ((1 << other) - 1))
                yield one, other, list(islice(space.uncovered(box, hidden), MOST_REGIONS))
        # The old row decides here, and no row of the new version matches.
        yield one, None, list(islice(space.uncovered(subject.box(one), earlier | new), MOST_REGIONS))
    for other in bits(new):
        # No old row matches here, and no earlier new one.
        hidden = old | (new & ((1 << other) - 1))
        yield None, other, list(islice(space.uncovered(subject.box(other), hidden), MOST_REGIONS))


def _collected(subject: Subject, before: int) -> Iterator[Part]:
    """Yield the regions of tables in which every matching row counts: rows of one id are versions of each other."""
    rows = subject.table.rows
    old, new = range(before), range(before, len(rows))
    for one in old:
        equal, version = _matching(subject, one, new)
        for other in version:
            boxes = subject.space.uncovered(subject.meeting(one, other), equal)
            yield one, other, list(islice(boxes, MOST_REGIONS))
        yield one, None, _left(subject, one, equal, version)
    for other in new:
        equal, version = _matching(subject, other, old)
        yield None, other, _left(subject, other, equal, version)


def _matching(subject: Subject, number: int, others: range) -> tuple[int, list[int]]:
    """Return the rows among `others` with the same outcome, as a bit set, and those of the same id without it."""
    rows, row = subject.table.rows, subject.table.rows[number]
    equal = sum(1 << other for other in others if (rows[other].id, rows[other].effect()) == (row.id, row.effect()))
    return equal, [other for other in others if rows[other].id == row.id and not equal >> other & 1]


def _left(subject: Subject, number: int, equal: int, version: Sequence[int]) -> list[Box]:
    covered = equal | sum(1 << other for other in version)
    return list(islice(subject.space.uncovered(subject.box(number), covered), MOST_REGIONS))
