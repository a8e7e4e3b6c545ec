"""The records of the rules in force, without what reads them: rules that were verified before are only loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from compozy.base.place import Place
from compozy.base.record import dataclass
from compozy.rulebook.drivers import DriverRow as DriverRow
from compozy.rulebook.migrations import Migration
from compozy.rulebook.states import StateGraph
from compozy.settings.registry import Registry
from compozy.tables.decide import RuleSet
from compozy.tables.table import Table

NEVER = "never"


@dataclass(frozen=True, slots=True)
class ComponentRow:
    """A component; `mode` and `driver` name the decisions about how it is provided.

    `kept` names the one about whether its data survives a restart. With `for_each` it has an instance for each
    element of that list, for which its tables are evaluated.
    """

    id: str
    mode: str
    driver: str
    about: str
    place: Place
    kept: str | None = None
    for_each: str | None = None

    @property
    def decisions(self) -> Mapping[str, str]:
        """The tables that decide about it, by what they decide."""
        named = {"mode": self.mode, "driver": self.driver, "kept": self.kept}
        return {part: table for part, table in named.items() if table is not None}


@dataclass(frozen=True, slots=True, repr=False)
class Rulebook:
    """All rules that are in force; `digest` changes with every byte of them, `files` are their texts.

    `never` holds the constraints, as the one table of a rule set of its own.
    """

    registry: Registry
    ruleset: RuleSet
    never: RuleSet
    components: tuple[ComponentRow, ...]
    drivers: Mapping[tuple[str, str], DriverRow]
    lifecycle: StateGraph
    migrations: tuple[Migration, ...]
    files: Mapping[str, str]
    digest: str

    @property
    def tables(self) -> Mapping[str, Table]:
        """The decision tables, and the table of the constraints if there are any."""
        return {**self.ruleset.tables, **{name: table for name, table in self.never.tables.items() if table.rows}}

    def __repr__(self) -> str:
        return f"Rulebook({len(self.ruleset.tables)} tables, digest {self.digest[:12]})"


def digest_of(texts: Mapping[str, str]) -> str:
    """Return the SHA-256 of names and texts, in hexadecimal."""
    return hashlib.sha256(
        "\0".join(f"{name}\0{text}" for name, text in texts.items()).encode(errors="surrogateescape")
    ).hexdigest()
