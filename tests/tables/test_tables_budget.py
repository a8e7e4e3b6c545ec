"""Searches of verification are bounded in steps, and what a search could not prove is reported."""

from __future__ import annotations

from random import Random

import pytest
import yaml

from compozy.tables.cover import MOST_STEPS, CellIndex, OutOfStepsError, Space
from compozy.tables.decide import RuleSet, compile_leniently
from compozy.tables.read import read_tables
from compozy.tables.table import ColumnSource, Domain
from compozy.tables.verify import verify

WORDS = [f"v{number}" for number in range(10)]


class Catalogue:
    """Settings whose name begins with `b` are boolean, others are one of ten words."""

    def domain(self, source: ColumnSource) -> Domain:
        return Domain.boolean() if source.ref.startswith("b") else Domain.finite(WORDS)


def ruleset(columns: list[str], rows: list[dict[str, object]], hit: str) -> RuleSet:
    table = {
        "table": "t", "hit": hit, "inputs": {name: {"setting": name} for name in columns},
        "outputs": {"out": ["a", "b"]}, "rows": [{"id": f"r{n}", "because": "x", **row} for n, row in enumerate(rows)],
    }  # fmt: skip
    return compile_leniently(read_tables([("t.yaml", yaml.dump(table, Dumper=yaml.CSafeDumper))]), Catalogue())


def test_hard_table_ends_with_an_unproven_report() -> None:
    """Random three-literal clauses near the satisfiability threshold: 4.3 rows for each of 60 columns."""
    random, columns = Random(1), [f"b{number}" for number in range(60)]
    rows: list[dict[str, object]] = [
        {"when": {name: random.random() < 0.5 for name in random.sample(columns, 3)}, "then": {"out": "a"}}
        for _ in range(258)
    ]
    found = [report for report in verify(ruleset(columns, rows, "first")).findings if report.id == "unproven"]
    assert "could not be proven: the search was stopped" in found[0].message
    assert found[0].severity == "warning"


def test_all_pairs_are_counted_and_a_hundred_listed() -> None:
    random, columns = Random(1), [f"c{number}" for number in range(10)]
    rows: list[dict[str, object]] = [
        {
            "when": {name: random.sample(WORDS, 8) for name in random.sample(columns, 4)},
            "then": {"out": random.choice("ab")},
        }
        for _ in range(600)
    ]
    conflicts = [r for r in verify(ruleset(columns, rows, "unique")).findings if r.id == "conflict"]
    assert len(conflicts) == 100
    assert len(totals := {report.evidence.total for report in conflicts if report.evidence}) == 1
    assert totals.pop() > 50_000


def test_a_search_without_steps_raises() -> None:
    """Two rows that cover a square only together need one cut."""
    space = Space([CellIndex([0b01, 0b10], 2), CellIndex([0b11], 2)], 2)
    assert list(space.uncovered(space.whole, space.everything)) == []
    assert space.steps_left == MOST_STEPS - 1
    space.steps_left = 0
    with pytest.raises(OutOfStepsError):
        list(space.uncovered(space.whole, space.everything))
