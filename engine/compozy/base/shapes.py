"""Shapes of mappings: which keys there are and of which kind; they check a node, decode it and give its JSON Schema.

A `Kind` decodes one value. `Shape`, `Variants`, `ListOf` and `MapOf` are kinds made of kinds; a reader with values of
its own adds a class with the same two methods.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from compozy.base.document import Node
from compozy.base.findings import Collector
from compozy.base.record import dataclass

Schema: TypeAlias = dict[str, object]
T = TypeVar("T")
FAULT: Final = "malformed"
_MISSING: object = object()


class Kind(Protocol):
    """A kind of value."""

    def decode(self, node: Node, found: Collector, path: str, what: str) -> object:
        """Return the value of a node; `path` leads to it, `what` names the record that holds it.

        What does not fit is noted in `found`; then the value that is returned has no meaning.
        """
        ...

    def schema(self) -> Schema:
        """Return the JSON Schema of the values."""
        ...


def fault(found: Collector, node: Node, path: str, what: str, reason: str) -> None:
    """Note that the value at `path` of `what` does not fit; `reason` begins with `must be` or with a colon."""
    named = f"`{path.rpartition('.')[2]}` of {what}" if path else what
    found.add(FAULT, f"{named}{'' if reason.startswith(':') else ' '}{reason}", node.place, key=path)


def check_keys(node: Node, known: Collection[str], what: str, found: Collector, path: str = "", free: str = "") -> None:
    """Note every key of a mapping that is not `known` and does not begin with `free`."""
    for name in node.value if node.keys is not None else ():
        if name not in known and not (free and name.startswith(free)):
            place = node.keys.get(name, node.place) if node.keys else node.place
            hint = found.suggestions.did_you_mean(name, known)
            found.add(FAULT, f'unknown key "{name}" in {what}{hint}', place, key=_join(path, name))


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Plain:
    """A kind without parts: `convert` returns the value of a node, or raises ValueError, with a reason or without."""

    words: str
    convert: Callable[[Node], object]
    of_schema: Mapping[str, object]

    def decode(self, node: Node, found: Collector, path: str, what: str) -> object:
        """Return what `convert` makes of the node."""
        try:
            return self.convert(node)
        except ValueError as error:
            fault(found, node, path, what, f": {error}" if str(error) else f"must be {self.words}")
            return None

    def schema(self) -> Schema:
        """Return the schema that was given."""
        return dict(self.of_schema)


def fitting(words: str, fits: Callable[[Any], bool], schema: Mapping[str, object]) -> Plain:
    """Return the kind of the plain values that satisfy `fits`; `words` name it after "must be"."""

    def convert(node: Node) -> object:
        if not fits(node.value):
            raise ValueError
        return node.plain()

    return Plain(words, convert, schema)


def integer(low: int, high: int) -> Plain:
    """Return the kind of the whole numbers from `low` to `high`."""
    schema = {"type": "integer", "minimum": low, "maximum": high}
    return fitting(f"a whole number from {low} to {high}", lambda v: type(v) is int and low <= v <= high, schema)


def number(low: float, high: float) -> Plain:
    """Return the kind of the numbers from `low` to `high`."""
    schema = {"type": "number", "minimum": low, "maximum": high}
    return fitting(f"a number from {low:g} to {high:g}", lambda v: type(v) in (int, float) and low <= v <= high, schema)


def matching(words: str, pattern: str, most: int | None = None) -> Plain:
    """Return the kind of the texts that match a regular expression as a whole and have at most `most` characters."""
    form = re.compile(pattern)
    schema = {"type": "string", "pattern": f"^(?:{pattern})$", **({"maxLength": most} if most else {})}
    return fitting(
        words, lambda v: isinstance(v, str) and (most is None or len(v) <= most) and bool(form.fullmatch(v)), schema
    )


TEXT = fitting("text", lambda value: isinstance(value, str) and value != "", {"type": "string", "minLength": 1})
STRING = fitting("text", lambda value: isinstance(value, str), {"type": "string"})
BOOLEAN = fitting("true or false", lambda value: isinstance(value, bool), {"type": "boolean"})
INTEGER = fitting("a whole number", lambda value: type(value) is int, {"type": "integer"})
MAPPING = fitting("a mapping", lambda value: isinstance(value, dict), {"type": "object"})
ANY = Plain("anything", Node.plain, {})
NODE = Plain("anything", lambda node: node, {})


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Choice:
    """One of a few texts."""

    values: tuple[str, ...]

    def decode(self, node: Node, found: Collector, path: str, what: str) -> object:
        """Return the text."""
        if isinstance(node.value, str) and node.value in self.values:
            return node.value
        meant = found.suggestions.closest(node.value, self.values) if isinstance(node.value, str) else None
        hint = f'; did you mean "{meant}"?' if meant else ""
        fault(found, node, path, what, f"must be {' or '.join(self.values)}{hint}")
        return None

    def schema(self) -> Schema:
        """Return an enumeration."""
        return {"enum": list(self.values)}


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ListOf:
    """A list with at least `least` items of one kind; decoded as a tuple."""

    kind: Kind
    words: str
    least: int = 0

    def decode(self, node: Node, found: Collector, path: str, what: str) -> object:
        """Return the items."""
        if not isinstance(node.value, list) or len(node.value) < self.least:
            fault(found, node, path, what, f"must be {self.words}")
            return ()
        return tuple(self.kind.decode(item, found, f"{path}[{at}]", what) for at, item in enumerate(node.value))

    def schema(self) -> Schema:
        """Return the schema of an array."""
        return {"type": "array", "items": self.kind.schema(), **({"minItems": self.least} if self.least else {})}


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class MapOf:
    """A mapping of free names to values of one kind; decoded as a dict."""

    kind: Kind
    words: str
    names: str = ""  # a regular expression; empty: every name

    def decode(self, node: Node, found: Collector, path: str, what: str) -> object:
        """Return the values by name."""
        if not isinstance(node.value, dict):
            fault(found, node, path, what, f"must be {self.words}")
            return {}
        for name in node.value if self.names else ():
            message = f'the name "{name}" in `{path.rpartition(".")[2]}` of {what} must match {self.names}'
            place = (node.keys or {}).get(name, node.place)
            found.require(re.fullmatch(self.names, name), FAULT, message, place, key=f"{path}.{name}")
        return {name: self.kind.decode(item, found, f"{path}.{name}", what) for name, item in node.value.items()}

    def schema(self) -> Schema:
        """Return the schema of an object with any names, or with those that match."""
        names = {"propertyNames": {"pattern": f"^(?:{self.names})$"}} if self.names else {}
        return {"type": "object", "additionalProperties": self.kind.schema(), **names}


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Key:
    """A key of a mapping: the kind of its value, the argument of `make` that takes it, its default, its description.

    A key without a default that is absent is left out of the arguments. `null` is True where a null is a value also in
    a shape whose nulls are absent keys.
    """

    kind: Kind
    required: bool = False
    default: object = _MISSING
    about: str = ""
    field: str = ""
    null: bool = False


def need(kind: Kind, about: str = "", *, field: str = "", null: bool = False) -> Key:
    """Return a key that must be there."""
    return Key(kind, True, about=about, field=field, null=null)


def may(kind: Kind, about: str = "", *, default: object = _MISSING, field: str = "", null: bool = False) -> Key:
    """Return a key that may be absent."""
    return Key(kind, False, default, about, field, null)


def needs(kind: Kind, *names: str) -> dict[str, Key]:
    """Return keys of one kind that must be there."""
    return {name: Key(kind, True) for name in names}


def mays(kind: Kind, *names: str) -> dict[str, Key]:
    """Return keys of one kind that may be absent."""
    return {name: Key(kind) for name in names}


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Shape(Generic[T]):
    """A mapping with known keys; `make` is called with the decoded values by name and returns the record.

    `what` names the record in messages, with its article. Keys that start with `free` are skipped; with `null_unset`
    a null is the same as an absent key; with `placed` the record gets its place as the argument `place`; `aliases` maps
    other names to keys. `make` may raise ValueError for values that do not fit each other.
    """

    what: str
    keys: Mapping[str, Key]
    make: Callable[..., T]
    about: str = ""
    free: str = ""
    null_unset: bool = False
    placed: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    _defaults: Mapping[str, object] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Collect the defaults once."""
        named = {key.field or name: key.default for name, key in self.keys.items()}
        given = {name: default for name, default in named.items() if default is not _MISSING}
        object.__setattr__(self, "_defaults", given)

    def decode(self, node: Node, found: Collector, path: str = "", what: str = "") -> T | None:
        """Return the record of a mapping; None after a fault was noted."""
        if not isinstance(node.value, dict):
            fault(found, node, path, what or self.what, "must be a mapping")
            return None
        before = len(found)
        node = self._spelled(node, found, path) if self.aliases else node
        values = {**self._defaults, **self._members(node, found, path)}
        for name, key in self.keys.items():
            if key.required and self._is_absent(node, name):
                found.add(FAULT, f"{self.what} needs `{name}`", node.place, key=_join(path, name))
        return self._made(node, found, path, values) if len(found) == before else None

    def _spelled(self, node: Node, found: Collector, path: str) -> Node:
        """Return a node with the keys that aliases stand for; a key that is written twice is a fault."""
        for alias, name in self.aliases.items():
            if alias in node.value and name in node.value:
                reason = f"{self.what} has `{alias}`, which is `{name}`, and `{name}` too"
                found.add(FAULT, reason, node.value[alias].place, key=_join(path, alias))
        value = {self.aliases.get(key, key): item for key, item in node.value.items()}
        keys = node.keys and {self.aliases.get(key, key): place for key, place in node.keys.items()}
        return Node(value, node.place, keys)

    def _members(self, node: Node, found: Collector, path: str) -> dict[str, object]:
        check_keys(node, self.keys, self.what, found, path, self.free)
        values: dict[str, object] = {}
        for name, given in node.value.items():
            key = self.keys.get(name)
            if key is not None and (given.value is not None or key.null or not self.null_unset):
                values[key.field or name] = key.kind.decode(given, found, _join(path, name), self.what)
        return values

    def _is_absent(self, node: Node, name: str) -> bool:
        if name not in node.value:
            return True
        return self.null_unset and not self.keys[name].null and node.value[name].value is None

    def _made(self, node: Node, found: Collector, path: str, values: dict[str, object]) -> T | None:
        try:
            return self.make(**values, place=node.place) if self.placed else self.make(**values)
        except ValueError as error:
            found.add(FAULT, f"{self.what}: {error}", node.place, key=path)
            return None

    def schema(self) -> Schema:
        """Return the schema of an object with these keys and no others."""
        named = {name: [name, *(alias for alias, key in self.aliases.items() if key == name)] for name in self.keys}
        needed = [names for name, names in named.items() if self.keys[name].required]
        either = [{"anyOf": [{"required": [name]} for name in names]} for names in needed if len(names) > 1]
        return {
            "type": "object",
            **({"description": self.about} if self.about else {}),
            "properties": {name: self._property(self.keys[key]) for key, names in named.items() for name in names},
            "required": [names[0] for names in needed if len(names) == 1],
            **({"allOf": either} if either else {}),
            **({"patternProperties": {f"^{re.escape(self.free)}": {}}} if self.free else {}),
            "additionalProperties": False,
        }

    def _property(self, key: Key) -> Schema:
        schema = key.kind.schema()
        if self.null_unset and not key.required and schema:
            schema = {"anyOf": [schema, {"type": "null"}]}
        shown = key.default if isinstance(key.default, str | int | float) else None
        return {
            **schema,
            **({"description": key.about} if key.about else {}),
            **({"default": shown} if shown is not None else {}),
        }


def plain_shape(what: str, keys: Mapping[str, Key], *, placed: bool = False) -> Shape[dict[str, Any]]:
    """Return the shape of a mapping that is decoded as a dict of what it holds."""
    return Shape(what, keys, dict, placed=placed)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Variants(Generic[T]):
    """A mapping whose key `by` selects its shape; each shape lists that key itself, as `Choice((name,))`."""

    what: str
    by: str
    shapes: Mapping[str, Shape[T]]

    def decode(self, node: Node, found: Collector, path: str = "", what: str = "") -> T | None:
        """Return the record of the shape that the node names; None after a fault was noted."""
        if not isinstance(node.value, dict):
            fault(found, node, path, self.what, "must be a mapping")
            return None
        given = node.value.get(self.by)
        if given is None or given.value is None:
            known = ", ".join(self.shapes)
            found.add(FAULT, f"{self.what} needs `{self.by}`: one of {known}", node.place, key=_join(path, self.by))
            return None
        shape = self.shapes.get(given.value) if isinstance(given.value, str) else None
        if shape is None:
            hint = found.suggestions.did_you_mean(given.plain(), self.shapes)
            message = f"`{self.by}` of {self.what} is unknown{hint}"
            found.add(FAULT, message, given.place, key=_join(path, self.by))
            return None
        return shape.decode(node, found, path, what)

    def schema(self) -> Schema:
        """Return the schemas of the shapes, one of which fits."""
        return {"oneOf": [shape.schema() for shape in self.shapes.values()]}


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Named:
    """A kind that is defined later, as one that contains itself; its schema refers to `#/$defs/<name>`."""

    name: str
    get: Callable[[], Kind]

    def decode(self, node: Node, found: Collector, path: str, what: str) -> object:
        """Return what the kind returns."""
        return self.get().decode(node, found, path, what)

    def schema(self) -> Schema:
        """Return a reference."""
        return {"$ref": f"#/$defs/{self.name}"}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
