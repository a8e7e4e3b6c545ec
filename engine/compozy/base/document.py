"""Read YAML once, with the place of every key and value.

One walk over the C composer builds a tree of `Node`s: it resolves scalars by the YAML 1.2 core schema (`on`, `off`,
`yes`, `no` stay text), refuses duplicate keys and never constructs Python objects from tags.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any, TypeAlias

from compozy.base.place import Place
from compozy.base.record import dataclass
from compozy.errors import DuplicateKeyProblem

Scalar: TypeAlias = str | int | float | bool | None
_NUMBER = re.compile(r"[-+]?(?:0x[0-9a-fA-F]+|0o[0-7]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\Z")
_LONGEST = 400
_WORDS: Mapping[str, Scalar] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


@dataclass(slots=True)
class Node:
    """A value with its place: a scalar, a dict of text to `Node`, or a list of `Node`.

    `keys` holds the place of each key of a mapping. `text` is a scalar as written, so that a version
    `0.10` stays `0.10`; `quoted` is True for one in quotes, so that `"5"` stays text. Neither
    value nor text shows in `repr`, because a document may hold secrets.
    """

    value: Any = field(repr=False)
    place: Place
    keys: dict[str, Place] | None = None
    text: str = field(default="", repr=False)
    quoted: bool = False

    def plain(self) -> object:
        """Return the value as plain dicts, lists and scalars, without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A key that its mapping names already, at `first`; `above` are the keys that lead to the mapping."""

    key: str = field(repr=False)
    above: tuple[str, ...]
    place: Place
    first: Place

    @property
    def hint(self) -> str:
        """The proposed fix."""
        return f"the first one is on line {self.first.line}; keep one"


def read_document(text: str, file: str) -> Node:
    """Compose `text` into nodes; an empty document is an empty mapping.

    Raises:
        SyntaxProblem: the text is not YAML, or uses what a configuration does not need.
        DuplicateKeyProblem: a mapping names a key twice.
    """
    root, duplicates = read_leniently(text, file)
    for found in duplicates:
        raise DuplicateKeyProblem(f'key "{found.key}" is written twice', found.place, hint=found.hint)
    return root


def read_leniently(text: str, file: str) -> tuple[Node, tuple[Duplicate, ...]]:
    """Compose `text` into nodes, and return the keys that are written twice beside them.

    The first value of such a key counts; of two mappings, what either holds.

    Raises:
        SyntaxProblem: the text is not YAML, or uses what a configuration does not need.
    """
    # This imports the parser, which a command that reads no file does not need.
    from compozy.base.yaml_walk import compose

    return compose(text, file)


def json_node(value: object, name: str) -> Node:
    """Return a JSON value as nodes without lines; `name` is its source in findings."""
    place = Place(name, 0, 0)
    if isinstance(value, Mapping):
        return Node({str(key): json_node(item, name) for key, item in value.items()}, place, {})
    return Node([json_node(item, name) for item in value] if isinstance(value, list) else value, place)


def resolve_scalar(text: str) -> Scalar:
    """Resolve a plain scalar by the YAML 1.2 core schema (https://yaml.org/spec/1.2.2/#103-core-schema).

    >>> [resolve_scalar(text) for text in ("on", "true", "~", "12", "1.5", "0x10", "5m")]
    ['on', True, None, 12, 1.5, 16, '5m']
    """
    if text in _WORDS:
        return _WORDS[text]
    if _NUMBER.match(text):
        return _number(text)
    return text


def _number(text: str) -> Scalar:
    """Return a number; one too long to be written in decimals, or too large to be one, stays text."""
    if len(text) > _LONGEST:
        return text
    try:
        return int(text, 0) if "x" in text or "o" in text else int(text)
    except ValueError:
        number = float(text)
        return number if math.isfinite(number) else text
