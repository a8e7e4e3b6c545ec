"""The registry: what may be set, read from the rows of `settings.yaml` and of rule packs.

What comes in: documents with `settings`, `aliases` and `machine`. What goes out: a frozen `Registry`
from which environment names, flags, the cerberus schema, the JSON Schema and the docs derive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from compozy.document import Node, Place
from compozy.errors import RuleTableError

TYPES = ("text", "choice", "integer", "number", "boolean", "duration", "size", "path", "url", "list", "map")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; the fields are the columns of `settings.yaml`.

    `path` is the dotted name; inside a list's `items` it is the field's name.
    """

    path: str
    type: str
    help: str
    place: Place
    default: Any = None
    values: tuple[str, ...] = ()
    also: Mapping[str, str] = field(default_factory=dict)
    checked: str = "values"
    env: str = ""
    flag: str | None = None
    secret: bool = False
    secret_parts: bool = False
    memory: bool = False
    minimum: int | None = None
    same_as: str | None = None
    splits: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    items: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def allowed(self) -> tuple[str, ...]:
        """What a choice accepts; empty when the tables check it."""
        return () if self.checked == "rules" else self.values


@dataclass(frozen=True, slots=True)
class Fact:
    """Something a table may ask about the machine; `probe` is `module:function` and returns one of `values`."""

    name: str
    values: tuple[str, ...]
    probe: str
    help: str


@dataclass(frozen=True, slots=True)
class Registry:
    """All settings and machine facts.

    `spelled` maps every accepted spelling of a path to the path itself; `groups` are the prefixes that
    hold further settings; `by_env` maps environment names to paths.
    """

    settings: Mapping[str, Setting]
    facts: Mapping[str, Fact]
    spelled: Mapping[str, str]
    groups: frozenset[str]
    by_env: Mapping[str, str]

    def known_keys(self) -> Iterator[str]:
        """Yield every spelling and every group, for suggestions."""
        yield from self.spelled
        yield from self.groups


def environment_name(path: str) -> str:
    """Return the variable that sets `path` when its row names none.

    >>> environment_name("redis.standalone.engine")
    'COMPOZY_REDIS__STANDALONE__ENGINE'
    """
    return "COMPOZY_" + path.upper().replace(".", "__")


def read_registry(documents: Iterable[Node]) -> Registry:
    """Read the rows of all `documents`, the shipped one first.

    Raises:
        RuleTableError: a row is malformed, or two rows have the same path, name or flag.
    """
    reader = _Reader()
    for document in documents:
        reader.read(document)
    if reader.problems:
        raise RuleTableError(reader.problems)
    return reader.registry()


class _Reader:
    FIELDS = frozenset(Setting.__dataclass_fields__) - {"place"}

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.settings: dict[str, Setting] = {}
        self.groups: dict[str, str] = {}
        self.facts: dict[str, Fact] = {}

    def read(self, document: Node) -> None:
        for row in _items(document, "settings"):
            setting = self.setting(row)
            if setting is not None:
                self.add(setting)
        aliases = document.value.get("aliases")
        if aliases is not None:
            self.groups |= aliases.plain()
        for row in _items(document, "machine"):
            self.fact(row)

    def fact(self, row: Node) -> None:
        plain = row.plain()
        missing = {"fact", "values", "probe", "help"} - set(plain)
        if missing:
            self.problems.append(f"{row.place}: machine fact without {', '.join(sorted(missing))}")
        else:
            values = tuple(plain["values"])
            self.facts[plain["fact"]] = Fact(plain["fact"], values, plain["probe"], plain["help"])

    def setting(self, row: Node) -> Setting | None:
        plain = dict(row.plain())
        unknown = set(plain) - self.FIELDS
        missing = {"path", "type", "help"} - set(plain)
        faults = [f"unknown column {name}" for name in sorted(unknown)] + [f"no {name}" for name in sorted(missing)]
        if not missing and plain["type"] not in TYPES:
            faults.append(f"unknown type {plain['type']}; known: {', '.join(TYPES)}")
        self.problems += [f"{row.place}: setting row: {fault}" for fault in faults]
        return None if faults else self.built(plain, row)

    def built(self, plain: dict[str, Any], row: Node) -> Setting:
        for name in ("values", "splits", "aliases"):
            plain[name] = tuple(plain.get(name) or ())
        fields = [self.setting(item) for item in row.value["items"].value] if "items" in row.value else []
        plain["items"] = {item.path: item for item in fields if item is not None}
        plain["env"] = plain.get("env") or environment_name(plain["path"])
        return Setting(place=row.place, **plain)

    def add(self, setting: Setting) -> None:
        for other in self.settings.values():
            if setting.path == other.path or setting.env == other.env or (setting.flag and setting.flag == other.flag):
                self.problems.append(f"{setting.place}: setting {setting.path} collides with {other.path} at {other.place}")
        self.settings[setting.path] = setting

    def registry(self) -> Registry:
        spelled: dict[str, str] = {}
        for path, setting in self.settings.items():
            for name in (path, *setting.aliases):
                spelled[name] = path
                for alias, target in self.groups.items():
                    if name.startswith(target + "."):
                        spelled[alias + name[len(target) :]] = path
        groups = frozenset(name[:at] for name in spelled for at, char in enumerate(name) if char == ".")
        by_env = {setting.env: path for path, setting in self.settings.items()}
        return Registry(self.settings, self.facts, spelled, groups, by_env)


def _items(document: Node, key: str) -> list[Node]:
    node = document.value.get(key)
    return node.value if node is not None and isinstance(node.value, list) else []
