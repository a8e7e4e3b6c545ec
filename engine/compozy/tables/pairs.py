"""Compare the rows of a table: conflicts, overlaps, duplicates, subsumed and masked rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from itertools import islice

from compozy.base.findings import Finding
from compozy.tables.bits import bits
from compozy.tables.cover import Box, OutOfStepsError
from compozy.tables.subject import Subject

# With more rows than this in front of a masked one, naming the few that suffice is not worth the time.
_MOST_SHRUNK = 64


def pair_findings(subject: Subject) -> list[Finding]:
    """Report rows that match together where at most one may, or where one repeats another."""
    if subject.table.hit == "first":
        return []
    # Rows of `collect` may match together: only those that decide the same are compared, which is nearly none.
    alike = _alike([row.outcome() for row in subject.table.rows])
    found: list[tuple[int, int, str]] = []
    totals: Counter[str] = Counter()
    for first, meeting in meeting_rows(subject, alike if subject.table.hit == "collect" else None):
        for kind, rows in _kinds(subject, first, meeting, alike[first]):
            room = subject.limit - totals[kind]
            found += ((first, second, kind) for second in islice(bits(rows), max(room, 0)))
            totals[kind] += rows.bit_count()
    return [_pair_finding(subject, kind, first, second, totals[kind]) for first, second, kind in sorted(found)]


def meeting_rows(subject: Subject, partners: Sequence[int] | None = None) -> Iterator[tuple[int, int]]:
    """Yield each row with the later rows that match together with it, as a bit set.

    `partners` are the rows that each row is compared with; all of them when None.
    """
    everything = subject.space.everything
    for first, others in enumerate(partners or [everything] * len(subject.table.rows)):
        # Each pair once: shifting there and back clears the rows up to and including this one.
        later = others >> (first + 1) << (first + 1)
        meeting = subject.space.touching(subject.box(first), later) if later else 0
        if meeting:
            yield first, meeting


def _alike(outcomes: Sequence[Hashable]) -> list[int]:
    """Return for each row the rows that decide the same."""
    rows: dict[Hashable, int] = {}
    for number, outcome in enumerate(outcomes):
        rows[outcome] = rows.get(outcome, 0) | 1 << number
    return [rows[outcome] for outcome in outcomes]


def _kinds(subject: Subject, first: int, meeting: int, alike: int) -> Iterator[tuple[str, int]]:
    """Yield the rows that meet a row, by the kind of fault; whole bit sets, because there may be millions of pairs."""
    box, same = subject.box(first), meeting & alike
    outer, inner = subject.space.covering(box, same), subject.space.within(box, same)
    yield "conflict", meeting & ~alike
    yield "duplicate", outer & inner
    yield "subsumed", outer ^ inner
    if subject.table.hit == "unique":
        yield "overlap", same & ~(outer | inner)


def _pair_finding(subject: Subject, kind: str, first: int, second: int, total: int) -> Finding:
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
    aside = sorted(key for key in {**rows[0].body, **rows[1].body} if rows[0].body.get(key) != rows[1].body.get(key))
    if aside and kind in ("duplicate", "subsumed"):
        message += f" (they differ in {', '.join(aside)} only)"
    shown = min(total, subject.limit)
    # What one row repeats of another, it repeats wherever it is reached.
    proven = subject.proven or kind in ("duplicate", "subsumed")
    return subject.finding(kind, message, rows, box=box, shown=shown, total=total, proven=proven)


def masked_rows(subject: Subject) -> tuple[list[int], bool]:
    """Return the rows of a `first` table that earlier rows hide, and whether the search came to its end."""
    masked: list[int] = []
    if subject.table.hit != "first":
        return masked, True
    # One budget for all rows of the table, so that a table of many hard rows is bounded as well.
    subject.space.refill()
    try:
        for number in range(1, len(subject.table.rows)):
            if subject.fires(number) and _is_covered(subject, subject.box(number), (1 << number) - 1):
                masked.append(number)
    except OutOfStepsError:
        return masked, False
    return masked, True


def _is_covered(subject: Subject, box: Box, rows: int) -> bool:
    return next(subject.space.uncovered(box, rows), None) is None


def masked_findings(subject: Subject, masked: list[int]) -> list[Finding]:
    """Report rows that never decide, each with the earlier rows that suffice to hide it."""
    listed = masked[: subject.limit]
    return [_masked_finding(subject, number, len(listed), len(masked)) for number in listed]


def _masked_finding(subject: Subject, number: int, shown: int, total: int) -> Finding:
    hiding = _hiding_rows(subject, number)
    names = ", ".join(subject.name(other) for other in hiding)
    rows = [subject.table.rows[n] for n in (number, *hiding)]
    together = "takes" if len(hiding) == 1 else "together take"
    message = f"row {subject.name(number)} never decides: before it, {names} {together} all that it matches"
    return subject.finding("masked", message, rows, box=subject.box(number), shown=shown, total=total)


def _hiding_rows(subject: Subject, number: int) -> list[int]:
    box = subject.box(number)
    rows = subject.space.touching(box, (1 << number) - 1)
    # One row that hides all is the best explanation. Otherwise rows are dropped from the end as long as the rest
    # suffices, which gives a minimal set but not always the smallest one.
    alone = subject.space.covering(box, rows)
    if alone:
        return [*bits(alone & -alone)]
    needed = rows
    # Naming fewer rows is a courtesy: it ends with the budget.
    with suppress(OutOfStepsError):
        for other in reversed([*bits(rows)]) if rows.bit_count() <= _MOST_SHRUNK else ():
            without = needed & ~(1 << other)
            if _is_covered(subject, box, without):
                needed = without
    return [*bits(needed)]
