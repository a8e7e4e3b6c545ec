"""Judge rows beside each other: conflicts, duplicates, rows that others take over.

What comes in: a table under verification. What goes out: reports with the places of both rows and
settings for which both match.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

from compozy.tables.cover import Box
from compozy.tables.report import Report
from compozy.tables.subject import Subject

# With more rows than this in front of a masked one, naming the few that suffice is not worth the time.
_MOST_SHRUNK = 64


def pair_reports(subject: Subject) -> list[Report]:
    """Report rows that match together where at most one may, or where one repeats another."""
    if subject.table.hit == "first":
        return []
    outcomes = [row.outcome() for row in subject.table.rows]
    alike = _alike(outcomes) if subject.table.hit == "collect" else None
    found: list[tuple[str, int, int]] = []
    totals: Counter[str] = Counter()
    for first, second in meeting_rows(subject, alike):
        kind = _kind(subject, first, second, outcomes)
        if kind:
            totals[kind] += 1
            if totals[kind] <= subject.limit:
                found.append((kind, first, second))
    return [_pair_report(subject, kind, first, second, totals[kind]) for kind, first, second in found]


def meeting_rows(subject: Subject, partners: Sequence[int] | None = None) -> Iterator[tuple[int, int]]:
    """Yield pairs of rows (first < second) that match together; `partners` are those each row is asked about."""
    everything = subject.space.everything
    for first, others in enumerate(partners or [everything] * len(subject.table.rows)):
        later = others >> (first + 1) << (first + 1)
        if later:
            later = subject.space.touching(subject.box(first), later)
        while later:
            lowest = later & -later
            yield first, lowest.bit_length() - 1
            later ^= lowest


def _alike(outcomes: Sequence[Hashable]) -> list[int]:
    """Return for each row the rows that decide the same."""
    rows: dict[Hashable, int] = {}
    for number, outcome in enumerate(outcomes):
        rows[outcome] = rows.get(outcome, 0) | 1 << number
    return [rows[outcome] for outcome in outcomes]


def _kind(subject: Subject, first: int, second: int, outcomes: Sequence[Hashable]) -> str:
    if outcomes[first] != outcomes[second]:
        return "conflict"
    one, other = subject.box(first), subject.box(second)
    if one == other:
        return "duplicate"
    if subject.meeting(first, second) in (one, other):
        return "subsumed"
    return "" if subject.table.hit == "collect" else "overlap"


def _pair_report(subject: Subject, kind: str, first: int, second: int, total: int) -> Report:
    box = subject.meeting(first, second)
    a, b = subject.name(first), subject.name(second)
    inner, outer = (a, b) if box == subject.box(first) else (b, a)
    message = {
        "conflict": f"rows {a} and {b} match together and decide differently",
        "overlap": f"rows {a} and {b} match together and decide the same; let one of them match less",
        "duplicate": f"rows {a} and {b} match the same and decide the same; remove one",
        "subsumed": f"row {inner} lies within row {outer}, which decides the same; remove it",
    }[kind]
    rows = (subject.table.rows[first], subject.table.rows[second])
    shown = min(total, subject.limit)
    # What one row repeats of another, it repeats wherever it is reached.
    proven = subject.proven or kind in ("duplicate", "subsumed")
    return subject.report(kind, message, rows, box=box, shown=shown, total=total, proven=proven)


def masked_rows(subject: Subject) -> list[int]:
    """Return the rows of a `first` table of which earlier rows together take all that can be reached."""
    space = subject.space
    if subject.table.hit != "first":
        return []
    return [
        number
        for number in range(1, len(subject.table.rows))
        if subject.fires(number) and _is_covered(subject, subject.box(number), (1 << number) - 1 & space.everything)
    ]


def _is_covered(subject: Subject, box: Box, rows: int) -> bool:
    return next(subject.space.uncovered(box, rows), None) is None


def masked_reports(subject: Subject, masked: list[int]) -> list[Report]:
    """Report rows that never decide, each with the earlier rows that suffice to hide it."""
    listed = masked[: subject.limit]
    return [_masked_report(subject, number, len(listed), len(masked)) for number in listed]


def _masked_report(subject: Subject, number: int, shown: int, total: int) -> Report:
    hiding = _hiding_rows(subject, number)
    names = ", ".join(subject.name(other) for other in hiding)
    rows = [subject.table.rows[n] for n in (number, *hiding)]
    together = "takes" if len(hiding) == 1 else "together take"
    message = f"row {subject.name(number)} never decides: before it, {names} {together} all that it matches"
    return subject.report("masked", message, rows, box=subject.box(number), shown=shown, total=total)


def _hiding_rows(subject: Subject, number: int) -> list[int]:
    box = subject.box(number)
    rows = subject.space.touching(box, (1 << number) - 1)
    alone = subject.space.covering(box, rows)
    if alone:
        return _numbers(alone & -alone)
    needed = rows
    for other in reversed(_numbers(rows)) if rows.bit_count() <= _MOST_SHRUNK else ():
        without = needed & ~(1 << other)
        if _is_covered(subject, box, without):
            needed = without
    return _numbers(needed)


def _numbers(rows: int) -> list[int]:
    return [number for number in range(rows.bit_length()) if rows >> number & 1]
