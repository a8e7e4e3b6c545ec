"""Compile rule tables that have to be right."""

from __future__ import annotations

from collections.abc import Iterable

from compozy.base.findings import ordered
from compozy.errors import RuleTableError
from compozy.tables.decide import RuleSet, compile_leniently
from compozy.tables.observation import Viewer
from compozy.tables.table import SourceCatalogue, Table


def compile_tables(tables: Iterable[Table], catalogue: SourceCatalogue, viewer: Viewer | None = None) -> RuleSet:
    """Link and compile tables so that they can decide.

    Raises:
        RuleTableError: names every unknown setting, decision and value, and every circle of tables.
    """
    ruleset = compile_leniently(tables, catalogue, viewer)
    if ruleset.faults:
        raise RuleTableError(ordered(ruleset.faults))
    return ruleset
