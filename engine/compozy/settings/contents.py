"""Read the entries of a configuration file: one candidate for each setting, one problem for everything else.

Precedence between sources is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field

from compozy.base.document import Node, resolve_scalar
from compozy.base.place import Origin, Place
from compozy.base.record import dataclass
from compozy.base.suggest import closest
from compozy.settings.interpolate import UnsetVariable, expand
from compozy.settings.mask import found_masked, without_secrets
from compozy.settings.origin import Candidate, Problem
from compozy.settings.registry import CONTAINERS, Registry, Setting
from compozy.settings.values import from_text, from_yaml, is_unset


@dataclass(slots=True)
class Contents:
    """The content of one source: `entries` by path, in the order written, how each is `spelled`, and `problems`."""

    entries: dict[str, Candidate] = field(default_factory=dict)
    spelled: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


_SUGGESTED = 100
_BARE_VARIABLE = re.compile(r"(?<!\$)\$[A-Za-z_]\w*")
Lookup = Callable[[str], str | None]


class DocumentReader:
    """Reads one document; `directory` anchors paths.

    `lookup` gives the variables that may be expanded; without it `$` is a character like others.
    """

    def __init__(self, registry: Registry, lookup: Lookup | None, directory: str) -> None:
        self.registry = registry
        self.lookup = lookup
        self.directory = directory
        self.contents = Contents()
        self.variables: tuple[str, ...] = ()

    def read(self, root: Node) -> Contents:
        """Return what the document holds; every fault in it is a problem, none raises."""
        if isinstance(root.value, dict):
            self._group(root, "")
        elif root.value is not None:
            fix = "write name: value, such as mode: memory"
            self._problem("syntax", "", root.place, reason=f"a configuration is a mapping; {_found(root)}", fix=fix)
        return self.contents

    def _group(self, node: Node, prefix: str) -> None:
        keys = node.keys or {}
        for key, child in node.value.items():
            if key.startswith("x-"):
                continue
            spelled = prefix + key
            # A key with a dot would otherwise count as the path of a nested setting.
            path = self.registry.spelled.get(spelled) if "." not in key else None
            if path is not None:
                self.leaf(spelled, self.registry.settings[path], child)
            elif spelled not in self.registry.groups or "." in key:
                self._unknown(spelled, keys[key])
            elif isinstance(child.value, dict):
                self._group(child, spelled + ".")
            elif child.value is not None:
                self._problem(
                    "type", spelled, child.place, expected="expected a group of settings", found=_found(child)
                )

    def _unknown(self, spelled: str, place: Place) -> None:
        if spelled.endswith(".") or not spelled:
            self._empty_key(spelled, place)
            return
        # A key with dots in it, which is the path of a setting.
        if spelled in self.registry.spelled:
            suggestion = ": {".join(spelled.split(".")) + ": ..." + "}" * spelled.count(".")
        else:
            suggestion = self._meant(spelled, self.registry.suggest)
        self._problem("unknown-key", without_secrets(spelled), place, suggestion=suggestion)

    def _empty_key(self, spelled: str, place: Place) -> None:
        group = f" below {without_secrets(spelled[:-1])}" if spelled else ""
        self._problem("syntax", "", place, reason=f"a key{group} is empty", fix="write a name before the colon")

    def _meant(self, word: str, suggest: Callable[[str], str | None]) -> str:
        """Return the suggestion for an unknown key; after `_SUGGESTED` problems none is computed."""
        return suggest(word) or "" if len(self.contents.problems) < _SUGGESTED else ""

    def leaf(self, spelled: str, setting: Setting, node: Node) -> None:
        """Read the value of one setting; null leaves it unset."""
        if node.value is None or self._is_unset(setting, node):
            return
        self.variables = ()
        parts: dict[str, Origin] = {}
        if setting.type in ("list", "map"):
            value = self._container(spelled, setting.path, setting, node, parts)
            self.variables = ()
        else:
            value = self._scalar(spelled, setting, node)
        if value is not None:
            self._entry(spelled, setting, Candidate(value, self._origin(node.place), parts))

    def _entry(self, spelled: str, setting: Setting, candidate: Candidate) -> None:
        if setting.splits:
            self._split(spelled, setting, candidate)
            return
        # Two spellings with one value are harmless; only a contradiction is reported, since neither of them takes
        # precedence.
        before = self.contents.entries.get(setting.path)
        if before is not None and before.value != candidate.value:
            place = candidate.origin.place
            first = self.contents.spelled[setting.path]
            self._problem("two-spellings", spelled, place, path=first, other=str(before.origin.place))
        self.contents.entries[setting.path] = candidate
        self.contents.spelled[setting.path] = spelled

    def _split(self, spelled: str, setting: Setting, candidate: Candidate) -> None:
        self.contents.entries[setting.path] = candidate
        for path, text in spread_address(setting, candidate.value):
            target = self.registry.settings[path]
            try:
                # The parts of an address are read as if each was written at its own setting, so that the same rules
                # hold.
                value = from_text(target, text, self.directory)
            except ValueError as error:
                self._problem("type", spelled, candidate.origin.place, expected=str(error), found=found_masked(text))
            else:
                self._entry(spelled, target, Candidate(value, candidate.origin))

    def _scalar(self, spelled: str, setting: Setting, node: Node) -> object:
        """Return the value of a scalar node, or None after a problem was noted."""
        try:
            expanded = self._expanded(node)
            bare = _BARE_VARIABLE.search(node.text) if setting.type == "path" and self.lookup else None
            if bare is not None:
                self._problem("not-expanded", spelled, node.place, reference=bare[0])
            if expanded is not None:
                return from_text(setting, expanded, self.directory)
            return from_yaml(setting, node.value, node.text, self.directory)
        except ValueError as error:
            found = "" if setting.secret else _found(node) + _unquoted(setting, node, self.directory)
            self._problem("type", spelled, node.place, expected=str(error), found=found)
        except UnsetVariable as error:
            self._problem("unset-variable", spelled, node.place, variable=error.name, message=error.message)
        return None

    def _is_unset(self, setting: Setting, node: Node) -> bool:
        """Return True if a node counts as null; a text that cannot be expanded is reported where it is read."""
        try:
            expanded = self._expanded(node)
        except (ValueError, UnsetVariable):
            return False
        return is_unset(setting, node.value if expanded is None else expanded)

    def _expanded(self, node: Node) -> str | None:
        if self.lookup is None or not isinstance(node.value, str) or "$" not in node.value:
            return None
        expansion = expand(node.value, self.lookup)
        self.variables += expansion.variables
        return expansion.text

    def _container(self, spelled: str, path: str, setting: Setting, node: Node, parts: dict[str, Origin]) -> object:
        """Return a list or a map; `path` is where the registry has it."""
        wanted = list if setting.type == "list" else dict
        if not isinstance(node.value, wanted):
            found = "" if setting.secret else _found(node)
            self._problem("type", spelled, node.place, expected=f"expected a {setting.type}", found=found)
            return None
        if setting.type == "map":
            read = self._element if setting.items else self._free_map
            return read(spelled, path, setting, node, parts)
        read = self._element if setting.items else self._text if setting.of else self._free_map
        values = [read(f"{spelled}[{at}]", f"{path}[{at}]", setting, item, parts) for at, item in enumerate(node.value)]
        # An element that cannot be read is a problem already; a list without it would be another value.
        return None if setting.of and None in values else values

    def _text(self, spelled: str, path: str, setting: Setting, node: Node, parts: dict[str, Origin]) -> object:
        """Return one element of a list of scalars."""
        self.variables = ()
        value = self._scalar(spelled, setting.element, node)
        parts[path] = self._origin(node.place)
        return value

    def _free_map(self, _: str, path: str, __: Setting, node: Node, parts: dict[str, Origin]) -> object:
        return self._free(path, node, parts)

    def _free(self, spelled: str, node: Node, parts: dict[str, Origin]) -> object:
        """Return a value whose shape the registry leaves open, with its texts expanded."""
        if isinstance(node.value, dict):
            return {key: self._free(f"{spelled}.{key}", item, parts) for key, item in node.value.items()}
        if isinstance(node.value, list):
            return [self._free(f"{spelled}[{at}]", item, parts) for at, item in enumerate(node.value)]
        self.variables = ()
        try:
            expanded = self._expanded(node)
        except UnsetVariable as error:
            self._problem("unset-variable", spelled, node.place, variable=error.name, message=error.message)
            return None
        except ValueError as error:
            self._problem("type", spelled, node.place, expected=str(error), found="")
            return None
        parts[spelled] = self._origin(node.place)
        return node.value if expanded is None else expanded

    def _element(self, spelled: str, path: str, setting: Setting, node: Node, parts: dict[str, Origin]) -> object:
        """Return the fields of one element of a list; `path` is where the registry has it."""
        parts[path] = self._origin(node.place)
        if not isinstance(node.value, dict):
            self._problem("type", spelled, node.place, expected="expected a mapping", found="")
            return {}
        element = _Element(spelled, path, setting.items, {}, parts, {})
        # An element with another fault may have lost its id through it; one report is enough.
        before = len(self.contents.problems)
        self._fields(element, "", node)
        wanted = [item.path for item in setting.items.values() if item.identifies]
        if wanted and not any(name in element.fields for name in wanted) and len(self.contents.problems) == before:
            self._problem("unidentified", spelled, node.place, fields=" or ".join(wanted))
        return element.fields

    def _fields(self, element: _Element, prefix: str, node: Node) -> None:
        names = element.names
        for key, child in node.value.items():
            name = prefix + key
            known = names.get(name) if "." not in key else None
            if key.startswith("x-"):
                continue
            if known is not None:
                self._field(f"{element.spelled}.{name}", element, element.items[known], child)
            elif isinstance(child.value, dict | None) and any(other.startswith(name + ".") for other in names):
                if child.value is not None:
                    self._fields(element, name + ".", child)
            elif not key:
                self._empty_key(f"{element.spelled}.{name}", (node.keys or {})[key])
            else:
                suggestion = self._meant(name, lambda word: closest(word, names))
                spelled = without_secrets(f"{element.spelled}.{name}")
                self._problem("unknown-key", spelled, (node.keys or {})[key], suggestion=suggestion)

    def _field(self, spelled: str, element: _Element, item: Setting, node: Node) -> None:
        if node.value is None or self._is_unset(item, node):
            return
        self.variables = ()
        path = f"{element.path}.{item.path}"
        if item.type in CONTAINERS:
            value = self._container(spelled, path, item, node, element.parts)
        elif isinstance(node.value, (dict, list)):
            self._problem("type", spelled, node.place, expected=f"expected a {item.type}", found=_found(node))
            return
        else:
            value = self._scalar(spelled, item, node)
        if value is None:
            return
        if element.fields.get(item.path, value) != value:
            other = str(element.parts[path].place)
            self._problem("two-spellings", spelled, node.place, path=element.written[item.path], other=other)
        element.written[item.path] = spelled
        element.fields[item.path] = value
        element.parts[path] = self._origin(node.place)

    def _origin(self, place: Place) -> Origin:
        return Origin("file", place, variables=self.variables)

    def _problem(self, kind: str, key: str, place: Place | None, **facts: str) -> None:
        self.contents.problems.append(Problem(kind, key, Origin("file", place), facts))


@dataclass(frozen=True, slots=True)
class _Element:
    """An element of a list while it is read: as it was spelled, where the registry has it, and its fields so far.

    `written` is how each of these was spelled.
    """

    spelled: str
    path: str
    items: Mapping[str, Setting]
    fields: dict[str, object]
    parts: dict[str, Origin]
    written: dict[str, str]

    @property
    def names(self) -> dict[str, str]:
        """Every spelling of a field -> the field."""
        return {name: item.path for item in self.items.values() for name in (item.path, *item.aliases)}


def spread_address(setting: Setting, text: str) -> Iterator[tuple[str, str]]:
    """Yield the settings that an address of `splits` sets, with the text of each."""
    if setting.url is not None and "://" in text:
        yield setting.url, text
        return
    for path, part in zip(setting.splits, split_address(text), strict=False):
        if part is not None:
            yield path, part


def split_address(text: str) -> tuple[str | None, str | None]:
    """Return host and port of `host:port`; a missing part is None, an empty text is an empty host.

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


def _unquoted(setting: Setting, node: Node, directory: str) -> str:
    """Return the advice to remove the quotes, if that makes the value valid."""
    if not node.quoted:
        return ""
    try:
        from_yaml(setting, resolve_scalar(node.text), node.text, directory)
    except ValueError:
        return ""
    return "; write it without quotes"


def _found(node: Node) -> str:
    if isinstance(node.value, dict):
        return "found a mapping"
    return "found a list" if isinstance(node.value, list) else found_masked(node.text)
