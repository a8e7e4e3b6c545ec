"""Who set a value: the records that every value, problem and finding carries along.

What comes in: facts from the sources and the rule tables. What goes out: frozen records; nothing here reads anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compozy.base.control import escape_line
from compozy.base.place import Place


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    `kind` is one of `default`, `file`, `dotenv`, `env`, `flag`, `machine`, `rule`. `place` goes with
    `file` and `dotenv`; `name` with `dotenv`, `env`, `flag` and `machine`; `table` and `row` with `rule`.
    `variables` names the variables that were expanded in the value.
    """

    kind: str
    place: Place | None = None
    name: str | None = None
    table: str | None = None
    row: str | None = None
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == "rule":
            return f"rule {self.table}/{self.row}"
        parts = [self.kind, self.name, str(self.place) if self.place else None]
        return escape_line(" ".join(part for part in parts if part))

    def as_json(self) -> dict[str, Any]:
        """Return the origin in the form of the command line's JSON."""
        result: dict[str, Any] = {"kind": self.kind}
        if self.place is not None:
            result |= {"file": self.place.file, "line": self.place.line, "column": self.place.column}
        named = {"name": self.name, "table": self.table, "row": self.row}
        result |= {key: value for key, value in named.items() if value is not None}
        return result | ({"variables": list(self.variables)} if self.variables else {})


DEFAULT = Origin("default")


# The kinds of sources that people write, the highest first.
WRITTEN = ("flag", "env", "dotenv", "file")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A value that one source gives to one setting; `parts` holds the origins inside a list or map.

    `address` is the setting of the URL of which the value is a part, or empty. The value may be a secret and does
    not show in `repr`.
    """

    value: Any = field(repr=False)
    origin: Origin
    parts: Mapping[str, Origin] = field(default_factory=dict)
    address: str = ""


PROBLEMS = "problems"
PROBLEM_KINDS = (
    "syntax", "duplicate-key", "unreadable", "dotenv-line", "unknown-key", "two-spellings", "type",
    "not-allowed", "too-small", "doubled", "unidentified", "unset-variable", "unknown-variable",
    "open-listener", "open-listener-key", "secret-on-command-line", "ignored", "empty-variable",
    "not-expanded", "excluded", "unused",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a source could not take; the validation tables make a finding of it.

    `kind` is one of `PROBLEM_KINDS`, which the tables for each of `problems` see as an item; `facts` fill the
    placeholders of its text and hold no secret.
    """

    kind: str
    key: str
    origin: Origin
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of validation; `row` is `table/row` of the rule behind it and `rule` its place.

    `severity` is `error` or `warning`; `message` may have several lines, of which the first is fixed.
    """

    id: str
    severity: str
    message: str
    hint: str
    key: str
    where: Origin
    row: str
    rule: Place | None = None
    docs: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the finding in the form of the command line's JSON."""
        first, _, rest = self.message.partition("\n")
        rule = {"file": self.rule.file, "line": self.rule.line, "column": self.rule.column} if self.rule else None
        return {
            "id": self.id,
            "severity": self.severity,
            "message": first,
            "details": rest,
            "hint": self.hint,
            "key": self.key,
            "where": self.where.as_json(),
            "row": self.row,
            "rule": rule,
            "docs": self.docs,
        }
