"""Read the texts of rule files into records: registry, tables, components, drivers, lifecycle.

Rows are read and linked; verification is not done here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from compozy.base.document import Node, read_document
from compozy.base.findings import Collector
from compozy.base.shapes import TEXT, check_keys, mays, needs, plain_shape
from compozy.errors import RuleTableError, SyntaxProblem
from compozy.rulebook.constraints import NEVER, read_constraints
from compozy.rulebook.domains import setting_domain
from compozy.rulebook.drivers import read_drivers
from compozy.rulebook.migrations import MIGRATIONS, read_migrations
from compozy.rulebook.rule_records import ComponentRow as ComponentRow
from compozy.rulebook.rule_records import DriverRow as DriverRow
from compozy.rulebook.rule_records import Rulebook as Rulebook
from compozy.rulebook.rule_records import digest_of
from compozy.rulebook.states import StateGraph, read_graph
from compozy.rulebook.viewer import SettingViewer
from compozy.settings.origin import PROBLEM_KINDS, PROBLEMS
from compozy.settings.registry import CONTAINERS, Registry, Setting, read_registry
from compozy.settings.row_faults import NUMBERS
from compozy.settings.row_lists import listed_rows, put
from compozy.settings.views import VIEWS, compared_with
from compozy.tables.decide import compile_leniently
from compozy.tables.read import read_tables
from compozy.tables.table import ColumnSource, Domain

_TABLE_KEYS = frozenset({"tables", "table", "extends"})
_KEYS = ("settings", "aliases", "machine", "components", "drivers", "states", "transitions", NEVER, MIGRATIONS)
_COMPONENT = plain_shape(
    "a component",
    {**needs(TEXT, "id", "mode", "driver", "about"), **mays(TEXT, "kept", "for_each", "replaces")},
)


class SettingsCatalogue:
    """The domains of settings, views, machine facts and problems, as the table engine asks for them."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def domain(self, source: ColumnSource) -> Domain | None:
        """Return the domain behind `source`, or None for an unknown source."""
        if source.kind == "machine":
            fact = self.registry.facts.get(source.ref)
            return Domain.finite(fact.values) if fact else None
        if source.kind == "item" and source.each == PROBLEMS:
            return Domain.finite(PROBLEM_KINDS) if source.ref == "kind" else None
        if source.kind == "input":
            return None  # declared inputs belong to decision files
        setting = self.registry.settings.get(source.each or source.ref)
        if setting is not None and source.kind == "item":
            setting = setting.items.get(source.ref)
        return self._of_setting(setting, source.view) if setting else None

    def _of_setting(self, setting: Setting, view: str | None) -> Domain | None:
        if view is None:
            return setting_domain(setting)
        other = compared_with(view)
        if other is not None:
            return Domain.boolean() if other in self.registry.settings else None
        found = VIEWS.get(view)
        if found is not None and found.reads_text and setting.type in (*NUMBERS, *CONTAINERS, "boolean"):
            return None
        return Domain.finite(found.values, optional=found.optional) if found else None


def read_rules(texts: Mapping[str, str], faults: Collector) -> Rulebook | None:
    """Read rules from file names and texts, the shipped ones first.

    Returns None when a file or a row cannot be read at all. Else the rules are linked, and may be faulty.
    """
    documents = [document for name, text in texts.items() if (document := _document(name, text, faults))]
    if faults.findings:
        return None
    rows = [document for document in documents if not _holds_tables(document)]
    registry = read_registry(rows, faults)
    components = read_components(rows, faults)
    drivers = read_drivers(rows, faults)
    lifecycle = _lifecycle(rows, faults)
    never = read_constraints(rows, registry, faults)
    migrations = read_migrations(rows, registry, faults)
    try:
        tables = read_tables((node.place.file, node) for node in documents if _holds_tables(node))
    except RuleTableError as error:
        faults.findings += error.findings
        return None
    if faults.findings:
        return None
    catalogue = SettingsCatalogue(registry)
    ruleset = compile_leniently(tables, catalogue, SettingViewer(registry, tables, never.rows))
    excluded = compile_leniently([never], catalogue)
    return Rulebook(registry, ruleset, excluded, components, drivers, lifecycle, migrations, texts, digest_of(texts))


def with_constraints(rulebook: Rulebook, text: str, name: str) -> Rulebook:
    """Return a rulebook with the constraints of a rule file, given as text, in the place of its own."""
    never = read_constraints([read_document(text, name)], rulebook.registry, Collector())
    return replace(rulebook, never=compile_leniently([never], SettingsCatalogue(rulebook.registry)))


@lru_cache(maxsize=64)
def _parsed(text: str, name: str) -> Node:
    """Parse a file once a process: the shipped ones are read again with every other set of packs."""
    return read_document(text, name)


def _document(name: str, text: str, faults: Collector) -> Node | None:
    try:
        node = _parsed(text, name)
    except SyntaxProblem as error:
        faults.add("syntax", error.reason, error.place)
        return None
    if not faults.require(isinstance(node.value, dict), "malformed", "a rule file is a mapping", node.place):
        return None
    if not _holds_tables(node):
        check_keys(node, (*_KEYS, *sorted(_TABLE_KEYS)), "a rule file", faults)
    return node


def _holds_tables(node: Node) -> bool:
    return not _TABLE_KEYS.isdisjoint(node.value)


def read_components(documents: Iterable[Node], faults: Collector) -> tuple[ComponentRow, ...]:
    """Read the rows of `components`; every fault is noted."""
    found: dict[str, ComponentRow] = {}
    for row in _rows(documents, "components", faults):
        plain = _COMPONENT.decode(row, faults)
        if plain is not None:
            replaced = plain.pop("replaces", None)
            put(found, plain["id"], ComponentRow(**plain, place=row.place), replaced, "component", faults)
    return tuple(found.values())


def _rows(documents: Iterable[Node], key: str, faults: Collector) -> Iterable[Node]:
    return [row for document in documents for row in listed_rows(document, key, faults)]


def _lifecycle(documents: Iterable[Node], faults: Collector) -> StateGraph:
    holding = [node for node in documents if "transitions" in node.value or "states" in node.value]
    if not holding:
        faults.add("no-lifecycle", "no file holds the states and transitions of the lifecycle")
        return StateGraph((), "", (), {})
    return read_graph(holding, faults)
