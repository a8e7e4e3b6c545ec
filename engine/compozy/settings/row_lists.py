"""The rows of rule files: lists of mappings, of which a later one may replace an earlier one by name."""

from __future__ import annotations

from typing import Protocol, TypeVar

from compozy.base.document import Node
from compozy.base.findings import Collector
from compozy.base.place import Place
from compozy.base.shapes import TEXT, ListOf
from compozy.base.suggest import did_you_mean


class Placed(Protocol):
    """A record with its place."""

    @property
    def place(self) -> Place:
        """The place of its row."""
        ...


Record = TypeVar("Record", bound=Placed)
Name = TypeVar("Name")


TEXTS = ListOf(TEXT, "a list of texts")


def listed_rows(document: Node, key: str, faults: Collector) -> list[Node]:
    """Return the rows under `key` of a rule file; anything else is a finding."""
    node = document.value.get(key)
    if node is None or not faults.require(
        isinstance(node.value, list), "malformed", f"`{key}` must be a list", node.place
    ):
        return []
    reason = f"each of `{key}` must be a mapping"
    return [row for row in node.value if faults.require(isinstance(row.value, dict), "malformed", reason, row.place)]


def put(
    known: dict[Name, Record], key: Name, record: Record, replaced: Name | None, what: str, faults: Collector
) -> None:
    """Add a record under `key`, in the place of the record that it replaces."""
    if replaced is not None and replaced not in known:
        hint = did_you_mean(replaced, known)
        faults.add("unknown-row", f"{what} replaces {replaced}, which does not exist{hint}", record.place)
        return
    if key in known and key != replaced:
        first = known[key].place
        message = f"{what} {key} already exists at {first}; to replace it, add `replaces: {key}`"
        faults.add("collision", message, record.place, first)
        return
    if replaced is not None and replaced != key:
        del known[replaced]
    known[key] = record
