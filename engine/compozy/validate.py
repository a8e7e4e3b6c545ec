"""From effective values to findings: every constraint table, all findings in one go.

What comes in: a `Resolved` record. What goes out: findings, ordered by place. Texts come from the rule
rows; secrets never reach them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from compozy.document import Place, Scalar
from compozy.resolve import UNSET, Resolved, Value, cell
from compozy.settings.check import check
from compozy.settings.origin import PROBLEMS, Candidate, Finding, Origin, Problem
from compozy.settings.registry import Setting
from compozy.settings.suggest import closest
from compozy.tables.table import Column, Row, Table

STAGE = "validate"
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([\w.\[\]-]+)\}")
_SOURCE_ORDER = {"flag": 0, "env": 1, "dotenv": 2, "file": 3, "rule": 4, "default": 5, "machine": 6}


@dataclass(frozen=True, slots=True)
class Validated:
    """A configuration without errors: the state `validated`; `findings` holds the warnings."""

    resolved: Resolved
    findings: tuple[Finding, ...]


def validate(resolved: Resolved, stages: Collection[str] = (STAGE,)) -> tuple[Finding, ...]:
    """Return every finding of the `stages`, errors and warnings, in the order of their places."""
    run = _Run(resolved)
    tables = [table for table in resolved.rulebook.ruleset.tables.values() if table.stage in stages]
    findings = [finding for table in tables for finding in run.table(table)]
    return tuple(sorted(set(findings), key=_order))


def errors(findings: Iterable[Finding], *, strict: bool = False) -> tuple[Finding, ...]:
    """Return the findings that stop; with `strict`, warnings stop too."""
    return tuple(finding for finding in findings if strict or finding.severity == "error")


def _order(finding: Finding) -> tuple[int, Place, str]:
    where = finding.where
    return (_SOURCE_ORDER[where.kind], where.place or Place("", 0, 0), finding.id)


class _Run:
    def __init__(self, resolved: Resolved) -> None:
        self.resolved = resolved
        self.ruleset = resolved.rulebook.ruleset
        self.settings = resolved.rulebook.registry.settings
        self.redactor = resolved.redactor()

    def table(self, table: Table) -> Iterator[Finding]:
        if table.for_each == PROBLEMS:
            for problem in self.problems():
                inputs: dict[str, Scalar] = {column.name: problem.kind for column in table.columns}
                yield from self.rows(table, inputs, dict(problem.facts), problem.key, problem.origin)
        elif table.for_each:
            yield from self.elements(table, table.for_each)
        else:
            inputs = {column.name: self.cell(column) for column in table.columns}
            yield from self.rows(table, inputs, {}, "", None)

    def problems(self) -> Iterator[Problem]:
        yield from self.resolved.configuration.problems
        effective = {
            path: Candidate(value.value, value.origin, value.parts or {})
            for path, value in self.resolved.values.items()
            if value.value is not None and value.origin.kind not in ("default", "rule")
        }
        yield from check(self.resolved.rulebook.registry, effective)

    def elements(self, table: Table, path: str) -> Iterator[Finding]:
        value = self.resolved.values.get(path, UNSET)
        for at, element in enumerate(value.value or ()):
            inputs = {column.name: self.item(column, element) for column in table.columns}
            yield from self.rows(table, inputs, {}, f"{path}[{at}]", None)

    def item(self, column: Column, element: Mapping[str, Any]) -> Scalar:
        return element.get(column.source.ref) if column.source.kind == "item" else self.cell(column)

    def cell(self, column: Column) -> Scalar:
        resolved = self.resolved
        return cell(column, resolved.values, self.settings, resolved.decisions, resolved.facts, resolved.directory)

    def rows(
        self, table: Table, inputs: Mapping[str, Scalar], facts: Mapping[str, str], at: str, origin: Origin | None
    ) -> Iterator[Finding]:
        for row in self.ruleset.decide(table.id, inputs).rows:
            key = str(row.body.get("key") or at)
            if "[]" in key:
                key = at + key.partition("[]")[2]
            where = origin if origin is not None else self.origin(key)
            yield self.finding(table, row, key, where, {**self.shown(table, inputs), **facts})

    def finding(self, table: Table, row: Row, key: str, where: Origin, facts: Mapping[str, str]) -> Finding:
        names = {**facts, **self.about(key, facts), "key": key}
        body = row.body
        suggestion = self.text(str(body.get("suggest", "")), names) if names.get("suggestion") else ""
        hint = " ".join(part for part in (suggestion, self.text(str(body.get("hint", "")), names).strip()) if part)
        return Finding(
            id=row.id,
            severity=str(body["severity"]),
            message=self.text(str(body["text"]), names),
            hint=hint,
            key=key,
            where=where,
            row=f"{table.id}/{row.id}",
            rule=row.place,
            docs=f"docs/{body['docs']}" if body.get("docs") else "",
        )

    def about(self, key: str, facts: Mapping[str, str]) -> dict[str, str]:
        setting = self.settings.get(key)
        if setting is None or not setting.values:
            return {}
        value = str(self.resolved.get(key))
        return {"values": ", ".join(setting.values), "suggestion": closest(value, setting.values) or ""}

    def shown(self, table: Table, inputs: Mapping[str, Scalar]) -> dict[str, str]:
        settings = {column.name: self.settings.get(column.source.ref) for column in table.columns}
        return {name: _cell_text(settings[name], value) for name, value in inputs.items()}

    def text(self, template: str, names: Mapping[str, str]) -> str:
        def fill(found: Any) -> str:
            name = found.group(1)
            if name is None:
                return str(found.group(0)[0])
            if name in names:
                return names[name]
            value = self.resolved.values.get(name)
            return "" if value is None else str(self.resolved.shown(name, value.value))

        return self.redactor.text(_PLACEHOLDER.sub(fill, template))

    def origin(self, key: str) -> Origin:
        path = key.partition("[")[0]
        value: Value = self.resolved.values.get(path, UNSET)
        return (value.parts or {}).get(key, value.origin)


def _cell_text(setting: Setting | None, value: Scalar) -> str:
    if setting is not None and setting.secret and isinstance(value, str):
        return "[REDACTED]"
    return "unset" if value is None else str(value)
