"""The findings of the constraint tables are those that the contract promises, over every combination."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from property_tests.choices import Choice, inputs_of, pool, resolved_of, variables
from property_tests.oracle import PROBLEMS, PROMISES, facts_of, findings_of

from compozy.resolve import Resolved
from compozy.rulebook import Rulebook, load_rulebook
from compozy.tables.table import Table
from compozy.validate import validate


def constraint_tables(rulebook: Rulebook) -> list[Table]:
    return [t for t in rulebook.ruleset.tables.values() if t.stage == "validate" and t.for_each != "problems"]


def groups() -> Iterator[object]:
    """Yield tables that depend on the same settings together, so that each combination is resolved once."""
    rulebook = load_rulebook()
    found: dict[frozenset[str], list[Table]] = {}
    for table in constraint_tables(rulebook):
        found.setdefault(frozenset(v.source.ref for v in variables(rulebook, [table])), []).append(table)
    for tables in found.values():
        yield pytest.param([table.id for table in tables], id="+".join(table.id for table in tables))


def found_by(resolved: Resolved, table: Table) -> set[str]:
    """Return the ids of the findings of one table, as validating asks it."""
    ruleset = resolved.rulebook.ruleset
    return {row.id for inputs in inputs_of(resolved, table) for row in ruleset.decide(table.id, inputs).rows}


@pytest.mark.parametrize("names", list(groups()))
def test_a_table_finds_exactly_what_the_contract_promises(names: list[str]) -> None:
    """No finding too many, none too few, whatever the combination."""
    rulebook = load_rulebook()
    tables = [rulebook.ruleset.tables[name] for name in names]
    ids = {row.id for table in tables for row in table.rows}
    for choice in pool(rulebook, tables):
        resolved = resolved_of(rulebook, choice)
        found = {name for table in tables for name in found_by(resolved, table)}
        assert found == findings_of(facts_of(choice)) & ids, choice


@pytest.mark.parametrize(("name", "kind"), [pytest.param(name, kind, id=name) for name, (kind, _) in PROBLEMS.items()])
def test_a_fault_of_a_source_is_one_finding(name: str, kind: str) -> None:
    """Each kind of problem has its finding, and no second one."""
    ruleset = load_rulebook().ruleset
    tables = [table.id for table in ruleset.tables.values() if table.for_each == "problems"]
    rows = [row for table in tables for row in ruleset.decide(table, {"problem": kind}).rows]
    assert [(row.id, row.body["severity"]) for row in rows] == [(name, PROBLEMS[name][1])]


def test_every_finding_has_a_promise() -> None:
    """No finding is shipped that the contract's restatement does not know."""
    shipped = {row.id for t in load_rulebook().ruleset.tables.values() for row in t.rows if row.body}
    assert shipped == {*PROMISES, *PROBLEMS}


@pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in PROMISES])
def test_a_finding_is_as_severe_and_about_the_setting_that_the_contract_says(name: str) -> None:
    """Severity and key of each finding."""
    rows = {row.id: row for table in load_rulebook().ruleset.tables.values() for row in table.rows}
    promise = PROMISES[name]
    assert (rows[name].body["severity"], rows[name].body["key"]) == (promise.severity, promise.key)


def test_the_choices_reach_every_finding() -> None:
    """Each promise is kept and each is left aside by some combination, so that the comparison means something."""
    rulebook = load_rulebook()
    reached: set[str] = set()
    for table in constraint_tables(rulebook):
        ids = {row.id for row in table.rows}
        seen = (findings_of(facts_of(choice)) & ids for choice in pool(rulebook, [table]))
        for found in seen:
            reached |= found
            if reached >= ids:
                break
    assert reached == set(PROMISES)


def test_a_choice_without_anything_gives_no_finding() -> None:
    """The empty configuration is in order."""
    assert validate(resolved_of(load_rulebook(), Choice())) == ()
