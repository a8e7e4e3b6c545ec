"""Everything that is data: registry, rule tables, components, drivers and lifecycle, read and verified as one.

What comes in: the shipped files of `compozy.rules` and the directories of rule packs. What goes out: a
frozen `Rulebook`. Nothing here looks at a configuration.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from compozy.document import Node, read_document
from compozy.errors import RuleTableError, SyntaxProblem
from compozy.settings.origin import PROBLEM_KINDS, PROBLEMS
from compozy.settings.registry import Registry, Setting, read_registry
from compozy.settings.views import EQUALS, VIEWS
from compozy.tables.decide import RuleSet, compile_tables
from compozy.tables.read import read_tables
from compozy.tables.table import Domain, Source


@dataclass(frozen=True, slots=True)
class ComponentRow:
    """A component; `mode` and `driver` name the decisions that say how it is provided."""

    id: str
    mode: str
    driver: str
    about: str


@dataclass(frozen=True, slots=True)
class DriverRow:
    """How a driver is built: `factory` is `module:Class`, `options` maps its arguments to settings."""

    id: str
    component: str
    driver: str
    factory: str
    needs: tuple[str, ...]
    timeout: Any
    options: Mapping[str, Any]
    place: str


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All rules that are in force; `digest` changes with every byte of them, `files` are their texts."""

    registry: Registry
    ruleset: RuleSet
    components: tuple[ComponentRow, ...]
    drivers: Mapping[tuple[str, str], DriverRow]
    lifecycle: Node
    files: Mapping[str, str]
    digest: str


class SettingsCatalogue:
    """Tells the table engine the domains of settings, views, machine facts and problems."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def domain(self, source: Source) -> Domain | None:
        """Return the domain behind `source`, or None when there is no such thing."""
        if source.kind == "machine":
            fact = self.registry.facts.get(source.ref)
            return Domain.finite(fact.values) if fact else None
        if source.kind == "item" and source.each == PROBLEMS:
            return Domain.finite(PROBLEM_KINDS) if source.ref == "kind" else None
        setting = self.registry.settings.get(source.each or source.ref)
        if setting is not None and source.kind == "item":
            setting = setting.items.get(source.ref)
        return self._of_setting(setting, source.view) if setting else None

    def _of_setting(self, setting: Setting, view: str | None) -> Domain | None:
        if view is None:
            return _domain(setting)
        if view.startswith(EQUALS):
            known = view.removeprefix(EQUALS) in self.registry.settings
            return Domain.boolean() if known else None
        found = VIEWS.get(view)
        return Domain.finite(found.values, optional=found.optional) if found else None


def _domain(setting: Setting) -> Domain | None:
    if setting.type == "choice" and setting.allowed:
        return Domain.finite(setting.allowed, optional=True)
    if setting.type == "boolean":
        return Domain.boolean(optional=True)
    if setting.type in ("integer", "number", "duration", "size"):
        return Domain.number(integer=setting.type in ("integer", "size"), optional=True)
    return None if setting.type in ("list", "map") else Domain.text(optional=True)


@lru_cache(maxsize=8)
def load_rulebook(packs: tuple[str, ...] = ()) -> Rulebook:
    """Read the shipped rules and those of `packs`, absolute directories in the order given.

    Raises:
        RuleTableError: a file is not readable, a row is malformed or two rows collide.
    """
    texts = dict(shipped_files())
    for pack in packs:
        texts |= dict(pack_files(pack))
    return build_rulebook(texts)


def build_rulebook(texts: Mapping[str, str]) -> Rulebook:
    """Build the rules from file names and texts, the shipped ones first.

    Raises:
        RuleTableError: a row is malformed or two rows collide.
    """
    documents = {name: _document(name, text) for name, text in texts.items()}
    registry = read_registry(documents.values())
    tables = read_tables((name, text) for name, text in texts.items() if _holds_tables(documents[name]))
    ruleset = compile_tables(tables, SettingsCatalogue(registry))
    lifecycle = next((node for node in documents.values() if "transitions" in node.value), None)
    if lifecycle is None:
        raise RuleTableError(["no file holds the transitions of the lifecycle"])
    components = tuple(ComponentRow(**row.plain()) for row in _rows(documents.values(), "components"))
    drivers = {(row.component, row.driver): row for row in map(_driver, _rows(documents.values(), "drivers"))}
    digest = hashlib.sha256("\0".join(f"{name}\0{text}" for name, text in texts.items()).encode()).hexdigest()
    return Rulebook(registry, ruleset, components, drivers, lifecycle, texts, digest)


def _document(name: str, text: str) -> Node:
    try:
        node = read_document(text, name)
    except SyntaxProblem as error:
        raise RuleTableError([str(error)]) from error
    if not isinstance(node.value, dict):
        raise RuleTableError([f"{node.place}: a rule file is a mapping"])
    return node


def _holds_tables(node: Node) -> bool:
    return "tables" in node.value or "table" in node.value or "extends" in node.value


def _rows(documents: Iterable[Node], key: str) -> Iterator[Node]:
    for document in documents:
        node = document.value.get(key)
        if node is not None:
            yield from node.value


def _driver(row: Node) -> DriverRow:
    plain = row.plain()
    return DriverRow(
        id=plain["id"],
        component=plain["component"],
        driver=plain["driver"],
        factory=plain["factory"],
        needs=tuple(plain.get("needs") or ()),
        timeout=plain.get("timeout"),
        options=plain.get("options") or {},
        place=str(row.place),
    )


def shipped_files() -> Iterator[tuple[str, str]]:
    """Yield name and text of every shipped rule file, names relative to `rules/`, sorted."""
    yield from sorted(_walk(files("compozy.rules"), "rules/"))


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield f"{prefix}{entry.name}", entry.read_text(encoding="utf-8")


def pack_files(pack: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of every rule file in the directory `pack`, sorted.

    Raises:
        RuleTableError: the directory does not exist or a file in it is not text.
    """
    if not os.path.isdir(pack):
        raise RuleTableError([f"rule pack {pack} is not a directory"], hint="check rules: in compozy.yaml, or --rules")
    for folder, _, names in sorted(os.walk(pack)):
        for name in sorted(names):
            if name.endswith(".yaml"):
                yield from _pack_file(os.path.join(folder, name))


def _pack_file(path: str) -> Iterator[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8") as stream:
            yield path, stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise RuleTableError([f"{path}: cannot be read: {error}"]) from error


def pack_directories(rules: Sequence[str], directory: str) -> tuple[str, ...]:
    """Return the absolute directories of the packs that a configuration names."""
    return tuple(os.path.normpath(os.path.join(directory, rule)) for rule in rules)
