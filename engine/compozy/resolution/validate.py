"""Evaluate all constraint tables on the effective values and return their findings, ordered by place.

Texts come from the rule rows, and never contain secrets.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from compozy.base.control import escape_line
from compozy.base.document import Scalar
from compozy.base.findings import Finding
from compozy.base.place import Origin, Place
from compozy.base.record import dataclass
from compozy.base.suggest import closest
from compozy.resolution.resolve import UNSET, ListElement, Resolved, Value, cell, named_elements
from compozy.settings.origin import PROBLEMS, WRITTEN, Candidate, Problem
from compozy.settings.redact import Redactor, redact_value
from compozy.settings.registry import Setting
from compozy.settings.value_check import check
from compozy.tables.table import Column, Decision, Row, Table

STAGE = "validate"
_MANY = 100
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([\w.\[\]-]+)\}")
_NOWHERE = Place("", 0, 0)
_DERIVED = ("default", "rule")
_SOURCE_ORDER = {"flag": 0, "env": 1, "dotenv": 2, "file": 3, "rule": 4, "default": 5, "machine": 6}


@dataclass(frozen=True, slots=True)
class Validated:
    """A configuration without errors: the state `validated`; `findings` holds the warnings."""

    resolved: Resolved
    findings: tuple[Finding, ...]


def validate(resolved: Resolved, stages: Collection[str] = (STAGE,)) -> tuple[Finding, ...]:
    """Return the findings of the `stages`, errors and warnings, in the order of their places; at most 100 of an id."""
    run = _Validation(resolved)
    tables = (table for table in resolved.rulebook.ruleset.tables.values() if table.stage in stages)
    findings = dict.fromkeys(finding for table in tables for finding in run.findings(table))
    return tuple(_limited(sorted(findings, key=_order))) if findings else ()


def _limited(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Yield the first `_MANY` findings of each id; the last of them reports how many are left out."""
    count, seen = Counter(finding.id for finding in findings), Counter[str]()
    for finding in findings:
        seen[finding.id] += 1
        left_out = count[finding.id] - _MANY
        if seen[finding.id] == _MANY and left_out > 0:
            yield replace(finding, message=f"{finding.message}\n({left_out} more of this kind are not listed)")
        elif seen[finding.id] <= _MANY:
            yield finding


def occasions(resolved: Resolved, table: Table) -> tuple[Occasion, ...]:
    """Return every occasion on which `table` is asked: one, or one for each element or problem."""
    return tuple(_Validation(resolved).occasions(table))


def errors(findings: Iterable[Finding], *, strict: bool = False) -> tuple[Finding, ...]:
    """Return the findings that stop; with `strict`, warnings stop too."""
    return tuple(finding for finding in findings if strict or finding.severity == "error")


def promoted(findings: Iterable[Finding], *, strict: bool = True) -> tuple[Finding, ...]:
    """Return the findings as `strict` makes them: warnings are errors."""
    return tuple(replace(finding, severity="error") if strict else finding for finding in findings)


def _order(finding: Finding) -> tuple[int, Place, str, str, str]:
    where = finding.where
    return (_SOURCE_ORDER[where.kind], where.place or _NOWHERE, finding.id, finding.key, finding.message)


@dataclass(frozen=True, slots=True)
class Occasion:
    """One time that a table of findings is asked: what its columns see, and the rows that answered.

    `at` is the element or the key that it is about, empty for a table that is asked once. `facts` and
    `origin` come with a problem that a source met.
    """

    at: str
    decision: Decision
    facts: Mapping[str, str]
    origin: Origin | None


class _Validation:
    def __init__(self, resolved: Resolved) -> None:
        self.resolved = resolved
        self.ruleset = resolved.rulebook.ruleset
        self.settings = resolved.rulebook.registry.settings

    @cached_property
    def redactor(self) -> Redactor:
        return self.resolved.redactor()

    def occasions(self, table: Table) -> Iterator[Occasion]:
        if table.for_each == PROBLEMS:
            for problem in self.problems():
                inputs: dict[str, Scalar] = {column.name: problem.kind for column in table.columns}
                yield self.occasion(table, inputs, problem.key, problem.facts, problem.origin)
        elif table.for_each:
            for element in named_elements(self.settings[table.for_each], self.resolved.get(table.for_each) or ()):
                inputs = {column.name: self.cell(column, element) for column in table.columns}
                yield self.occasion(table, inputs, f"{table.for_each}[{element.at}]", {}, None)
        else:
            yield self.occasion(table, {column.name: self.cell(column) for column in table.columns}, "", {}, None)

    def occasion(
        self, table: Table, inputs: Mapping[str, Scalar], at: str, facts: Mapping[str, str], origin: Origin | None
    ) -> Occasion:
        return Occasion(at, self.ruleset.decide(table.id, inputs), facts, origin)

    def problems(self) -> Iterator[Problem]:
        yield from self.resolved.configuration.problems
        yield from (self.excluded(row) for row in self.resolved.excluded)
        effective = {
            path: Candidate(value.value, value.origin, value.parts or {}, value.address)
            for path, value in self.resolved.values.items()
            if value.value is not None and value.origin.kind not in _DERIVED
        }
        yield from check(self.resolved.rulebook.registry, effective, self.resolved.unused(), self.shadowed())

    def shadowed(self) -> Iterator[dict[str, Candidate]]:
        """Yield the written values that do not count, one mapping for each place in the order of precedence."""
        written = {
            path: [one for one in value.shadowed if one.origin.kind in WRITTEN and one.value is not None]
            for path, value in self.resolved.values.items()
            if value.shadowed
        }
        for at in range(max(map(len, written.values()), default=0)):
            yield {path: lower[at] for path, lower in written.items() if at < len(lower)}

    def excluded(self, row: Row) -> Problem:
        """Return the problem of a violated constraint, at the first of its settings that a source gave."""
        given = [path for path in row.when if self.resolved.values[path].origin.kind not in _DERIVED]
        key = (given or [*row.when])[0]
        reason = f": {row.because}" if row.because else ""
        facts = {"settings": row.id, "reason": reason, "constraint": str(row.place)}
        return Problem("excluded", key, self.origin(key), facts)

    def cell(self, column: Column, element: ListElement | None = None) -> Scalar:
        seen = self.resolved
        return cell(column, seen.values, self.settings, seen.decisions, seen.facts, seen.directory, element)

    def findings(self, table: Table) -> Iterator[Finding]:
        for occasion in self.occasions(table):
            for row in occasion.decision.rows:
                if not (self.rejected_settings and self.depends_on_rejected_setting(table, row, occasion)):
                    yield self.finding(table, row, occasion)

    @cached_property
    def rejected_settings(self) -> frozenset[str]:
        """Settings whose written values were rejected; each has a finding of its own."""
        keys = {problem.key.partition("[")[0] for problem in self.resolved.configuration.problems}
        registry = self.resolved.rulebook.registry
        groups = tuple(f"{key}." for key in keys & registry.groups)
        written = (
            {path for spelled, path in registry.spelled.items() if spelled in keys or spelled.startswith(groups)}
            if keys
            else set()
        )
        return frozenset(
            path for path, value in self.resolved.values.items() if path in written and value.origin.kind in _DERIVED
        )

    def depends_on_rejected_setting(self, table: Table, row: Row, occasion: Occasion) -> bool:
        """Return True if a row depends on a setting whose value was written but rejected."""
        asked = (column.source for column in table.columns if column.name in row.when)
        needed = {source.ref for source in asked if source.kind == "setting"} | {occasion.facts.get("setting")}
        return not self.rejected_settings.isdisjoint(needed)

    def finding(self, table: Table, row: Row, occasion: Occasion) -> Finding:
        key = str(row.body.get("key") or occasion.at)
        if "[]" in key:
            key = occasion.at + key.partition("[]")[2]
        body, names = row.body, self.names(table, key, occasion)
        suggestion = self.text(str(body.get("suggest", "")), names) if names.get("suggestion") else ""
        hint = " ".join(part for part in (suggestion, self.text(str(body.get("hint", "")), names).strip()) if part)
        return Finding(
            id=row.id,
            severity=str(body["severity"]),
            message=self.text(str(body["text"]), names),
            hint=hint,
            key=key,
            where=occasion.origin or self.origin(key),
            row=f"{table.id}/{row.id}",
            rule=row.place,
            docs=f"docs/{body['docs']}" if body.get("docs") else "",
        )

    def names(self, table: Table, key: str, occasion: Occasion) -> Mapping[str, str]:
        """Return what the placeholders of a finding's texts stand for."""
        inputs = occasion.decision.inputs
        cells = {
            column.name: escape_line(cell_text(column_setting(self.resolved, table, column), inputs[column.name]))
            for column in table.columns
        }
        return {**cells, **occasion.facts, **self.about(key), "key": key}

    def about(self, key: str) -> dict[str, str]:
        setting = self.settings.get(key)
        if setting is None or not setting.values:
            return {}
        value = str(self.resolved.get(key))
        return {"values": ", ".join(setting.values), "suggestion": closest(value, setting.values) or ""}

    def text(self, template: str, names: Mapping[str, str]) -> str:
        def fill(found: re.Match[str]) -> str:
            name = found[1]
            return self.redactor.text(escape_line(self.named(name, names))) if name is not None else found[0][0]

        return _PLACEHOLDER.sub(fill, template)

    def named(self, name: str, names: Mapping[str, str]) -> str:
        if name in names:
            return names[name]
        value = self.resolved.get(name)
        if value is None:
            return ""
        # As written, not as anchored at the directory.
        anchored = self.resolved.directory + os.sep if self.settings[name].type == "path" else ""
        return str(self.resolved.shown(name, value)).removeprefix(anchored)

    def origin(self, key: str) -> Origin:
        path = key.partition("[")[0]
        value: Value = self.resolved.values.get(path, UNSET)
        return (value.parts or {}).get(key, value.origin)


def column_setting(resolved: Resolved, table: Table, column: Column) -> Setting | None:
    """Return the setting, or the field of a list, whose own value a column sees; None when it sees another thing."""
    settings, source = resolved.rulebook.registry.settings, column.source
    if source.view is not None or source.kind not in ("setting", "item"):
        return None
    if source.kind == "setting":
        return settings.get(source.ref)
    listed = settings.get(table.for_each or "")
    return listed.items.get(source.ref) if listed else None


def cell_text(setting: Setting | None, value: Scalar) -> str:
    """Return what a column saw, without secrets."""
    if value is None:
        return "unset"
    return str(redact_value(setting, value)) if setting else str(value)
