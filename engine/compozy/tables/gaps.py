"""Find values for which no row of a table decides, and propose a row for each region of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from compozy.base.findings import ERROR, WARNING, Evidence, Finding
from compozy.base.place import Origin
from compozy.tables.cover import Box, OutOfStepsError, joined_boxes
from compozy.tables.regions import Region, regions_of
from compozy.tables.subject import UNPROVEN, Subject
from compozy.tables.table import Domain, Row, Scalar
from compozy.tables.witness import row_yaml

# Gaps are counted up to this many times the number that is listed.
_COUNTED = 4


def gap_findings(subject: Subject) -> list[Finding]:
    """Report the regions that no row matches, joined as far as they can be."""
    boxes, exact, finished = gap_boxes(subject, subject.limit * _COUNTED)
    parts = ((box, region) for box in boxes for region in regions_of(subject.table, subject.axes, box))
    listed = list(islice(parts, subject.limit))
    left = len(boxes) - len({box for box, _ in listed})
    if left or next(parts, None):
        # What is not listed is counted by boxes, and behind a joint axis a box may be several regions.
        exact = exact and all(len(axis.columns) == 1 for axis in subject.axes)
    names = _free_names(subject)
    unfinished = [] if finished or listed else [subject.unproven("that every input has a row")]
    return unfinished + [
        _gap(
            subject, region, _proposal(subject, next(names), box, region), len(listed), len(listed) + left, exact=exact
        )
        for box, region in listed
    ]


def _gap(subject: Subject, region: Region, proposal: str, shown: int, total: int, *, exact: bool) -> Finding:
    table = subject.table
    return Finding(
        "gap",
        ERROR if subject.proven else WARNING,
        f'table "{table.id}" has no row for {region}' + ("" if subject.proven else UNPROVEN),
        key=table.id,
        where=Origin("file", table.place),
        evidence=Evidence(subject.written(region.witness), proposal, shown, total, exact),
    )


def gap_boxes(subject: Subject, most: int) -> tuple[list[Box], bool, bool]:
    """Return the joined boxes that no row matches, whether these are all, and whether the search came to its end."""
    space = subject.space
    space.refill()
    found: list[Box] = []
    finished = False
    with suppress(OutOfStepsError):
        # One more than wanted shows whether these are all.
        for box in islice(space.uncovered(space.whole, space.everything), most + 1):
            found.append(box)
        finished = True
    return joined_boxes(found[:most]), finished and len(found) <= most, finished


def _free_names(subject: Subject) -> Iterator[str]:
    taken = {row.id for row in subject.table.rows}
    number = 0
    while True:
        number += 1
        if f"new-{number}" not in taken:
            yield f"new-{number}"


def _proposal(subject: Subject, name: str, box: Box, region: Region) -> str:
    nearest = _nearest_row(subject, box)
    outputs = subject.table.outputs
    then = {o: nearest.then[o] if nearest else _any_value(domain) for o, domain in outputs.items()}
    reason = "add the reason"
    because = f"as in the nearest row {nearest.id}; {reason}, or decide otherwise" if nearest else reason
    return row_yaml(name, region.when, then, because)


def _nearest_row(subject: Subject, box: Box) -> Row | None:
    """Return the row that shares the most axes with a box, the first of equals."""
    # sharing[k] are the rows that share at least k of the axes looked at so far.
    sharing = [subject.space.everything]
    for axis, cells in zip(subject.space.axes, box, strict=True):
        touching = axis.rows_in_any(cells)
        further = [rows & touching for rows in sharing]
        sharing = [sharing[0], *(a | b for a, b in zip([*sharing[1:], 0], further, strict=True))]
    nearest = next((rows for rows in reversed(sharing) if rows), 0)
    return subject.table.rows[(nearest & -nearest).bit_length() - 1] if nearest else None


def _any_value(domain: Domain) -> Scalar:
    if domain.values:
        return domain.values[0]
    if domain.optional:
        return None
    return 0 if domain.kind == "number" else ""
