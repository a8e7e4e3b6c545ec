"""Change the rows of rule files on disk: comments, order and quoting of everything else stay.

The caller decides which files may be changed.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field

import yaml

from compozy.base.findings import ERROR, Finding
from compozy.base.output_file import write_file
from compozy.base.place import Place
from compozy.base.record import dataclass
from compozy.base.yaml_text import UneditableError, YamlText
from compozy.errors import UsageError
from compozy.tables.simplify import Edit
from compozy.tables.witness import cell_yaml

# Rounds of adding rows; after the first one, only gaps are left that were not listed.
_MOST_ROUNDS = 10
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class AddedRow:
    """A row that was written for a gap: its table, the file, and the row as YAML."""

    table: str
    file: str
    row: str


@dataclass(slots=True)
class RowFiles:
    """The texts of rule files that may be changed, by name; `write` puts the changed ones on disk."""

    texts: dict[str, str]
    changed: dict[str, YamlText] = field(default_factory=dict)

    def edit(self, file: str) -> YamlText:
        """Return a file for editing.

        Raises:
            UsageError: it has aliases.
        """
        if file not in self.changed:
            try:
                self.changed[file] = YamlText(self.texts[file])
            except UneditableError as error:
                raise UsageError(f"{file} cannot be edited: {error}", hint="edit it yourself") from error
        return self.changed[file]

    def current(self) -> dict[str, str]:
        """Return the texts with all edits."""
        return {**self.texts, **{file: document.text for file, document in self.changed.items()}}

    def write(self) -> tuple[str, ...]:
        """Write the files whose text changed, with their line ends and modes, and return their names.

        Raises:
            UsageError: a file cannot be written, or changed on disk meanwhile.
        """
        names = tuple(file for file, document in self.changed.items() if document.text != self.texts[file])
        for file in names:
            try:
                _write(file, self.texts[file], self.changed[file].text)
            except OSError as error:
                raise UsageError(f"{file} cannot be written: {error.strerror}") from error
        return names


def _write(file: str, before: str, text: str) -> None:
    with open(file, "rb") as stream:
        content, mode = stream.read(), stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
    lines = content.removeprefix(_BOM).decode()
    end = "\r\n" if "\r\n" in lines else "\n"
    if lines != before.replace("\n", end):
        raise UsageError(f"{file} changed meanwhile, or mixes line ends", hint="run the command again")
    marker = _BOM if content.startswith(_BOM) else b""
    write_file(file, marker + text.replace("\n", end).encode(), mode=mode)


def add_rows(files: RowFiles, findings_of: Callable[[Mapping[str, str]], Sequence[Finding]]) -> list[AddedRow]:
    """Add the proposed row of every gap to the block of its table, until none is left that one of the files can close.

    A table of another file is extended, in a block that extends it already or in a list of tables. `findings_of`
    verifies texts.
    """
    added: list[AddedRow] = []
    for _ in range(_MOST_ROUNDS):
        gaps = [gap for gap in findings_of(files.current()) if gap.id == "gap" and gap.severity == ERROR]
        round_of = [row for gap in gaps for row in _add(files, gap)]
        added += round_of
        if not round_of:
            break
    return added


def _add(files: RowFiles, gap: Finding) -> Iterator[AddedRow]:
    row = (gap.proposal or "").removeprefix("- ")
    file = _file_for(files, gap.key, gap.places[0]) if row else None
    if file is None:
        return
    document = files.edit(file)
    blocks = _blocks_of(document, gap.key)
    rows = document.value(blocks[0], "rows") if blocks else None
    if isinstance(rows, yaml.SequenceNode):
        document.append_item(rows, row)
    elif blocks:
        document.append_key(blocks[0], "rows", f"[{row}]")
    elif (tables := _tables(document)) is not None:
        document.append_item(tables, f"extends: {gap.key}\nrows:\n  - {row}")
    yield AddedRow(gap.key, file, row)


def apply_edits(files: RowFiles, edits: Iterable[Edit]) -> None:
    """Apply the edits of proposals, in their order.

    Raises:
        UsageError: a file cannot be edited.
    """
    for edit in edits:
        document = files.edit(edit.file)
        if edit.row:
            _edit_row(document, edit)
            continue
        for block in _blocks_of(document, edit.table):
            inputs = document.value(block, "inputs")
            if edit.action == "set-hit" and document.value(block, "hit") is not None:
                document.set_value(block, "hit", edit.text)
            elif isinstance(inputs, yaml.MappingNode) and document.value(inputs, edit.column) is not None:
                document.remove_key(inputs, edit.column)


def _edit_row(document: YamlText, edit: Edit) -> None:
    rows, at = _row_of(document, edit.table, edit.row)
    row = rows.value[at]
    when = document.value(row, "when")
    if edit.action == "remove-row":
        document.remove_item(rows, at)
    elif edit.action == "set-because":
        document.set_value(row, "because", json.dumps(edit.text, ensure_ascii=False))
    elif not isinstance(when, yaml.MappingNode) or document.value(when, edit.column) is None:
        return
    elif edit.action == "set-cell":
        document.set_value(when, edit.column, cell_yaml(edit.condition))
    elif len(when.value) == 1:
        document.remove_key(row, "when")
    else:
        document.remove_key(when, edit.column)


def _row_of(document: YamlText, table: str, row: str) -> tuple[yaml.SequenceNode, int]:
    for block in _blocks_of(document, table):
        rows = document.value(block, "rows")
        if not isinstance(rows, yaml.SequenceNode):
            continue
        for at, item in enumerate(rows.value):
            name = document.value(item, "id")
            if name is not None and name.value == row:
                return rows, at
    raise UsageError(f'table "{table}" has no row "{row}" that can be edited', hint="edit the file yourself")


def _file_for(files: RowFiles, table: str, place: Place) -> str | None:
    """Return the file to which a row of a table can be added: its own, else one that extends it or lists tables."""
    if place.file in files.texts:
        return place.file
    editable: dict[str, YamlText] = {}
    for name in files.texts:
        with suppress(UsageError):
            editable[name] = files.edit(name)
    extending = [name for name, document in editable.items() if _blocks_of(document, table)]
    listing = [name for name, document in editable.items() if _tables(document)]
    return next(iter([*extending, *listing]), None)


def _blocks_of(document: YamlText, table: str) -> list[yaml.MappingNode]:
    """Return the blocks that define or extend a table."""
    tables = _tables(document)
    listed = tables.value if tables is not None else []
    blocks = [node for node in (document.root, *listed) if isinstance(node, yaml.MappingNode)]
    names = ((block, document.value(block, key)) for key in ("table", "extends") for block in blocks)
    return [block for block, name in names if name is not None and name.value == table]


def _tables(document: YamlText) -> yaml.SequenceNode | None:
    """Return the list of tables of a file, if it has one in block style."""
    tables = document.value(document.root, "tables") if isinstance(document.root, yaml.MappingNode) else None
    return tables if isinstance(tables, yaml.SequenceNode) and not tables.flow_style else None
