"""Findings and the collector of them."""

from __future__ import annotations

import pytest

from compozy.base.findings import Collector, Evidence, Finding, TooManyFindingsError, finding_lines
from compozy.base.place import Origin, Place
from compozy.errors import RuleTableError

HERE, THERE = Place("a.yaml", 3, 5), Place("a.yaml", 9, 1)


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        pytest.param(Finding.at("x", "too long", HERE), "a.yaml:3:5: too long", id="place"),
        pytest.param(Finding.at("x", "too long", Place("body", 0, 0), key="a.b"), "body: a.b: too long", id="document"),
        pytest.param(Finding.at("x", "too long"), "too long", id="nowhere"),
        pytest.param(Finding("x", "error", "bad", where=Origin("env", name="A")), "A: bad", id="variable"),
    ],
)
def test_finding_text_begins_with_its_place(finding: Finding, text: str) -> None:
    assert str(finding) == text


def test_finding_json_omits_missing_evidence() -> None:
    plain = Finding.at("x", "first\nsecond", HERE).as_json()
    assert (plain["message"], plain["details"]) == ("first", "second")
    assert plain["where"] == {"kind": "file", "file": "a.yaml", "line": 3, "column": 5}
    assert (plain["also"], "witness" in plain) == ([], False)
    found = Finding("x", "error", "m", also=(THERE,), evidence=Evidence("mode: a", total=4)).as_json()
    assert (found["where"], found["witness"], found["total"]) == (None, "mode: a", 4)
    assert found["also"] == [{"kind": "file", "file": "a.yaml", "line": 9, "column": 1}]


def test_finding_lines_list_places_witness_and_proposal() -> None:
    evidence = Evidence("mode: a", "id: new", shown=2, total=7, exact=False)
    finding = Finding("gap", "error", "no row", where=Origin("file", HERE), also=(THERE,), evidence=evidence)
    assert list(finding_lines(finding)) == [
        "a.yaml:3:5: gap: no row (first 2 of at least 7)",
        "    and a.yaml:9:1",
        "    for example:",
        "        mode: a",
        "    a row that closes the gap:",
        "        id: new",
    ]


class Refused(Exception):
    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__()
        self.findings = findings


def test_collector_raises_only_errors() -> None:
    found = Collector()
    found.add("soft", "careful", HERE, severity="warning")
    found.raise_if_any(Refused)
    assert found.require(1, "x", "unused", HERE) is True
    assert found.require("", "hard", "broken", THERE, HERE) is False
    with pytest.raises(Refused) as caught:
        found.raise_if_any(Refused)
    assert [(one.id, one.where.place, one.also) for one in caught.value.findings] == [("hard", THERE, (HERE,))]


def test_collector_orders_by_place_without_repetitions() -> None:
    found = Collector()
    for place in (THERE, Place("body", 0, 0), HERE, THERE):
        found.add("x", "broken", place)
    assert [str(one) for one in found.in_order()] == ["a.yaml:3:5: broken", "a.yaml:9:1: broken", "body: broken"]


def test_collector_ends_the_check_when_it_is_full() -> None:
    found = Collector(most=2, longest=4)
    for _ in range(2):
        found.add("x", "broken", HERE)
    with pytest.raises(TooManyFindingsError):
        found.add("x", "broken", HERE)
    assert [str(one) for one in found.findings] == [
        "a.yaml:3:5: brok",
        "a.yaml:3:5: brok",
        "a.yaml: more than 2 problems; fix these first",
    ]


def test_rule_table_error_shows_the_ids_of_its_findings_unless_they_only_repeat_its_own() -> None:
    found = [Finding.at("gap", "no row", HERE), Finding.at("free", "careful", THERE)]
    assert str(RuleTableError(found)) == "a.yaml:3:5: gap: no row\na.yaml:9:1: free: careful"
    assert str(RuleTableError.of("cannot be read", HERE, hint="look")) == "a.yaml:3:5: cannot be read\nfix: look"
