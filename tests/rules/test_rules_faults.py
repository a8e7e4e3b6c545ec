"""How a report on rules reads, and what keeps rules from being used."""

from __future__ import annotations

import pytest

from compozy.base.place import Place
from compozy.errors import RuleTableError
from compozy.settings.faults import Faults, refuse, report_lines, severity
from compozy.tables.report import Report

HERE, THERE = Place("a.yaml", 1, 2), Place("b.yaml", 3, 4)


def test_a_report_reads_place_kind_message_and_the_rest() -> None:
    """Both places, a witness, and a row that would mend it."""
    report = Report("gap", "no row", "t", (HERE, THERE), "mode: memory", "- {id: new}", 100, 400)
    assert list(report_lines(report)) == [
        "a.yaml:1:2: gap: no row (first 100 of 400)",
        "    and b.yaml:3:4",
        "    for example:",
        "        mode: memory",
        "    a row that would mend it:",
        "        - {id: new}",
    ]


def test_a_report_that_lists_everything_says_nothing_of_it() -> None:
    """No `first 1 of 1`."""
    assert list(report_lines(Report("no-lifecycle", "none", "", ()))) == ["no-lifecycle: none"]


def test_warnings_do_not_keep_rules_from_being_used() -> None:
    """An error among them does, and only errors are in the text."""
    warning, error = Report("unproduced", "w", "t", (HERE,)), Report("gap", "e", "t", (HERE,))
    assert (severity(warning), severity(error)) == ("warning", "error")
    refuse([warning])
    with pytest.raises(RuleTableError) as caught:
        refuse([warning, error])
    assert caught.value.problems == ("a.yaml:1:2: gap: e",)


def test_problems_of_an_error_keep_their_places() -> None:
    """Text with a place in front becomes a report with a place; other text stays as it is."""
    faults = Faults()
    faults.take("malformed", RuleTableError(["a.yaml:1:2: wrong: very", "no place at all"]))
    assert [(report.places, report.message) for report in faults.reports] == [
        ((HERE,), "wrong: very"),
        ((), "no place at all"),
    ]


def test_collecting_raises_when_something_was_noted() -> None:
    """And not before."""
    faults = Faults()
    faults.raise_if_any()
    assert not faults.require(False, "malformed", "wrong", HERE)
    with pytest.raises(RuleTableError, match="malformed: wrong"):
        faults.raise_if_any()
