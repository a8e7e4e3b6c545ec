"""Rule tables at scale: verifying and deciding synthetic tables, beside naive scans in the same run.

Tables are generated from a fixed seed. A table begins as a random partition of
its space, every second column of text and the others of numbers, as a decision tree would give it. For
verification a tenth of the rows is dropped (gaps), a twentieth widened (overlaps) and some rows are
appended that only several earlier ones hide. The results are medians.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random
from typing import TypeAlias

from tests.support.rule_sets import compile_tables

from benchmarks.measurement import Measurement, median_s
from compozy.rulebook import build_rulebook, load_rulebook
from compozy.rulebook.files import shipped_texts
from compozy.tables.axes import AxisBuilder
from compozy.tables.decide import RuleSet
from compozy.tables.gaps import gap_boxes
from compozy.tables.pairs import masked_rows, meeting_rows
from compozy.tables.subject import Subject
from compozy.tables.table import (
    Column,
    ColumnSource,
    Condition,
    Domain,
    Interval,
    Place,
    Row,
    Scalar,
    Table,
)
from compozy.tables.verify import verify

Side: TypeAlias = tuple[float, float] | frozenset[str]
Box: TypeAlias = tuple[Side, ...]

WORDS = tuple(f"word-{number}" for number in range(12))
SHAPES = ((3, 1_500), (5, 1_500), (7, 1_500), (5, 5_000))
SHORT_SHAPES = ((3, 1_500), (5, 1_500))
SIZES = (100, 1_500, 5_000)
TARGET_MS = 150.0
TARGET_SHIPPED_MS = 10.0
_HERE = Place("synthetic.yaml", 1, 1)


class _Catalogue:
    def domain(self, source: ColumnSource) -> Domain:
        return Domain.finite(WORDS) if source.ref.startswith("text") else Domain.number(minimum=0, maximum=1000)


def run(short: bool) -> list[Measurement]:
    """Measure every shape; the short form leaves out the large ones and repeats less."""
    repeats = 3 if short else 7
    rows: list[Measurement] = []
    for columns, size in SHORT_SHAPES if short else SHAPES:
        rows += _verification(columns, size, repeats)
    for size in SIZES:
        rows.append(_evaluation(size, repeats))
    return [*rows, *_shipped(repeats)]


# tables


def partition(columns: int, size: int, random: Random) -> list[Box]:
    """Cut a space into `size` boxes that cover it without overlap, in random order."""
    whole: Box = tuple(frozenset(WORDS) if c % 2 else (0.0, 1000.0) for c in range(columns))
    boxes = [whole]
    while len(boxes) < size:
        number, column = random.randrange(len(boxes)), random.randrange(columns)
        box = boxes[number]
        for part, side in enumerate(_halves(box[column], random)):
            half = (*box[:column], side, *box[column + 1 :])
            boxes[number : number + 1 - part] = [half]
    random.shuffle(boxes)
    return boxes


def _halves(side: Side, random: Random) -> Sequence[Side]:
    if isinstance(side, frozenset):
        words = random.sample(sorted(side), len(side))
        middle = random.randint(1, len(words) - 1) if len(words) > 1 else 0
        return [frozenset(words[:middle]), frozenset(words[middle:])] if middle else []
    low, high = side
    if high - low < 2:
        return []
    middle_number = float(random.randint(int(low) + 1, int(high) - 1))
    return [(low, middle_number), (middle_number, high)]


def faulty(columns: int, size: int, random: Random) -> list[Box]:
    """Spoil a partition: gaps, overlaps, and rows that are hidden by several earlier ones."""
    boxes = partition(columns, size, random)
    kept = boxes[: size - size // 10]
    spoiled = [_widened(box) if random.random() < 0.05 else box for box in kept]
    hidden = [_widened(random.choice(spoiled)) for _ in range(size - len(kept))]
    return spoiled + hidden


def _widened(box: Box) -> Box:
    return tuple(side if isinstance(side, frozenset) else (max(0.0, side[0] - 20), side[1] + 20) for side in box)


def synthetic(boxes: Sequence[Box], hit: str) -> RuleSet:
    """Build a rule set of one table `synthetic`, a row a box."""
    names = [f"{'text' if isinstance(side, frozenset) else 'number'}-{c}" for c, side in enumerate(boxes[0])]
    columns = tuple(Column(name, ColumnSource("setting", name), _HERE) for name in names)
    rows = tuple(
        Row(
            id=f"row-{number}",
            when=dict(zip(names, map(_condition, box), strict=True)),
            then={"out": number % 3},
            because="-",
            place=_HERE,
        )
        for number, box in enumerate(boxes)
    )
    outputs = {"out": Domain.finite([0, 1, 2])}
    table = Table("synthetic", "", hit, "", None, columns, outputs, {}, rows, _HERE)
    return compile_tables([table], _Catalogue())


def _condition(side: Side) -> Condition:
    if isinstance(side, frozenset):
        return Condition.of(sorted(side))
    low, high = side
    return Condition.of(intervals=[Interval(low, high, False, high < 1000)])


# measurements


def _verification(columns: int, size: int, repeats: int) -> Iterator[Measurement]:
    name = f"{columns} x {size:,}"
    ruleset = synthetic(faulty(columns, size, Random(1)), "first")
    scan_s = median_s(lambda: _scan_pairs(ruleset), 1)
    parts = {
        "overlaps": lambda: sum(rows.bit_count() for _, rows in meeting_rows(_subject(ruleset))),
        "first 100 gaps": lambda: gap_boxes(_subject(ruleset), 100),
        "union-masked rows": lambda: masked_rows(_subject(ruleset)),
    }
    for part, function in parts.items():
        reference = ("pairwise scan", scan_s * 1e3) if part == "overlaps" else ("target for all", TARGET_MS)
        yield Measurement(f"{name}: {part}", median_s(function, repeats) * 1e3, "ms", *reference)
    together = median_s(lambda: _all_three(_subject(ruleset)), repeats) * 1e3
    yield Measurement(f"{name}: all three", together, "ms", "target", TARGET_MS)
    whole = median_s(lambda: verify(ruleset), repeats) * 1e3
    yield Measurement(f"{name}: verified, all reports written", whole, "ms", "target for all three", TARGET_MS)


def _subject(ruleset: RuleSet) -> Subject:
    table = ruleset.tables["synthetic"]
    return Subject.of(ruleset, table, AxisBuilder(ruleset).axes(table, {}), 100)


def _all_three(subject: Subject) -> None:
    sum(rows.bit_count() for _, rows in meeting_rows(subject))
    gap_boxes(subject, 100)
    masked_rows(subject)


def _scan_pairs(ruleset: RuleSet) -> int:
    """Count overlapping pairs by comparing every two rows cell by cell."""
    table = ruleset.tables["synthetic"]
    boxes = [[_side(row.condition(c.name)) for c in table.columns] for row in table.rows]
    return sum(
        1
        for number, first in enumerate(boxes)
        for second in islice(boxes, number + 1, None)
        if all(_share(a, b) for a, b in zip(first, second, strict=True))
    )


def _side(condition: Condition) -> Side:
    if condition.values:
        return frozenset(str(value) for value in condition.values)
    (interval,) = condition.intervals
    return (interval.low or 0.0, interval.high or 0.0)


def _share(first: Side, second: Side) -> bool:
    if isinstance(first, frozenset) or isinstance(second, frozenset):
        return not frozenset(first).isdisjoint(second)
    return first[0] < second[1] and second[0] < first[1]


def _evaluation(size: int, repeats: int) -> Measurement:
    random = Random(2)
    ruleset = synthetic(partition(5, size, random), "unique")
    names = [column.name for column in ruleset.tables["synthetic"].columns]
    inputs = [{name: _value(name, random) for name in names} for _ in range(200)]
    indexed = median_s(lambda: [ruleset.decide("synthetic", values) for values in inputs], 5 * repeats)
    scanned = median_s(lambda: [_scan(ruleset, values) for values in inputs[:10]], repeats)
    return Measurement(
        f"5 x {size:,}: one evaluation", indexed / len(inputs) * 1e6, "us", "scan of the rows", scanned / 10 * 1e6
    )


def _value(name: str, random: Random) -> Scalar:
    return random.choice(WORDS) if name.startswith("text") else random.uniform(0, 1000)


def _scan(ruleset: RuleSet, values: dict[str, Scalar]) -> Row:
    rows = ruleset.tables["synthetic"].rows
    return next(row for row in rows if all(cell.matches(values[name]) for name, cell in row.when.items()))


def _shipped(repeats: int) -> Iterator[Measurement]:
    ruleset = load_rulebook().ruleset
    count = f"{len(ruleset.tables)} shipped tables, {sum(len(t.rows) for t in ruleset.tables.values())} rows"
    # What is looked at once for a rule set counts each time.
    unseen = [build_rulebook(shipped_texts()).ruleset for _ in range(3 * repeats + 1)]
    fresh = median_s(lambda: verify(unseen.pop()), 3 * repeats) * 1e3
    yield Measurement(f"{count}: verified", fresh, "ms", "target", TARGET_SHIPPED_MS)


if __name__ == "__main__":
    for row in run("--short" in sys.argv):
        print(
            f"{row.name:<48} {row.value:10.2f} {row.unit}  {row.reference}: {row.reference_value:.2f} ({row.ratio:.3f})"
        )
