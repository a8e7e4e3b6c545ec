"""No small change of a shipped row goes unnoticed. `python -m property_tests.mutations` prints the score."""

from __future__ import annotations

import pytest
from property_tests.contract_messages import message_faults
from property_tests.mutations import mutants_of, run, verdict
from property_tests.mutations_rows import SURVIVED, file_faults, row_mutants, row_verdict

from compozy.base.document import read_document
from compozy.base.findings import Collector
from compozy.rulebook import load_rulebook
from compozy.rulebook.files import shipped_texts

FILES = ["settings", "lifecycle", "provision/components", "provision/drivers", "provision/vector_stores"]


@pytest.mark.parametrize("table", sorted(load_rulebook().ruleset.tables))
def test_every_mutant_of_a_table_is_caught(table: str) -> None:
    """Rows deleted, cells widened by one value or to any, outputs and severities changed."""
    ruleset = load_rulebook().ruleset
    mutants = mutants_of(ruleset, ruleset.tables[table])
    assert [mutant.name for mutant in mutants if verdict(ruleset, mutant) == SURVIVED] == []


@pytest.mark.parametrize("part", range(8))
def test_every_mutant_of_a_row_outside_of_tables_is_caught(part: int) -> None:
    """Rows deleted, columns dropped, values changed: settings, addresses, timeouts, checks, the lifecycle."""
    mutants = list(row_mutants())
    share = -(-len(mutants) // 8)
    survived = [one.name for one in mutants[part * share : (part + 1) * share] if row_verdict(one) == SURVIVED]
    assert survived == []


@pytest.mark.parametrize("file", FILES)
def test_the_shipped_rows_keep_the_promises(file: str) -> None:
    """Settings, components, drivers and the lifecycle."""
    name, faults = f"rules/{file}.yaml", Collector()
    assert list(file_faults(name, [read_document(shipped_texts()[name], name)], faults)) == []
    assert faults.findings == []


def test_the_score_counts_every_verdict() -> None:
    """The command that prints the score sees the same mutants."""
    lines: list[str] = []
    counts = run("temporal.mode", lines.append)
    assert counts[SURVIVED] == 0
    assert counts.total() > 30
    assert all(line.startswith("equivalent: ") for line in lines)


def test_every_finding_names_fault_and_fix() -> None:
    """Keys, numbers and settings in texts and hints; which mutants of them are noticed is tested with the tables."""
    tables = load_rulebook().ruleset.tables.values()
    rows = [(table, row) for table in tables for row in table.rows if row.body]
    assert [(row.id, fault) for table, row in rows for fault in message_faults(table, row)] == []
