"""Merge rule packs: blocks with `extends` are merged into the block with the `table` that they extend.

The rows of a merged block are in order. Only the keys that merging needs are read here; the merged block is read
afterwards like a table from one file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field

from compozy.base.document import Node
from compozy.base.findings import Collector
from compozy.base.place import Place
from compozy.base.record import dataclass
from compozy.base.shapes import check_keys
from compozy.base.suggest import did_you_mean

EXTENSION_KEYS = ("extends", "about", "inputs", "values", "without", "removes", "rows", "examples")


@dataclass(frozen=True, slots=True)
class Block:
    """A mapping of a rule file that defines (`extends` is false) or extends the table `name`."""

    name: str
    node: Node
    place: Place
    extends: bool


@dataclass(slots=True)
class Merged:
    """A table's defining block, the rows of all packs in order, and what the packs add to it and take from it.

    `values` and `without` hold (output, place, list of values); `removes` names rows.
    """

    block: Block
    rows: list[Node]
    inputs: dict[str, Node] = field(default_factory=dict)
    input_places: dict[str, Place] = field(default_factory=dict)
    values: list[tuple[str, Place, Node]] = field(default_factory=list)
    without: list[tuple[str, Place, Node]] = field(default_factory=list)
    removes: list[Node] = field(default_factory=list)
    examples: list[Node] = field(default_factory=list)


def merge_blocks(blocks: Iterable[Block], found: Collector) -> list[Merged]:
    """Merge extensions into the tables that they name; conflicts are noted with both files."""
    blocks = list(blocks)
    merged: dict[str, Merged] = {}
    # Definitions first: the order of files must not decide whether an extension finds its table.
    for block in (b for b in blocks if not b.extends):
        _define(block, merged, found)
    for block in (b for b in blocks if b.extends):
        if block.name in merged:
            _extend(merged[block.name], block, found)
        else:
            hint = did_you_mean(block.name, merged)
            found.add("malformed", f'extends the table "{block.name}", which does not exist{hint}', block.place)
    for table in merged.values():
        table.rows = _order_rows(table, found)
    return list(merged.values())


def _define(block: Block, merged: dict[str, Merged], found: Collector) -> None:
    first = merged.get(block.name)
    if first is not None:
        found.add("malformed", f'table "{block.name}" is already defined at {first.block.place}', block.place)
        return
    table = Merged(block, mappings(block.node, "rows", found))
    for row in table.rows:
        for key in ("replaces", "before"):
            if key in row.value:
                found.add(
                    "malformed", f"`{key}` belongs to a block that `extends`", row.keys[key] if row.keys else row.place
                )
    _add_inputs(table, block, found)
    table.examples += mappings(block.node, "examples", found)
    merged[block.name] = table


def _extend(table: Merged, block: Block, found: Collector) -> None:
    check_keys(block.node, EXTENSION_KEYS, "a block that extends a table", found)
    table.rows += mappings(block.node, "rows", found)
    _add_inputs(table, block, found)
    table.examples += mappings(block.node, "examples", found)
    table.values += _by_output(block, "values", found)
    table.without += _by_output(block, "without", found)
    removes = block.node.value.get("removes")
    if removes is not None and found.require(
        isinstance(removes.value, list), "malformed", "`removes` must be a list of rows", removes.place
    ):
        table.removes += removes.value


def _by_output(block: Block, key: str, found: Collector) -> list[tuple[str, Place, Node]]:
    values = block.node.value.get(key)
    reason = f"`{key}` must map outputs to lists of values"
    if values is None or not found.require(isinstance(values.value, dict), "malformed", reason, values.place):
        return []
    return [(name, values.keys[name], node) for name, node in values.value.items()]


def _add_inputs(table: Merged, block: Block, found: Collector) -> None:
    inputs = block.node.value.get("inputs")
    if inputs is None:
        return
    if not found.require(isinstance(inputs.value, dict), "malformed", "`inputs` must be a mapping", inputs.place):
        return
    for name, node in inputs.value.items():
        place = inputs.keys[name]
        if name in table.inputs:
            first = table.input_places[name]
            found.add("malformed", f'table "{block.name}" already has the input "{name}" at {first}', place)
            continue
        table.inputs[name] = node
        table.input_places[name] = place


def mappings(node: Node, key: str, found: Collector) -> list[Node]:
    """Return the members of a list of mappings; what is not one is noted."""
    listed = node.value.get(key)
    if listed is None:
        return []
    if not found.require(isinstance(listed.value, list), "malformed", f"`{key}` must be a list", listed.place):
        return []
    reason = f"each of `{key}` must be a mapping"
    return [n for n in listed.value if found.require(isinstance(n.value, dict), "malformed", reason, n.place)]


def text_of(row: Node, key: str) -> str | None:
    """Return a text value of a mapping, or `None` where it is absent or something else."""
    node = row.value.get(key)
    return node.value if node is not None and isinstance(node.value, str) else None


def _order_rows(table: Merged, found: Collector) -> list[Node]:
    block, rows = table.block, table.rows
    # Insertions, then replacements, then removals: a pack may place a row before one that another pack replaces or
    # removes.
    plain = [row for row in rows if "replaces" not in row.value]
    ordered = [row for row in plain if "before" not in row.value]
    for row in (row for row in plain if "before" in row.value):
        _insert(row, ordered, block, found)
    _replace([row for row in rows if "replaces" in row.value], ordered, block, found)
    _remove(table.removes, ordered, block, found)
    _check_ids(ordered, block, found)
    return ordered


def _insert(row: Node, ordered: list[Node], block: Block, found: Collector) -> None:
    index = _index_of(row, "before", ordered, block, found)
    ordered.insert(len(ordered) if index is None else index, row)


def _replace(rows: list[Node], ordered: list[Node], block: Block, found: Collector) -> None:
    """Put each row in the place of the one that it names; a replacement is replaced by its own name only."""
    for row in rows:
        index = _index_of(row, "replaces", ordered, block, found)
        if index is None:
            continue
        standing, target = ordered[index], text_of(row, "replaces")
        if text_of(standing, "replaces") == target:
            reason = f'row "{target}" of table "{block.name}" is already replaced at {standing.place}'
            found.add("malformed", reason, row.place)
            continue
        ordered[index] = row


def _remove(names: list[Node], ordered: list[Node], block: Block, found: Collector) -> None:
    for node in names:
        ids = [text_of(row, "id") for row in ordered]
        if node.value in ids:
            del ordered[ids.index(node.value)]
            continue
        known = did_you_mean(node.value, [name for name in ids if name])
        reason = f'`removes` names the row "{node.value}", which table "{block.name}" does not have{known}'
        found.add("malformed", reason, node.place)


def _index_of(row: Node, key: str, ordered: list[Node], block: Block, found: Collector) -> int | None:
    ids = [text_of(other, "id") for other in ordered]
    target = text_of(row, key)
    # A row that was replaced stands for its replacement, so that the conflict is named.
    for names in (ids, [text_of(other, "replaces") for other in ordered]):
        if target in names and target is not None:
            return names.index(target)
    known = did_you_mean(target, [name for name in ids if name])
    place = row.value[key].place
    found.add("malformed", f'`{key}` names the row "{target}", which table "{block.name}" does not have{known}', place)
    return None


def _check_ids(rows: list[Node], block: Block, found: Collector) -> None:
    seen: dict[str, Node] = {}
    for row in rows:
        row_id = text_of(row, "id")
        if row_id is None:
            continue
        first = seen.setdefault(row_id, row)
        if first is not row:
            reason = f'row "{row_id}" of table "{block.name}" already exists at {first.place}'
            found.add("malformed", reason, row.value["id"].place)
