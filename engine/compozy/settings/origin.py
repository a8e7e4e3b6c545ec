"""The results of the sources: values of settings, and problems that the validation tables turn into findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from compozy.base.place import Origin
from compozy.base.record import dataclass

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
    "not-allowed", "too-small", "too-large", "too-long", "doubled", "unidentified",
    "unknown-reference", "not-below", "missing-field", "climbing",
    "unset-variable", "unknown-variable",
    "open-listener", "open-listener-key", "secret-on-command-line", "ignored", "empty-variable",
    "not-expanded", "excluded", "unused",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """A rejected part of a source; a row of the validation tables turns it into a finding.

    `kind` is one of `PROBLEM_KINDS`, which the tables for each of `problems` see as an item; `facts` fill the
    placeholders of its text and hold no secret.
    """

    kind: str
    key: str
    origin: Origin
    facts: Mapping[str, str] = field(default_factory=dict)
