"""Walk over the nodes that the C composer of YAML makes, and turn them into those of a document."""

from __future__ import annotations

import re
from typing import Any

import yaml

from compozy.base.document import Duplicate, Node, resolve_scalar
from compozy.base.place import Place
from compozy.errors import SyntaxProblem

_UNQUOTED = "put quotes around the template"
_QUOTES = """write key: "{{ ... }}"; without quotes, braces begin a mapping"""
_UNQUOTED_TEMPLATE = re.compile(r"(?:^|[:\[,]|-\s)\s*(\{[{%])")
_NO_TAG = ("", "!")
_DEEP = 1000
# Values that a document may have after its anchors are expanded, beside one for each character.
_FEWEST_VALUES = 1000
_SECOND_DOCUMENT = "but found another document"  # of the composer
_TOO_DEEP = "values are nested more than 100 deep"


def _composer() -> type[yaml.BaseLoader]:
    """Return a loader that never resolves tags, because `_Walk` looks at texts only; it takes half the time."""
    without: dict[str, object] = {
        "resolve": lambda self, kind, value, implicit: "",
        "descend_resolver": lambda self, node, index: None,
        "ascend_resolver": lambda self: None,
    }
    return type("Composer", (getattr(yaml, "CBaseLoader", yaml.BaseLoader),), without)


_LOADER = _composer()


def compose(text: str, file: str) -> tuple[Node, tuple[Duplicate, ...]]:
    """Compose `text` into nodes, and return the keys that are written twice beside them.

    Raises:
        SyntaxProblem: the text is not YAML, or uses what a configuration does not need.
    """
    walk = _Walk(file, _FEWEST_VALUES + len(text))
    try:
        _check_depth(text, file)
        root = yaml.compose(text, Loader=_LOADER)
        node = walk.node(root) if root is not None else Node({}, Place(file, 1, 1), {})
        return node, tuple(walk.duplicates)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _syntax_problem(error, text, file) from error


def _check_depth(text: str, file: str) -> None:
    """Refuse a document whose nesting would exhaust the stack of the composer, which recurses in C.

    Every level costs a bracket or a column, so that almost no document needs the second look.
    """
    if text.count("[") + text.count("{") + max(map(len, text.splitlines()), default=0) < _DEEP:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _Walk.DEPTH:
            raise SyntaxProblem(_TOO_DEEP, _mark_place(event.start_mark, file))


def _syntax_problem(error: Exception, text: str, file: str) -> SyntaxProblem:
    place = _mark_place(getattr(error, "problem_mark", None), file)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error) or "not readable"
    if reason == _SECOND_DOCUMENT:
        hint = "remove this line, or put what follows into a file of its own"
        return SyntaxProblem("a second document begins here; a file holds one", place, hint=hint)
    lines = text.splitlines()
    for number in (place.line, place.line - 1):
        found = _UNQUOTED_TEMPLATE.search(lines[number - 1]) if 0 < number <= len(lines) else None
        if found is not None:
            return SyntaxProblem(_UNQUOTED, Place(file, number, found.start(1) + 1), hint=_QUOTES)
    line = next(iter(lines[place.line - 1 : place.line]), "")
    if line[place.column - 1 : place.column] == "\t":
        reason = "a tab where YAML wants blanks"
    return SyntaxProblem(f"not valid YAML: {reason}", place, hint="check indentation, quotes and colons there")


def _mark_place(mark: Any, file: str) -> Place:
    return Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)


class _Walk:
    """One pass over composed nodes; anchors are expanded, at most `most` nodes in all, `DEPTH` within each other."""

    DEPTH = 100

    def __init__(self, file: str, most: int) -> None:
        self.file = file
        self.most = self.left = most
        self.open: set[int] = set()
        self.above: list[str] = []
        self.duplicates: list[Duplicate] = []

    def node(self, node: yaml.Node) -> Node:
        place = self.place(node)
        self.left -= 1
        if self.left < 0:
            raise SyntaxProblem(f"more than {self.most} values after anchors are expanded", place)
        # The checks are called where they refuse only: rule files have thousands of nodes.
        if node.tag not in _NO_TAG:
            _check_tag(node, place)
        if isinstance(node, yaml.ScalarNode):
            if "\0" in node.value:
                _check_text(node.value, place)
            quoted = bool(node.style)
            value = node.value if quoted else resolve_scalar(node.value)
            return Node(value, place, None, node.value, quoted)
        if id(node) in self.open:
            raise SyntaxProblem("an anchor that contains itself", place)
        if len(self.open) == self.DEPTH:
            raise SyntaxProblem(_TOO_DEEP, place)
        self.open.add(id(node))
        result = self.sequence(node, place) if isinstance(node, yaml.SequenceNode) else self.mapping(node, place)
        self.open.discard(id(node))
        return result

    def sequence(self, node: yaml.Node, place: Place) -> Node:
        return Node([self.node(item) for item in node.value], place)

    def mapping(self, node: yaml.Node, place: Place) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        for key_node, value_node in node.value:
            at = self.place(key_node)
            if isinstance(key_node, yaml.MappingNode) and key_node.start_mark.index == node.start_mark.index + 1:
                raise SyntaxProblem(_UNQUOTED, Place(self.file, at.line, max(1, at.column - 1)), hint=_QUOTES)
            if not isinstance(key_node, yaml.ScalarNode):
                raise SyntaxProblem("a key must be a plain word", at)
            key = key_node.value
            if key == "<<" or "\0" in key or key_node.tag not in _NO_TAG:
                _check_key(key_node, at)
            if key in values:
                self.duplicates.append(Duplicate(key, tuple(self.above), at, keys[key]))
            self.above.append(key)
            child = self.node(value_node)
            self.above.pop()
            keys.setdefault(key, at)
            _join(values.setdefault(key, child), child)
        return Node(values, place, keys)

    def place(self, node: yaml.Node) -> Place:
        start, end = node.start_mark, node.end_mark
        length = end.column - start.column if start.line == end.line else 1
        return Place(self.file, start.line + 1, start.column + 1, length if length > 0 else 1)


def _check_tag(node: yaml.Node, place: Place) -> None:
    """Refuse an explicit tag; a loader that obeyed it would change the value, and one that does not ignores a wish."""
    if node.tag in _NO_TAG:
        return
    tag = node.tag.replace("tag:yaml.org,2002:", "!!")
    hint = "write the value itself; ${VAR} takes a variable, and quotes make a number text"
    raise SyntaxProblem(f"the tag {tag} is not supported", place, hint=hint)


def _check_key(node: yaml.ScalarNode, place: Place) -> None:
    _check_tag(node, place)
    _check_text(node.value, place)
    if node.value == "<<" and not node.style:
        hint = "write the keys out; an anchor may stand for a whole value, as in a: *anchor"
        raise SyntaxProblem("merge keys (<<) are not supported", place, hint=hint)


def _check_text(text: str, place: Place) -> None:
    if "\0" in text:
        raise SyntaxProblem("a NUL character, which neither paths nor databases can hold", place)


def _join(first: Node, second: Node) -> None:
    """Add what the second of two mappings holds to the first, so that nothing in it goes unread."""
    if first is not second and isinstance(first.value, dict) and isinstance(second.value, dict):
        first.value = {**first.value, **{key: node for key, node in second.value.items() if key not in first.value}}
        first.keys = {**(second.keys or {}), **(first.keys or {})}
