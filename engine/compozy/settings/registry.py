"""The registry: all settings, read from the rows of `settings.yaml` and of rule packs.

Environment names, flags, the cerberus schema, the JSON Schema and the reference pages derive from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from compozy.base.document import Node
from compozy.base.findings import Collector
from compozy.base.place import Place
from compozy.base.record import dataclass
from compozy.base.shapes import ANY, BOOLEAN, INTEGER, TEXT, Kind, ListOf, MapOf, Named, Shape, mays, needs, plain_shape
from compozy.base.suggest import closest, did_you_mean
from compozy.errors import RuleTableError
from compozy.settings.reference import anchored_reference
from compozy.settings.row_faults import fact_faults, setting_faults, word_faults
from compozy.settings.row_lists import TEXTS, listed_rows, put

CONTAINERS = ("list", "map")
_MAY_BE_EMPTIED = ("text", "url", "host")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; the fields are the columns of `settings.yaml`.

    `path` is the dotted name; inside a list's `items` it is the field's name. `authenticated_by` is the setting of
    the key that clients of a listener must send; a value of `header` travels in a header of HTTP or gRPC. `near` are
    unknown keys that suggest it; what is `unused` is declared for a later version. `usual` is the value that the
    tables decide where nothing is written. A text, or each text of a list, has at most `longest` characters.
    A list has elements with the fields `items`, or scalars of the type `of`; a map may have fields as well.
    A field that `refers` to a list is the name of an element of it; a number is less than the field that it is `below`;
    a field is `needed_for` elements with a `field=value`; a path that is `inside` stays below the configuration file.
    `parts` maps the names of an address's parts to the settings that state them too.
    """

    path: str
    type: str
    help: str
    place: Place
    default: Any = None
    usual: str | None = None
    values: tuple[str, ...] = ()
    meanings: Mapping[str, str] = field(default_factory=dict)
    also: Mapping[str, str] = field(default_factory=dict)
    checked: str = "values"
    env: str = ""
    flag: str | None = None
    secret: bool = False
    header: bool = False
    secret_parts: bool = False
    schemes: tuple[str, ...] = ()
    host_port: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)
    ordered: bool = False
    empty: str = ""
    authenticated_by: str | None = None
    unique: bool = False
    identifies: bool = False
    memory: bool = False
    minimum: int | None = None
    maximum: int | None = None
    longest: int | None = None
    same_as: str | None = None
    shares: bool = False
    splits: tuple[str, ...] = ()
    url: str | None = None
    aliases: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    unused: bool = False
    of: str = ""
    refers: str = ""
    below: str = ""
    needed_for: tuple[str, ...] = ()
    inside: bool = False
    items: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def allowed(self) -> tuple[str, ...]:
        """The values that a choice accepts; empty if the tables check it."""
        return () if self.checked == "rules" else self.values

    @property
    def element(self) -> Setting:
        """The setting of an element of a list of scalars, which has the type `of`."""
        return replace(self, type=self.of, of="", default=None, empty="value")

    @property
    def fields(self) -> Mapping[str, Setting]:
        """The fields of each element of a list or map; an element without fields has one without a name."""
        return self.items or ({"": self.element} if self.of else {})

    @property
    def key_field(self) -> str:
        """The field of a list that names its elements, which is the one with `unique: true`; empty without one."""
        return next((item.path for item in self.items.values() if item.unique), "")

    @property
    def shown_default(self) -> object:
        """The default as shown in help and schema."""
        return self.usual if self.default is None else self.default

    @property
    def lines(self) -> tuple[str, ...]:
        """The help, and one line for each value that has a meaning of its own."""
        return (self.help, *(f"{value}: {meaning}" for value, meaning in self.meanings.items()))

    @property
    def ignores_empty(self) -> bool:
        """Return True if an empty text counts as not set, in every source."""
        return self.empty == "unset" or (not self.empty and self.type not in _MAY_BE_EMPTIED)

    def accepts(self, value: Any) -> bool:
        """Return True if a value of the setting's type, not None, is one of `allowed` and within its bounds."""
        listed = not self.allowed or value in self.allowed
        large = self.minimum is None or value >= self.minimum
        return listed and large and (self.maximum is None or value <= self.maximum)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something a table may ask about the machine, answered by one of `values`.

    `binary` is the name of a program that is found or missing. `probe` is a reference to a function of the project,
    which a command that only looks does not call: the fact is `unknown` there. One of the two is empty.
    """

    name: str
    values: tuple[str, ...]
    probe: str
    binary: str
    help: str
    place: Place


@dataclass(frozen=True, slots=True)
class Registry:
    """All settings and machine facts.

    `spelled` maps every accepted spelling of a path to the path itself; `groups` are the prefixes that
    hold further settings; `by_env` maps environment names to paths, `near` unknown keys to the paths they suggest.
    """

    settings: Mapping[str, Setting]
    facts: Mapping[str, Fact]
    spelled: Mapping[str, str]
    groups: frozenset[str]
    by_env: Mapping[str, str]
    near: Mapping[str, str]

    def suggest(self, key: str) -> str | None:
        """Return the setting or group that an unknown key probably means, or None."""
        return self.near.get(key.casefold()) or closest(key, (*self.spelled, *self.groups))


def environment_name(path: str) -> str:
    """Return the variable that sets `path` when its row names none.

    >>> environment_name("redis.standalone.engine")
    'COMPOZY_REDIS__STANDALONE__ENGINE'
    """
    return "COMPOZY_" + path.upper().replace(".", "__")


def read_registry(documents: Iterable[Node], faults: Collector | None = None) -> Registry:
    """Read the rows of all `documents`, the shipped one first; with `faults`, add findings to it and do not raise.

    Raises:
        RuleTableError: a row is malformed, or two rows have the same path, name or flag.
    """
    reader = _RowReader(Collector() if faults is None else faults)
    for document in documents:
        reader.read(document)
    registry = reader.registry()
    if faults is None:
        reader.faults.raise_if_any(RuleTableError)
    return registry


_WORDS = MapOf(TEXT, "a mapping of texts")
_FIELDS = ListOf(Named("field", lambda: _FIELD), "a list of mappings")
_KINDS: tuple[tuple[Kind, str], ...] = (
    (ANY, "default"),
    (TEXT, "usual checked env flag authenticated_by same_as url empty of refers below"),
    (BOOLEAN, "secret header secret_parts ordered host_port unique identifies memory shares unused inside"),
    (INTEGER, "minimum maximum longest"),
    (TEXTS, "values schemes splits aliases near needed_for"),
    (_WORDS, "meanings also parts"),
    (_FIELDS, "items"),
)
_COLUMNS = {
    **needs(TEXT, "path", "type", "help"),
    **{name: key for kind, names in _KINDS for name, key in mays(kind, *names.split()).items()},
}
_SETTING = plain_shape("a setting", {**_COLUMNS, **mays(TEXT, "replaces")}, placed=True)
_FIELD: Shape[dict[str, object]] = plain_shape("a field", _COLUMNS, placed=True)
_EXTENSION = plain_shape(
    "a row that extends a setting",
    {
        **needs(TEXT, "extends"),
        **mays(TEXTS, "values", "without", "aliases"),
        **mays(_WORDS, "also"),
        **mays(_FIELDS, "items"),
    },
)
_FACT = plain_shape(
    "a machine fact",
    {**needs(TEXT, "fact", "help"), **needs(TEXTS, "values"), **mays(TEXT, "binary", "probe", "replaces")},
)


class _RowReader:
    def __init__(self, faults: Collector) -> None:
        self.faults = faults
        self.settings: dict[str, Setting] = {}
        self.groups: dict[str, str] = {}
        self.facts: dict[str, Fact] = {}

    def read(self, document: Node) -> None:
        for row in listed_rows(document, "settings", self.faults):
            if "extends" in row.value:
                self.extend(row)
            else:
                self.add(row)
        for row in listed_rows(document, "machine", self.faults):
            self.fact(row)
        aliases = document.value.get("aliases")
        if aliases is not None:
            self.group_aliases(aliases)

    def group_aliases(self, node: Node) -> None:
        if not self.faults.require(
            isinstance(node.value, dict), "malformed", "`aliases` must be a mapping", node.place
        ):
            return
        for alias, target in node.value.items():
            place = (node.keys or {})[alias]
            if not isinstance(target.value, str) or self.groups.get(alias, target.value) != target.value:
                self.faults.add("malformed", f"alias {alias} must name one group of settings", place)
            else:
                self.groups[alias] = target.value

    def fact(self, row: Node) -> None:
        plain = _FACT.decode(row, self.faults)
        if plain is None:
            return
        fact = Fact(
            plain["fact"],
            plain["values"],
            anchored_reference(plain.get("probe") or "", row.place.file),
            plain.get("binary") or "",
            plain["help"],
            row.place,
        )
        for fault in fact_faults(fact):
            self.faults.add("malformed", f"machine fact {fact.name}: {fault}", row.place)
        put(self.facts, fact.name, fact, plain.get("replaces"), "machine fact", self.faults)

    def add(self, row: Node) -> None:
        plain = _SETTING.decode(row, self.faults)
        if plain is None:
            return
        replaced = plain.pop("replaces", None)
        setting = self.built(plain)
        if setting is not None:
            self.require_protection(setting, self.settings.get(replaced or ""))
            put(self.settings, setting.path, setting, replaced, "setting", self.faults)

    def require_protection(self, setting: Setting, replaced: Setting | None) -> None:
        """Refuse a row that takes the protection of a secret or of a listener away from the row that it replaces."""
        if replaced is None:
            return
        for column in ("secret", "secret_parts"):
            kept = setting.secret or getattr(setting, column) or not getattr(replaced, column)
            message = f"setting {setting.path} replaces {replaced.path} and must keep its `{column}: true`"
            self.faults.require(kept, "malformed", message, setting.place, replaced.place)
        kept = replaced.type != "listen_address" or setting.type == "listen_address"
        message = f"setting {setting.path} replaces {replaced.path} and must keep its type listen_address"
        self.faults.require(kept, "malformed", message, setting.place, replaced.place)
        for name in replaced.items.keys() & setting.items.keys():
            self.require_protection(setting.items[name], replaced.items[name])

    def extend(self, row: Node) -> None:
        plain = _EXTENSION.decode(row, self.faults)
        if plain is None:
            return
        setting = self.settings.get(plain["extends"])
        if setting is None:
            hint = did_you_mean(plain["extends"], self.settings)
            self.faults.add(
                "unknown-row",
                f"extends the setting {plain['extends']}, which does not exist{hint}",
                row.place,
            )
            return
        values, fields = plain.get("values", ()), self.fields(plain)
        doubled = sorted({*setting.values} & {*values} | {*setting.items} & {*fields})
        if doubled:
            self.faults.add(
                "collision",
                f"setting {setting.path} has {', '.join(doubled)} already",
                row.place,
                setting.place,
            )
        if values and not setting.values:
            self.faults.add("malformed", f"setting {setting.path} has no list of values to add to", row.place)
        also = plain.get("also", {})
        self.words(row, setting, values, also)
        without = self.without(row, setting, plain.get("without", ()))
        self.settings[setting.path] = replace(
            setting,
            values=tuple(value for value in setting.values if value not in without) + values,
            also={word: value for word, value in {**setting.also, **also}.items() if value not in without},
            aliases=setting.aliases + plain.get("aliases", ()),
            items={**setting.items, **fields},
        )

    def without(self, row: Node, setting: Setting, values: Sequence[str]) -> frozenset[str]:
        """Return the values that a row takes from a choice; one that is not there, or the default, is noted."""
        for value in values:
            message = f"setting {setting.path} has no value {value} to take away{did_you_mean(value, setting.values)}"
            self.faults.require(value in setting.values, "unknown-row", message, row.place)
            message = f"setting {setting.path} has the default {value}, which cannot be taken away; replace its row"
            self.faults.require(value != setting.default, "bad-default", message, row.place, setting.place)
        return frozenset(values)

    def words(self, row: Node, setting: Setting, values: tuple[str, ...], also: Mapping[str, str]) -> None:
        """Note what is wrong with the words that a row adds to a choice."""
        taken = sorted({*also} & {*setting.values, *setting.also} | {*values} & {*setting.also})
        if taken:
            message = (
                f"setting {setting.path} gives {', '.join(taken)} a meaning already; to change it, replace its row"
            )
            self.faults.add("collision", message, row.place, setting.place)
        for fault in word_faults((*setting.values, *values), also, values):
            self.faults.add("malformed", f"setting {setting.path}: {fault}", row.place)

    def fields(self, plain: Mapping[str, Any]) -> dict[str, Setting]:
        found = dict[str, Setting]()
        for item in plain.get("items", ()):
            setting = self.built(item)
            if setting is not None:
                twice = f"field {setting.path} is listed twice"
                self.faults.require(setting.path not in found, "collision", twice, setting.place)
                found[setting.path] = setting
        return found

    def built(self, plain: dict[str, Any]) -> Setting | None:
        faults = list(setting_faults(plain))
        for fault in faults:
            self.faults.add("malformed", f"setting {plain['path']}: {fault}", plain["place"])
        env = plain.get("env") or environment_name(plain["path"])
        items = self.fields(plain)
        return None if faults else Setting(**{**plain, "env": env, "items": items})

    def registry(self) -> Registry:
        spelled = self.spellings()
        groups = frozenset(name[:at] for name in spelled for at, char in enumerate(name) if char == ".")
        for name in sorted(groups & set(spelled)):
            inner = next(other for other in spelled if other.startswith(f"{name}."))
            places = self.settings[spelled[name]].place, self.settings[spelled[inner]].place
            self.faults.add("collision", f"{name} is a setting and a group of settings, because of {inner}", *places)
        by_env = self.unique("variable", {path: (item.env,) for path, item in self.settings.items()})
        self.unique("flag", {path: (item.flag,) for path, item in self.settings.items() if item.flag})
        near = self.unique("near key", {path: item.near for path, item in self.settings.items()})
        return Registry(self.settings, self.facts, spelled, groups, by_env, near)

    def spellings(self) -> dict[str, str]:
        spelled = self.unique("spelling", {path: (path, *item.aliases) for path, item in self.settings.items()})
        for alias, target in self.groups.items():
            for name in [name for name in spelled if name.startswith(target + ".")]:
                spelled.setdefault(alias + name[len(target) :], spelled[name])
        return spelled

    def unique(self, what: str, names: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
        """Return name -> path; a name that two settings claim is noted with both places."""
        found: dict[str, str] = {}
        for path, claimed in names.items():
            for name in claimed:
                first = found.setdefault(name, path)
                if first != path:
                    places = self.settings[path].place, self.settings[first].place
                    self.faults.add("collision", f"{what} {name} of setting {path} belongs to {first} already", *places)
        return found
