"""No small change of a shipped row goes unnoticed. `python -m property_tests.mutations` prints the score."""

from __future__ import annotations

import pytest
from property_tests.mutations import SURVIVED, mutants_of, run, verdict
from property_tests.mutations_rows import (
    components_agree,
    drivers_agree,
    lifecycle_agrees,
    row_mutants,
    row_verdict,
    settings_agree,
)

from compozy.document import read_document
from compozy.rulebook import load_rulebook
from compozy.rulebook.files import shipped_texts
from compozy.settings.faults import Faults


@pytest.mark.parametrize("table", sorted(load_rulebook().ruleset.tables))
def test_every_mutant_of_a_table_is_caught(table: str) -> None:
    """Rows deleted, cells widened by one value or to any, outputs and severities changed."""
    ruleset = load_rulebook().ruleset
    mutants = mutants_of(ruleset, ruleset.tables[table])
    assert [mutant.name for mutant in mutants if verdict(ruleset, mutant) == SURVIVED] == []


@pytest.mark.parametrize("file", ["settings", "lifecycle", "provision/components", "provision/drivers"])
def test_every_mutant_of_a_row_outside_of_tables_is_caught(file: str) -> None:
    """Rows deleted, columns dropped, transitions bent."""
    mutants = [mutant for mutant in row_mutants() if mutant.file == f"rules/{file}.yaml"]
    assert [mutant.name for mutant in mutants if row_verdict(mutant) == SURVIVED] == []


@pytest.mark.parametrize(
    ("file", "agrees"),
    [
        pytest.param("settings", settings_agree, id="settings"),
        pytest.param("lifecycle", lifecycle_agrees, id="lifecycle"),
        pytest.param("provision/components", components_agree, id="components"),
        pytest.param("provision/drivers", drivers_agree, id="drivers"),
    ],
)
def test_the_shipped_rows_are_the_promised_ones(file: str, agrees: object) -> None:
    """Settings with their names and defaults, components, drivers and the lifecycle."""
    name = f"rules/{file}.yaml"
    faults = Faults()
    assert callable(agrees)
    assert agrees(read_document(shipped_texts()[name], name), faults)
    assert faults.reports == []


def test_the_score_counts_every_verdict() -> None:
    """The command that prints the score sees the same mutants."""
    said: list[str] = []
    counts = run("mode", said.append)
    assert counts[SURVIVED] == 0
    assert counts.total() > 50
    assert all(line.startswith("equivalent: ") for line in said)
