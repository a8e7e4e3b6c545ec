"""Read the rows of a rule file: mappings with known columns of known shapes.

What comes in: nodes and the columns that a row may have. What goes out: plain dicts of checked shape, and
faults with their places. It must not know what a row means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from compozy.base.document import Node
from compozy.base.findings import Collector
from compozy.base.place import Place
from compozy.base.suggest import did_you_mean


class Placed(Protocol):
    """A record that knows where it stands."""

    @property
    def place(self) -> Place:
        """Where its row is."""
        ...


Record = TypeVar("Record", bound=Placed)
Key = TypeVar("Key")


def _is_text(node: Node) -> bool:
    return isinstance(node.value, str) and node.value != ""


def _are(fits: Callable[[Node], bool]) -> Callable[[Node], bool]:
    return lambda node: isinstance(node.value, list) and all(fits(item) for item in node.value)


SHAPES: Mapping[str, tuple[str, Callable[[Node], bool]]] = {
    "text": ("text", _is_text),
    "boolean": ("true or false", lambda node: isinstance(node.value, bool)),
    "integer": ("a whole number", lambda node: type(node.value) is int),
    "texts": ("a list of texts", _are(_is_text)),
    "rows": ("a list of mappings", _are(lambda node: isinstance(node.value, dict))),
    "mapping": ("a mapping", lambda node: isinstance(node.value, dict)),
    "words": (
        "a mapping of texts",
        lambda node: isinstance(node.value, dict) and all(_is_text(item) for item in node.value.values()),
    ),
    "addresses": (
        "a list of texts, or of lists of texts",
        _are(lambda node: _is_text(node) or _are(_is_text)(node)),
    ),
    "any": ("anything", lambda node: True),
}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a kind of row: name -> shape."""

    what: str
    required: Mapping[str, str]
    optional: Mapping[str, str]

    def read(self, row: Node, faults: Collector) -> dict[str, Any] | None:
        """Return the plain values of a row; None after a fault was noted."""
        before = len(faults.findings)
        shapes = {**self.required, **self.optional}
        for name, place in (row.keys or {}).items():
            self._cell(name, row.value[name], place, shapes, faults)
        for name in self.required:
            faults.require(name in row.value, "malformed", f"{self.what} needs `{name}`", row.place)
        plain: dict[str, Any] = row.plain()
        return None if len(faults.findings) > before else plain

    def _cell(self, name: str, node: Node, place: Place, shapes: Mapping[str, str], faults: Collector) -> None:
        if name not in shapes:
            message = f'unknown column "{name}" in {self.what}{did_you_mean(name, shapes)}'
            faults.add("malformed", message, place)
            return
        words, fits = SHAPES[shapes[name]]
        faults.require(fits(node), "malformed", f"`{name}` of {self.what} must be {words}", node.place)


def listed_rows(document: Node, key: str, faults: Collector) -> list[Node]:
    """Return the rows under `key` of a rule file; what is not a list of mappings is noted."""
    node = document.value.get(key)
    if node is None or not faults.require(
        isinstance(node.value, list), "malformed", f"`{key}` must be a list", node.place
    ):
        return []
    reason = f"each of `{key}` must be a mapping"
    return [row for row in node.value if faults.require(isinstance(row.value, dict), "malformed", reason, row.place)]


def put(known: dict[Key, Record], key: Key, record: Record, replaced: Key | None, what: str, faults: Collector) -> None:
    """Add a record under `key`, in the place of the record that it says it replaces."""
    if replaced is not None and replaced not in known:
        hint = did_you_mean(replaced, known)
        faults.add("unknown-row", f"{what} replaces {replaced}, which does not exist{hint}", record.place)
        return
    if key in known and key != replaced:
        first = known[key].place
        message = f"{what} {key} already exists at {first}; to take its place, say so with `replaces: {key}`"
        faults.add("collision", message, record.place, first)
        return
    if replaced is not None and replaced != key:
        del known[replaced]
    known[key] = record
