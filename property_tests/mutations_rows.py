"""Change every shipped row that is in no table: settings, facts, components, drivers, lifecycle.

A mutant is caught because the rows can no longer be read, because a promise of the contract is broken, or by
verification.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import yaml
from property_tests.contract_parts import fact_faults, lifecycle_faults, part_faults
from property_tests.contract_settings import setting_faults

from compozy.base.document import Node, read_document
from compozy.base.findings import Collector
from compozy.rulebook import check_rules, load_rulebook
from compozy.rulebook.drivers import read_drivers
from compozy.rulebook.files import shipped_texts
from compozy.rulebook.rows import read_components
from compozy.rulebook.setting_checks import check_settings
from compozy.rulebook.states import STEPS, read_graph
from compozy.settings.identity_key import ById
from compozy.settings.registry import Registry, read_registry

VERIFIED, ORACLE, SURVIVED = "verification", "oracle", "survived"
KEYS = ("settings", "machine", "components", "drivers", "states", "transitions")
STATES = ("unresolved", "resolved", "validated", "provisioned")
# Columns that describe a row and decide nothing; a row with another name is a row that is deleted.
SAID_ONLY = {"help", "about", "because", "usual", "meanings", "path", "id", "fact"}
# Columns of which every other value is tried.
ALTERNATIVES = {"to": STATES, "from": STATES, "step": tuple(STEPS), "type": ("text", "number", "url", "host", "path")}


@dataclass(frozen=True)
class RowMutant:
    """One changed rule file: `content` without the row of list `key` at `at`, and the `rows` in its place."""

    name: str
    file: str
    row: str
    key: str
    at: int
    content: Mapping[str, Any]
    rows: Sequence[Any]

    @property
    def text(self) -> str:
        """The changed file; JSON is YAML."""
        listed = self.content[self.key]
        return json.dumps({**self.content, self.key: [*listed[: self.at], *self.rows, *listed[self.at + 1 :]]})


def row_mutants() -> Iterator[RowMutant]:
    """Yield every row deleted, every deciding column dropped, and every value in it changed."""
    for file in shipped_texts():
        content = _content(file)
        for key in KEYS:
            for at, row in enumerate(content.get(key, ())):
                for words, changed in _changed(row):
                    yield RowMutant(f"{key}/{_name(row)}: {words}", file, _name(row), key, at, content, changed)


def _name(row: Mapping[str, Any]) -> str:
    return str(row.get("path") or row.get("fact") or row.get("id") or f"{row['from']} {row['trigger']}")


def _changed(row: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    yield "deleted", []
    for column, value in row.items():
        if column in SAID_ONLY:
            continue
        yield f"{column} dropped", [{name: kept for name, kept in row.items() if name != column}]
        for words, other in _altered(value, column):
            yield f"{column} {words}", [{**row, column: other}]


def _altered(value: Any, column: str) -> Iterator[tuple[str, Any]]:
    """Yield a value with one part of it dropped or changed."""
    if column in ALTERNATIVES:
        yield from ((f"changed to {other}", other) for other in ALTERNATIVES[column] if other != value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == "meanings":
                continue
            yield f"without {key}", {name: kept for name, kept in value.items() if name != key}
            yield from ((f"{key} {words}", {**value, key: other}) for words, other in _within(inner, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield f"without entry {at}", [*value[:at], *value[at + 1 :]]
            changed = _within(inner, column)
            yield from ((f"entry {at} {words}", [*value[:at], other, *value[at + 1 :]]) for words, other in changed)
    elif isinstance(value, bool | int):
        yield "changed", not value if isinstance(value, bool) else value + 1
    elif isinstance(value, str):
        yield "changed", f"{value}x"


def _within(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    return iter(()) if key in SAID_ONLY else _altered(value, key)


def row_verdict(mutant: RowMutant) -> str:
    """Return what notices a changed row: reading it, verification or the contract; or that nothing does."""
    faults = Collector()
    try:
        broken = next(file_faults(mutant.file, _documents(mutant), faults, mutant.row), None)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        broken = None  # rows that cannot be used at all: verification must refuse them
    if faults.findings:
        return VERIFIED
    # Verification of all rules is last, because it takes much longer.
    return ORACLE if broken else SURVIVED if _is_valid(mutant) else VERIFIED


def _is_valid(mutant: RowMutant) -> bool:
    return check_rules({**shipped_texts(), mutant.file: mutant.text}).valid


def _documents(mutant: RowMutant) -> list[Node]:
    """Return the changed file; of settings the changed row apart, because the others need not be read again."""
    if mutant.key != "settings":
        return [read_document(mutant.text, mutant.file)]
    return [
        _others(mutant.file, mutant.at),
        read_document(
            json.dumps({"aliases": _content(mutant.file)["aliases"], mutant.key: list(mutant.rows)}), mutant.file
        ),
    ]


@lru_cache(maxsize=1)
def _others(file: str, at: int) -> Node:
    listed = _content(file)["settings"]
    return read_document(json.dumps({**_content(file), "settings": [*listed[:at], *listed[at + 1 :]]}), file)


def _registry(documents: Sequence[Node], faults: Collector) -> Registry:
    """Return the registry of one document, or of the unchanged rows, which are read once, and of a changed one.

    Names that the changed row takes from another one are found by the promises or by verification of all rules.
    """
    if len(documents) == 1:
        return read_registry(documents, faults)
    kept, changed = _kept(ById(documents[0])), read_registry(documents[1:], faults)
    names = {name: {**getattr(kept, name), **getattr(changed, name)} for name in ("spelled", "by_env", "near")}
    return replace(kept, settings={**kept.settings, **changed.settings}, groups=kept.groups | changed.groups, **names)


@lru_cache(maxsize=1)
def _kept(document: ById[Node]) -> Registry:
    return read_registry([document.record], Collector())


@cache
def _content(file: str) -> Mapping[str, Any]:
    content: Mapping[str, Any] = yaml.load(shipped_texts()[file], yaml.CSafeLoader)
    return content


def file_faults(file: str, documents: Sequence[Node], faults: Collector, row: str | None = None) -> Iterator[str]:
    """Yield the promises that the rows of a file break; of settings, those about one of them and about several."""
    rulebook = load_rulebook()
    if file == "rules/settings.yaml":
        registry = _registry(documents, faults)
        check_settings(registry, faults)
        if not faults.findings:
            yield from fact_faults(registry.facts)
            yield from setting_faults(registry, row if row in registry.settings else None)
    elif file == "rules/lifecycle.yaml":
        graph = read_graph(documents[:1], faults)
        yield from () if faults.findings else lifecycle_faults(graph)
    elif file.startswith("rules/provision/"):
        components, drivers = read_components(documents, faults), read_drivers(documents, faults)
        if not faults.findings:
            others = tuple(one for one in rulebook.components if one.place.file != file)
            kept = {key: one for key, one in rulebook.drivers.items() if one.place.file != file}
            yield from part_faults(replace(rulebook, components=(*others, *components), drivers={**kept, **drivers}))
