"""Configurations that bring the cases of a table about, as examples of it.

Each one was resolved and led to the inputs and rows of its case, so that it is right however it was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from tempfile import TemporaryDirectory

import yaml

from compozy.rulebook import Rulebook
from compozy.settings.origin import PROBLEMS
from compozy.tables.cases import Case, CaseSet
from compozy.tables.table import ColumnSource, Scalar, Table, TableExample
from compozy.tables.witness import witness_yaml
from compozy.trial.examples import run_table_example

Given = Mapping[str, object]


def case_configurations(rulebook: Rulebook, cases: CaseSet) -> list[Given | None]:
    """Return a configuration, in the form of an example, for each case; None where none was found."""
    with TemporaryDirectory(prefix="compozy-rules-") as directory:
        return [_configuration(rulebook, cases.table, case, directory) for case in cases.cases]


def _configuration(rulebook: Rulebook, table: Table, case: Case, directory: str) -> Given | None:
    if table.for_each == PROBLEMS:
        return None
    given = _given(rulebook, table, case)
    example = TableExample(given, tuple(row.id for row in case.rows), table.place)
    decisions = run_table_example(rulebook, table, example, directory)
    columns = rulebook.ruleset.compiled[table.id].columns
    shows = [
        decision.rows == case.rows
        and all(index.rows_at(decision.inputs[name]) == index.rows_at(case.inputs[name]) for name, index in columns)
        for decision in decisions
    ]
    return given if shows == [True] else None


def _given(rulebook: Rulebook, table: Table, case: Case) -> Given:
    viewer = rulebook.ruleset.viewer
    written = [(source._replace(kind=_kind(source)), value) for source, value in case.witness]
    text = witness_yaml(_of(written, "setting", "item"), viewer.spelled, table.for_each) if viewer else ""
    given: dict[str, object] = yaml.safe_load(text) or {}
    for key, kind in (("$flags", "flag"), ("$machine", "machine")):
        values = {source.ref: str(value) for source, value in _of(written, kind)}
        given |= {key: values} if values else {}
    return given


def _kind(source: ColumnSource) -> str:
    return "setting" if source.kind == "resolved" else source.kind


def _of(pairs: list[tuple[ColumnSource, Scalar]], *kinds: str) -> Iterator[tuple[ColumnSource, Scalar]]:
    return (pair for pair in pairs if pair[0].kind in kinds)
