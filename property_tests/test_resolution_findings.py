"""The findings of the constraint tables are those that the contract promises, over every combination."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from property_tests.branching import Answer, Scan, answers, completed
from property_tests.choices import Choice, inputs_of, resolved_of, size, variables
from property_tests.oracle import PROBLEMS, PROMISES, Facts, findings_of

from compozy.resolution.resolve import Resolved
from compozy.resolution.validate import validate
from compozy.rulebook import load_rulebook
from compozy.tables.table import Table

Reported = tuple[bool, bool]
EVERY_PROMISE = pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in PROMISES])


def table_of(name: str) -> Table:
    return next(t for t in load_rulebook().ruleset.tables.values() for row in t.rows if row.id == name and row.body)


def reported(name: str) -> Iterator[Answer[Reported]]:
    """Yield whether a finding is reported and whether the contract promises it, over every combination."""
    rulebook, table = load_rulebook(), table_of(name)
    alone = replace(table, rows=tuple(row for row in table.rows if row.id == name))

    def question(choice: Choice) -> Reported:
        scan = Scan(rulebook, choice, rulebook.ruleset.tables)
        return any(scan.matching(alone)), PROMISES[name].when(Facts(choice))

    return answers(variables(rulebook), question)


@EVERY_PROMISE
def test_every_combination_reports_as_in_contract_and_sampled_ones_when_resolved(name: str) -> None:
    """No combination is left out; one of each sampled answer is resolved, with what the answer leaves open drawn."""
    found = list(reported(name))
    assert [answer.decided for answer in found if answer.value[0] != answer.value[1]] == []
    assert {answer.value[0] for answer in found} == {True, False}
    every = size(variables(load_rulebook()))
    assert sum(answer.combinations for answer in found) == every
    positive = [answer for answer in found if answer.value[0]]
    sampled = [*positive[:: 1 + len(positive) // 20], *found[:: 1 + len(found) // 20]]
    for seed, answer in enumerate(sampled):
        check_resolved(table_of(name), completed(variables(load_rulebook()), answer, seed))
    print(f"{name}: {every:.1e} of {every:.1e} combinations, {len(found)} of them different; {len(sampled)} resolved")


def check_resolved(table: Table, choice: Choice) -> None:
    """The real decision of the whole table reports what the contract promises."""
    found = found_by(resolved_of(load_rulebook(), choice), table)
    assert found == findings_of(Facts(choice)) & {row.id for row in table.rows}, choice


def found_by(resolved: Resolved, table: Table) -> set[str]:
    """Return the ids of the findings of one table, as validation asks it."""
    ruleset = resolved.rulebook.ruleset
    return {row.id for inputs in inputs_of(resolved, table) for row in ruleset.decide(table.id, inputs).rows}


@pytest.mark.parametrize(("name", "kind"), [pytest.param(name, kind, id=name) for name, (kind, _) in PROBLEMS.items()])
def test_a_fault_of_a_source_is_one_finding(name: str, kind: str) -> None:
    """Each kind of problem has its finding, and no second one."""
    ruleset = load_rulebook().ruleset
    tables = [table.id for table in ruleset.tables.values() if table.for_each == "problems"]
    rows = [row for table in tables for row in ruleset.decide(table, {"problem": kind}).rows]
    assert [(row.id, row.body["severity"]) for row in rows] == [(name, PROBLEMS[name][1])]


def test_the_contract_promises_every_finding() -> None:
    shipped = {row.id for t in load_rulebook().ruleset.tables.values() for row in t.rows if row.body}
    assert shipped == {*PROMISES, *PROBLEMS}


@EVERY_PROMISE
def test_finding_has_the_severity_and_setting_of_the_contract(name: str) -> None:
    """Severity and key of each finding."""
    rows = {row.id: row for table in load_rulebook().ruleset.tables.values() for row in table.rows}
    promise = PROMISES[name]
    assert (rows[name].body["severity"], rows[name].body["key"]) == (promise.severity, promise.key)


def test_a_choice_without_anything_gives_no_finding() -> None:
    """The empty configuration is in order."""
    assert validate(resolved_of(load_rulebook(), Choice())) == ()
