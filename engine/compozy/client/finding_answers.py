"""Typed records of findings and of the reports of checks; the problem documents of the HTTP interface hold them too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Self

import msgspec
from msgspec import UNSET, UnsetType

from compozy.base.findings import Evidence, Finding
from compozy.base.place import NOWHERE, Origin, Place
from compozy.client.answers import Answer


class PlaceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a file; line and column are counted from 1."""

    file: str
    line: int
    column: int


class FindingWhere(msgspec.Struct, frozen=True, kw_only=True):
    """The place of a finding in a file, or the name of a document, variable or flag, or a row of a rule table."""

    kind: str
    file: str | UnsetType = UNSET
    line: int | UnsetType = UNSET
    column: int | UnsetType = UNSET
    name: str | UnsetType = UNSET
    table: str | UnsetType = UNSET
    row: str | UnsetType = UNSET
    variables: Sequence[str] | UnsetType = UNSET

    def place(self) -> Place | None:
        """Return the place in a file, if it is one."""
        return Place(self.file, self.line or 1, self.column or 1) if isinstance(self.file, str) else None


class FindingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong; `key` is its path in what was sent, or the setting that it is about.

    `row` is `table/row` of the rule behind it and `rule` the place of that; `also` are further places. A finding about
    rule tables has `witness` and `proposal` as YAML or null, and is one of `shown` of `total` findings of its kind.
    """

    id: str
    severity: str
    message: str
    details: str = ""
    hint: str = ""
    key: str = ""
    where: FindingWhere | None = None
    row: str = ""
    rule: PlaceAnswer | None = None
    docs: str = ""
    also: Sequence[FindingWhere] = ()
    witness: str | None | UnsetType = UNSET
    proposal: str | None | UnsetType = UNSET
    shown: int | UnsetType = UNSET
    total: int | UnsetType = UNSET

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """Return a finding of the engine in this form."""
        return msgspec.convert(finding.as_json(), cls)

    def to_finding(self) -> Finding:
        """Return the record of the command line."""
        at, where = self.where, NOWHERE
        if at is not None:
            where = Origin(at.kind, at.place(), at.name or None)
        message = f"{self.message}\n{self.details}" if self.details else self.message
        return Finding(self.id, self.severity, message, self.hint, self.key, where)


class RuleFindingAnswer(FindingAnswer, frozen=True, kw_only=True):
    """A finding about rules; `table` is the rule table that it is about, or empty."""

    table: str

    @classmethod
    def about(cls, finding: Finding, table: str) -> Self:
        """Return a finding in this form, with its evidence, be it empty."""
        whole = replace(finding, evidence=finding.evidence or Evidence())
        return msgspec.convert({**whole.as_json(), "table": table}, cls)


class ProblemAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A problem document (RFC 9457); `id` is stable, and `type` ends with it.

    An error of the command line's tree carries its exit code there and the hint; `problems` are the messages of the
    findings about a definition or an input.
    """

    type: str
    title: str
    status: int
    detail: str
    id: str
    exit_code: int | UnsetType = UNSET
    hint: str | UnsetType = UNSET
    problems: Sequence[str] | UnsetType = UNSET
    findings: Sequence[FindingAnswer] | UnsetType = UNSET


class Report(Answer, frozen=True, kw_only=True):
    """The report of a check; `valid` is false when a finding stops."""

    valid: bool


class ConfigurationReport(Report, frozen=True, kw_only=True):
    """The report of `compozy config validate`."""

    findings: Sequence[FindingAnswer]


class WorkflowReport(Report, frozen=True, kw_only=True):
    """The report of `compozy workflow validate` on a number of `files`."""

    files: int
    findings: Sequence[FindingAnswer]


class AddedRowAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A row that `--fix` wrote, as YAML."""

    table: str
    file: str
    row: str


class RulesReport(Report, frozen=True, kw_only=True):
    """The report of `compozy rules check`; `tried_ms` is null where the rules were not tried out."""

    tables: int
    rows: int
    added: Sequence[AddedRowAnswer]
    verified_ms: float
    tried_ms: float | None
    findings: Sequence[RuleFindingAnswer]


class ImportReport(Report, frozen=True, kw_only=True):
    """The report of `compozy rules import`; `written` is the file that was written, or null."""

    written: str | None
    tables: int
    findings: Sequence[RuleFindingAnswer]


class FailureFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The error that ended a command."""

    id: str
    message: str
    exit_code: int
    hint: str | None


class FailureReport(Answer, frozen=True, kw_only=True):
    """The JSON of a command that failed."""

    error: FailureFacts
    findings: Sequence[FindingAnswer]


def finding_answers(findings: Iterable[Finding]) -> list[FindingAnswer]:
    """Return findings of the engine in this form."""
    return [FindingAnswer.of(finding) for finding in findings]
