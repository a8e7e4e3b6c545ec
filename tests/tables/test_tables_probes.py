"""Probes prove tables without fault, without the combinations of the settings behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest
import yaml
from tests.support.rule_sets import compile_tables

from compozy.tables.decide import RuleSet
from compozy.tables.observation import ColumnReading, Observation
from compozy.tables.read import read_tables
from compozy.tables.table import ColumnSource, Condition, Domain, Scalar
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


class LateViewer:
    """Shows values below 0, which the domain excludes, and then those from 0 to 69; the last ten are late."""

    def reading(self, source: ColumnSource, *, collects: bool) -> ColumnReading:
        return ColumnReading(source, (ColumnSource(source.kind, source.ref),))

    def observations(
        self, bases: Sequence[ColumnSource], sources: Sequence[ColumnSource], values: Mapping[str, Sequence[Scalar]]
    ) -> Iterator[Observation]:
        for value in range(-10, 70):
            seen = tuple([value if source.view is None else value >= 60 for source in sources])
            yield Observation(seen, ((bases[0], value),))

    def limits(self, source: ColumnSource) -> Sequence[Condition]:
        return ()

    def spelled(self, source: ColumnSource, value: Scalar) -> Scalar:
        return value


class LateCatalogue:
    """A number from 0, and a view of it."""

    def domain(self, source: ColumnSource) -> Domain:
        return Domain.number(integer=True, minimum=0) if source.view is None else Domain.boolean()


def test_gap_beyond_the_values_of_probes_is_reported() -> None:
    table = {
        "table": "t", "hit": "first", "outputs": {"out": ["a"]},
        "inputs": {"size": {"setting": "size"}, "late": {"setting": "size", "view": "late"}},
        "rows": [{"id": "early", "when": {"late": False}, "then": {"out": "a"}, "because": "-"}],
    }  # fmt: skip
    files = [("t.yaml", yaml.safe_dump({"tables": [table]}))]
    found = verify(compile_tables(read_tables(files), LateCatalogue(), LateViewer())).findings
    assert [report.id for report in found] == ["gap"]
