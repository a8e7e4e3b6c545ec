"""Read YAML once, with the place of every key and value.

What comes in: text and the name of its file. What goes out: a tree of `Node`s. One walk over the C
composer resolves scalars by the YAML 1.2 core schema (`on`, `off`, `yes`, `no` stay text), refuses
duplicate keys and never constructs Python objects from tags.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from compozy.errors import DuplicateKeyProblem, SyntaxProblem

Scalar: TypeAlias = str | int | float | bool | None

_LOADER: Any = getattr(yaml, "CLoader", yaml.Loader)
_NUMBER = re.compile(r"[-+]?(?:0x[0-9a-fA-F]+|0o[0-7]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\Z")
_WORDS: Mapping[str, Scalar] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands: file name, line and column, both counted from 1; `length` in characters."""

    file: str
    line: int
    column: int
    length: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(slots=True)
class Node:
    """A value with its place: a scalar, a dict of text to `Node`, or a list of `Node`.

    `keys` holds the place of each key of a mapping. `quoted` tells a scalar that was written in
    quotes, so that `"5"` stays text.
    """

    value: Any
    place: Place
    keys: dict[str, Place] | None = None
    quoted: bool = False

    def plain(self) -> Any:
        """Return the value as plain dicts, lists and scalars, without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def read_document(text: str, file: str) -> Node:
    """Compose `text` into nodes; an empty document is an empty mapping.

    Raises:
        SyntaxProblem: the text is not YAML, or uses what a configuration does not need.
        DuplicateKeyProblem: a mapping names a key twice.
    """
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _syntax_problem(error, file) from error
    if root is None:
        return Node({}, Place(file, 1, 1), {})
    try:
        return _walk(root, file, ())
    except RecursionError as error:
        raise _syntax_problem(error, file) from error


def _syntax_problem(error: Exception, file: str) -> SyntaxProblem:
    mark = getattr(error, "problem_mark", None)
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error) or "not readable"
    return SyntaxProblem(f"not valid YAML: {reason}", place, hint="check indentation, quotes and colons there")


def _walk(node: Any, file: str, parents: tuple[int, ...]) -> Node:
    mark = node.start_mark
    place = Place(file, mark.line + 1, mark.column + 1, _length(node))
    if id(node) in parents:
        raise SyntaxProblem("an anchor that contains itself", place)
    if isinstance(node, yaml.ScalarNode):
        quoted = bool(node.style)
        return Node(node.value if quoted else resolve_scalar(node.value), place, quoted=quoted)
    inside = (*parents, id(node))
    if isinstance(node, yaml.SequenceNode):
        return Node([_walk(item, file, inside) for item in node.value], place)
    return _walk_mapping(node, file, place, inside)


def _walk_mapping(node: Any, file: str, place: Place, parents: tuple[int, ...]) -> Node:
    values: dict[str, Node] = {}
    keys: dict[str, Place] = {}
    for key_node, value_node in node.value:
        mark = key_node.start_mark
        at = Place(file, mark.line + 1, mark.column + 1, _length(key_node))
        if not isinstance(key_node, yaml.ScalarNode):
            raise SyntaxProblem("a key must be a plain word", at)
        key = key_node.value
        if key in values:
            first = keys[key]
            raise DuplicateKeyProblem(
                f'key "{key}" is written twice', at, hint=f"the first one is on line {first.line}; keep one"
            )
        values[key] = _walk(value_node, file, parents)
        keys[key] = at
    return Node(values, place, keys)


def _length(node: Any) -> int:
    start, end = node.start_mark, node.end_mark
    return max(1, end.column - start.column) if start.line == end.line else 1


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
    try:
        return int(text, 0) if "x" in text or "o" in text else int(text)
    except ValueError:
        return float(text)
