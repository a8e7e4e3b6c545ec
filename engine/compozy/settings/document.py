"""Take a configuration file apart: one entry for every setting it names, one problem for everything else.

What comes in: the nodes of a document and the registry. What goes out: candidates by setting path, with the
place of each, and problems. Nothing here decides which source wins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from compozy.document import Node, Place
from compozy.settings.interpolate import UnsetVariable, expand
from compozy.settings.origin import Candidate, Origin, Problem
from compozy.settings.registry import Registry, Setting
from compozy.settings.suggest import closest
from compozy.settings.values import from_text, from_yaml


@dataclass(slots=True)
class Contents:
    """What one source holds: `entries` by path, in the order written, and `problems`."""

    entries: dict[str, Candidate] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    keys: dict[str, Place] = field(default_factory=dict)


class DocumentReader:
    """Reads one document; `lookup` gives the variables that may be expanded, `directory` anchors paths."""

    def __init__(self, registry: Registry, lookup: Callable[[str], str | None], directory: str) -> None:
        self.registry = registry
        self.lookup = lookup
        self.directory = directory
        self.contents = Contents()
        self.variables: tuple[str, ...] = ()

    def read(self, root: Node) -> Contents:
        """Return what the document holds; every fault in it is a problem, none raises."""
        if isinstance(root.value, dict):
            self.group(root, "")
        elif root.value is not None:
            self.problem("type", "", root.place, expected="a mapping of settings", value=_shown(root))
        return self.contents

    def group(self, node: Node, prefix: str) -> None:
        keys = node.keys or {}
        for key, child in node.value.items():
            if key.startswith("x-"):
                continue
            spelled = prefix + key
            path = self.registry.spelled.get(spelled)
            if path is not None:
                self.leaf(spelled, self.registry.settings[path], child, keys[key])
            elif spelled not in self.registry.groups:
                self.unknown(spelled, keys[key])
            elif isinstance(child.value, dict):
                self.group(child, spelled + ".")
            elif child.value is not None:
                self.problem("type", spelled, child.place, expected="a group of settings", value=_shown(child))

    def unknown(self, spelled: str, place: Place) -> None:
        suggestion = closest(spelled, self.registry.known_keys())
        self.problem("unknown-key", spelled, place, suggestion=suggestion or "")

    def leaf(self, spelled: str, setting: Setting, node: Node, key_place: Place) -> None:
        if node.value is None and not node.quoted:
            return
        self.variables = ()
        parts: dict[str, Origin] = {}
        if setting.type in ("list", "map"):
            value = self.container(spelled, setting, node, parts)
        else:
            value = self.scalar(spelled, setting, node)
        if value is not None:
            self.keys(spelled, key_place)
            self.entry(spelled, setting, Candidate(value, self.origin(node.place), parts))

    def keys(self, spelled: str, place: Place) -> None:
        self.contents.keys[spelled] = place

    def entry(self, spelled: str, setting: Setting, candidate: Candidate) -> None:
        if setting.splits:
            self.split(spelled, setting, candidate)
            return
        before = self.contents.entries.get(setting.path)
        if before is not None and before.value != candidate.value:
            place = candidate.origin.place
            other = str(before.origin.place)
            self.problem("two-spellings", spelled, place, path=setting.path, other=other)
        self.contents.entries[setting.path] = candidate

    def split(self, spelled: str, setting: Setting, candidate: Candidate) -> None:
        self.contents.entries[setting.path] = candidate
        for path, text in zip(setting.splits, split_address(candidate.value), strict=True):
            target = self.registry.settings[path]
            if text is None:
                continue
            try:
                value = from_text(target, text, self.directory)
            except ValueError as error:
                self.problem("type", spelled, candidate.origin.place, expected=str(error), value=text)
            else:
                self.entry(spelled, target, Candidate(value, candidate.origin))

    def scalar(self, spelled: str, setting: Setting, node: Node) -> Any:
        """Return the value of a scalar node, or None after a problem was noted."""
        try:
            expanded = self.expanded(spelled, node)
            if expanded is not None:
                return from_text(setting, expanded, self.directory)
            return from_yaml(setting, node.value, node.text, self.directory)
        except ValueError as error:
            shown = "" if setting.secret else _shown(node)
            self.problem("type", spelled, node.place, expected=str(error), value=shown)
        except UnsetVariable as error:
            self.problem("unset-variable", spelled, node.place, variable=error.name, message=error.message)
        return None

    def expanded(self, spelled: str, node: Node) -> str | None:
        if not isinstance(node.value, str) or "$" not in node.value:
            return None
        expansion = expand(node.value, self.lookup)
        self.variables += expansion.variables
        return expansion.text

    def container(self, spelled: str, setting: Setting, node: Node, parts: dict[str, Origin]) -> Any:
        wanted = list if setting.type == "list" else dict
        if not isinstance(node.value, wanted):
            self.problem("type", spelled, node.place, expected=f"expected a {setting.type}", value=_shown(node))
            return None
        if not setting.items or setting.type == "map":
            return self.free(spelled, node, parts)
        return [self.element(f"{spelled}[{at}]", setting, item, parts) for at, item in enumerate(node.value)]

    def free(self, spelled: str, node: Node, parts: dict[str, Origin]) -> Any:
        """Return a value whose shape the registry leaves open, with its texts expanded."""
        parts[spelled] = self.origin(node.place)
        if isinstance(node.value, dict):
            return {key: self.free(f"{spelled}.{key}", item, parts) for key, item in node.value.items()}
        if isinstance(node.value, list):
            return [self.free(f"{spelled}[{at}]", item, parts) for at, item in enumerate(node.value)]
        try:
            expanded = self.expanded(spelled, node)
        except UnsetVariable as error:
            self.problem("unset-variable", spelled, node.place, variable=error.name, message=error.message)
            return None
        except ValueError as error:
            self.problem("type", spelled, node.place, expected=str(error), value=_shown(node))
            return None
        return node.value if expanded is None else expanded

    def element(self, spelled: str, setting: Setting, node: Node, parts: dict[str, Origin]) -> Any:
        parts[spelled] = self.origin(node.place)
        if not isinstance(node.value, dict):
            self.problem("type", spelled, node.place, expected="expected a mapping", value=_shown(node))
            return {}
        names = {name: item.path for item in setting.items.values() for name in (item.path, *item.aliases)}
        fields: dict[str, Any] = {}
        self.fields(spelled, "", setting, node, names, fields, parts)
        return fields

    def fields(
        self, spelled: str, prefix: str, setting: Setting, node: Node,
        names: dict[str, str], fields: dict[str, Any], parts: dict[str, Origin],
    ) -> None:  # fmt: skip
        for key, child in node.value.items():
            name, where = prefix + key, f"{spelled}.{prefix}{key}"
            known = names.get(name)
            if key.startswith("x-"):
                continue
            if known is not None:
                self.field(where, f"{spelled}.{known}", setting.items[known], child, fields, parts)
            elif isinstance(child.value, dict) and any(other.startswith(name + ".") for other in names):
                self.fields(spelled, name + ".", setting, child, names, fields, parts)
            else:
                suggestion = closest(name, names)
                self.problem("unknown-key", where, (node.keys or {})[key], suggestion=suggestion or "")

    def field(
        self, spelled: str, path: str, item: Setting, node: Node, fields: dict[str, Any], parts: dict[str, Origin]
    ) -> None:
        if node.value is None and not node.quoted:
            return
        if isinstance(node.value, (dict, list)):
            self.problem("type", spelled, node.place, expected=f"expected a {item.type}", value=_shown(node))
            return
        value = self.scalar(spelled, item, node)
        if value is None:
            return
        if fields.get(item.path, value) != value:
            other = str(parts[path].place)
            self.problem("two-spellings", spelled, node.place, path=path, other=other)
        fields[item.path] = value
        parts[path] = self.origin(node.place)

    def origin(self, place: Place) -> Origin:
        return Origin("file", place, variables=self.variables)

    def problem(self, kind: str, key: str, place: Place | None, **facts: str) -> None:
        self.contents.problems.append(Problem(kind, key, Origin("file", place), facts))


def split_address(text: str) -> tuple[str | None, str | None]:
    """Return host and port of `host:port`; a part that is not there is None, an empty text is an empty host.

    >>> [split_address(text) for text in ("db:6380", "db", "[::1]:6379", "")]
    [('db', '6380'), ('db', None), ('::1', '6379'), ('', None)]
    """
    host, bracket, rest = text.rpartition("]")
    if bracket:
        return host.removeprefix("["), rest.removeprefix(":") or None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, (port or None) if colon else None


def _shown(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a mapping"
    return "a list" if isinstance(node.value, list) else f'"{node.text}"'
