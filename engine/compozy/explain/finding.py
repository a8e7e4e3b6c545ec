"""Explain a finding: the row behind it, what each cell requires and observed, and whether the finding is present."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import yaml

from compozy.base.findings import Finding
from compozy.base.manual import page
from compozy.base.place import Place
from compozy.base.record import dataclass
from compozy.base.suggest import closest
from compozy.errors import NotFoundError
from compozy.explain.show import Shown
from compozy.explain.value import Chain, place_json
from compozy.resolution.resolve import Resolved
from compozy.resolution.validate import Occasion, occasions, validate
from compozy.tables.cells import condition_words
from compozy.tables.table import Row, Table
from compozy.trial.examples import Example, examples_of


@dataclass(frozen=True, slots=True)
class Cell:
    """A condition of the row: the column, what it sees, what it wants and, on one occasion, what it saw."""

    column: str
    source: str
    wants: str
    saw: str
    holds: bool

    def as_json(self) -> dict[str, object]:
        """Return the record as JSON."""
        found = {"column": self.column, "source": self.source, "wants": self.wants}
        return found | {"saw": self.saw, "holds": self.holds}


@dataclass(frozen=True, slots=True)
class ExampleCase:
    """One occasion on which the row was asked; `at` is the element or key it was about, empty for the whole."""

    at: str
    fires: bool
    cells: tuple[Cell, ...]

    def as_json(self) -> dict[str, object]:
        """Return the record as JSON."""
        return {"at": self.at, "fires": self.fires, "cells": [cell.as_json() for cell in self.cells]}


@dataclass(frozen=True, slots=True)
class FindingExplanation:
    """The explanation of a finding; `text` is its template, `findings` are those of this configuration.

    `good` and `bad` are configurations, one without and one with the finding, as texts.
    """

    id: str
    severity: str
    text: str
    hint: str
    key: str
    docs: str
    row: str
    rule: Place
    when: tuple[tuple[str, str, str], ...]
    good: str
    bad: str
    cases: tuple[ExampleCase, ...]
    findings: tuple[Finding, ...]

    @property
    def fires(self) -> bool:
        """True if this configuration has the finding."""
        return bool(self.findings)

    def as_json(self) -> dict[str, object]:
        """Return the record as JSON."""
        return {
            "id": self.id,
            "severity": self.severity,
            "text": self.text,
            "hint": self.hint,
            "key": self.key,
            "docs": self.docs,
            "row": self.row,
            "rule": place_json(self.rule),
            "when": [{"column": name, "source": source, "wants": wants} for name, source, wants in self.when],
            "good": self.good,
            "bad": self.bad,
            "fires": self.fires,
            "cases": [case.as_json() for case in self.cases],
            "findings": [finding.as_json() for finding in self.findings],
        }


def explain_finding(resolved: Resolved, finding: str) -> FindingExplanation:
    """Explain the finding of this id.

    Raises:
        NotFoundError: the finding does not exist.
    """
    table, row = finding_row(resolved, finding)
    body = row.body
    examples = {example.kind: example for example in examples_of(resolved.rulebook) if example.id == finding}
    return FindingExplanation(
        id=row.id,
        severity=str(body["severity"]),
        text=str(body["text"]),
        hint=str(body.get("hint", "")),
        key=str(body.get("key", "")),
        docs=f"docs/{body['docs']}" if body.get("docs") else "",
        row=f"{table.id}/{row.id}",
        rule=row.place,
        when=tuple(conditions(table, row)),
        good=example_text(examples.get("good")),
        bad=example_text(examples.get("bad")),
        cases=tuple(_case(resolved, table, row, occasion) for occasion in occasions(resolved, table)),
        findings=tuple(found for found in validate(resolved, (table.stage,)) if found.id == finding),
    )


def finding_row(resolved: Resolved, finding: str) -> tuple[Table, Row]:
    """Return the row of a finding with its table.

    Raises:
        NotFoundError: the finding does not exist.
    """
    rows = {row.id: (table, row) for table, row in finding_rows(resolved.rulebook.ruleset.tables.values())}
    if finding not in rows:
        near = closest(finding, rows)
        hint = f"did you mean {near}?" if near else f"{page('docs/configuration/findings.md')} lists them"
        raise NotFoundError("finding", finding, hint=hint)
    return rows[finding]


def finding_rows(tables: Iterable[Table]) -> Iterator[tuple[Table, Row]]:
    """Yield every row that makes a finding, with its table, in their order."""
    return ((table, row) for table in tables for row in table.rows if row.body)


def conditions(table: Table, row: Row) -> Iterator[tuple[str, str, str]]:
    """Yield column, source and condition in words of every cell that is not open."""
    for column in table.columns:
        if column.name in row.when:
            yield column.name, str(column.source), condition_words(row.condition(column.name))


def _case(resolved: Resolved, table: Table, row: Row, occasion: Occasion) -> ExampleCase:
    chain, decision = Chain(resolved, Shown(resolved)), occasion.decision
    cells = tuple(
        Cell(
            column=column.name,
            source=str(column.source),
            wants=condition_words(row.condition(column.name)),
            saw=chain.saw(table, column, decision),
            holds=row.condition(column.name).matches(decision.inputs[column.name]),
        )
        for column in table.columns
        if column.name in row.when
    )
    return ExampleCase(occasion.at, row in decision.rows, cells)


def example_text(example: Example | None) -> str:
    """Return an example as a reader may try it: the file, and as comments everything else it needs."""
    if example is None:
        return ""
    return "\n".join([*_inputs(example), *example.text.rstrip().splitlines()])


def _inputs(example: Example) -> Iterator[str]:
    for variable, value in (example.given_as("$environment") or {}).items():
        yield f"# in the environment: {variable}={value}"
    for line in (example.given_as("$dotenv") or "").splitlines():
        yield f"# in .env: {line}"
    for path, value in (example.given_as("$flags") or {}).items():
        yield f"# on the command line: --set {path}={value}"
    for fact, value in (example.given_as("$machine") or {}).items():
        yield f"# on a machine where {fact} is {value}"
    if example.given_as("$never") is not None:
        given = yaml.safe_dump(example.given_as("$never"), default_flow_style=True, sort_keys=False, width=1000)
        yield f"# with the constraint {given.strip()}"
    for name in example.given_as("$files") or {}:
        yield f"# a file named {name}"
    if example.given_as("$bytes") is not None:
        yield f"# a file of the bytes {example.given_as('$bytes')}"
