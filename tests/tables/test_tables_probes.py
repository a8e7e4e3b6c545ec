"""Probes prove tables without fault, without the combinations of the settings behind them."""

from __future__ import annotations

import pytest
import yaml
from tests.support.rule_sets import compile_tables

from compozy.tables.decide import RuleSet
from compozy.tables.read import read_tables
from compozy.tables.table import ColumnSource, Domain
from compozy.tables.verify import verify

SMALL = {"id": "small", "when": {"size": {"below": 5}, "kind": "a"}, "then": {"out": "x"}, "because": "-"}
LARGE = {"id": "large", "when": {"size": {"at_least": 5}, "kind": "a"}, "then": {"out": "y"}, "because": "-"}
OTHER = {"id": "other", "when": {"kind": "b"}, "then": {"out": "y"}, "because": "-"}


class Catalogue:
    """A number and a choice."""

    def domain(self, source: ColumnSource) -> Domain:
        return Domain.number(integer=True) if source.ref == "size" else Domain.finite(["a", "b"])


def chain(*asked: dict[str, str], without: str = "") -> RuleSet:
    """Return a table of three rows, and one of findings with a row for each condition on its decision and `kind`."""
    first = {
        "table": "first", "hit": "unique", "inputs": {"size": {"setting": "size"}, "kind": {"setting": "kind"}},
        "outputs": {"out": ["x", "y"]}, "rows": [row for row in (SMALL, LARGE, OTHER) if row["id"] != without],
    }  # fmt: skip
    rows = [{"id": f"r{n}", "when": when, "then": {"n": n}, "because": "-"} for n, when in enumerate(asked)]
    last = {
        "table": "last", "hit": "collect", "inputs": {"out": {"decision": "first"}, "kind": {"setting": "kind"}},
        "outputs": {"n": [*range(len(asked))]}, "rows": rows,
    }  # fmt: skip
    return compile_tables(read_tables([("t.yaml", yaml.safe_dump({"tables": [first, last]}))]), Catalogue())


@pytest.mark.parametrize("most", [0, 20_000])
def test_faultless_chain_is_valid_without_combinations(most: int) -> None:
    ruleset = chain({"out": "x", "kind": "a"}, {"out": "y", "kind": "a"}, {"out": "y", "kind": "b"})
    assert verify(ruleset, most=most).findings == ()


def test_row_without_probe_is_searched_and_reported() -> None:
    """The decision is never x for kind b."""
    found = verify(chain({"out": "y", "kind": "a"}, {"out": "x", "kind": "b"})).findings
    assert [(report.key, report.id) for report in found] == [("last", "unreachable"), ("last", "unproduced")]


def test_gap_of_a_decision_makes_rows_of_findings_unreachable() -> None:
    """Nothing decides for kind b, so that no configuration gets as far as the findings."""
    found = verify(chain({"kind": "a"}, {"kind": "b"}, without="other")).findings
    assert [(report.key, report.id) for report in found if report.id != "unproduced"] == [
        ("first", "gap"),
        ("last", "unreachable"),
    ]
