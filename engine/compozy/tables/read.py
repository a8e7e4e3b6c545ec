"""Read decision tables from YAML and collect all findings of all files.

Tables of shipped files and packs are merged and checked in themselves; `link` resolves the settings that they name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from compozy.base.document import Node, Scalar, read_document
from compozy.base.findings import Collector
from compozy.base.place import Place
from compozy.base.shapes import ANY, Plain, Shape, check_keys, need
from compozy.base.suggest import did_you_mean
from compozy.errors import RuleTableError, SyntaxProblem
from compozy.tables.cells import CellError, parse_condition, scalar_words
from compozy.tables.packs import Block, Merged, mappings, merge_blocks, text_of
from compozy.tables.table import Column, ColumnSource, Condition, Domain, Row, Table, TableExample, identity


def _row_ids(node: Node) -> tuple[str, ...]:
    rows = [node.value] if isinstance(node.value, str) else node.plain() or []
    if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
        raise ValueError
    return tuple(rows)


_TABLE_KEYS = ("table", "stage", "about", "hit", "for_each", "inputs", "outputs", "sets", "rows", "examples")
_ROW_KEYS = ("id", "when", "then", "because", "finding", "replaces", "before")
_EXAMPLE = Shape(
    "an example", {"given": need(ANY), "rows": need(Plain("the id of a row, or a list of them", _row_ids, {}))},
    TableExample, placed=True,
)  # fmt: skip
_HITS = ("unique", "any", "first", "collect")
_KINDS = ("setting", "machine", "item", "decision", "input")
# A view is a function of a setting or of a field; machine facts are read as they are.
_OPTIONS = {"setting": ("view",), "item": ("view",), "decision": ("output",)}
_OUTPUT_WORDS = ("text", "number", "boolean")


def read_tables(files: Iterable[tuple[str, str | Node]]) -> tuple[Table, ...]:
    """Read the tables of files given as (name, text or document), packs after what they extend or before.

    Raises:
        RuleTableError: holds the findings of all files, in the order of lines.
    """
    found = Collector()
    blocks = [block for name, text in files for block in _read_blocks(name, text, found)]
    tables = [_TableReader(merged, found).table() for merged in merge_blocks(blocks, found)]
    if found.findings:
        raise RuleTableError(found.in_order())
    return tuple(tables)


def _read_blocks(name: str, content: str | Node, found: Collector) -> list[Block]:
    try:
        document = content if isinstance(content, Node) else read_document(content, name)
    except SyntaxProblem as problem:
        found.add("malformed", problem.reason, problem.place)
        return []
    if not found.require(
        isinstance(document.value, dict), "malformed", "a rule file must be a mapping", document.place
    ):
        return []
    if "tables" not in document.value:
        nodes = [document] if document.value else []
    else:
        check_keys(document, ("tables",), "a file of several tables", found)
        nodes = mappings(document, "tables", found)
    return [block for block in (_block(node, found) for node in nodes) if block]


def _block(node: Node, found: Collector) -> Block | None:
    given = [key for key in ("table", "extends") if key in node.value]
    if len(given) != 1:
        found.add("malformed", "needs either `table: <id>` or `extends: <id>`", node.place)
        return None
    name = text_of(node, given[0])
    place = node.value[given[0]].place
    if not found.require(name, "malformed", f"`{given[0]}` must be the id of a table", place):
        return None
    return Block(str(name), node, place, given[0] == "extends")


class _TableReader:
    """Turns one merged block into a `Table`."""

    def __init__(self, merged: Merged, found: Collector) -> None:
        self._merged = merged
        self._node = merged.block.node
        self._place = merged.block.place
        self._found = found
        self._hit = ""
        self._columns: dict[str, Column] = {}
        self._outputs: dict[str, Domain] = {}

    def table(self) -> Table:
        check_keys(self._node, _TABLE_KEYS, "a table", self._found)
        self._hit = self._read_hit()
        for_each = self._text("for_each") or None
        self._columns = self._read_columns(for_each)
        self._outputs = self._read_outputs()
        rows = tuple(self._row(node) for node in self._merged.rows)
        return Table(
            id=self._merged.block.name,
            stage=self._text("stage"),
            hit=self._hit,
            about=self._text("about"),
            for_each=for_each,
            columns=tuple(self._columns.values()),
            outputs={name: _widened(domain, name, rows) for name, domain in self._outputs.items()},
            sets=self._read_sets(),
            rows=rows,
            place=self._place,
            examples=tuple(self._example(node) for node in self._merged.examples),
        )

    def _text(self, key: str) -> str:
        node = self._node.value.get(key)
        if node is None:
            return ""
        self._found.require(isinstance(node.value, str), "malformed", f"`{key}` must be text", node.place)
        return str(node.value)

    def _read_hit(self) -> str:
        hit = self._text("hit")
        if hit not in _HITS:
            place = self._node.value["hit"].place if "hit" in self._node.value else self._place
            known = f'unknown hit policy "{hit}"{did_you_mean(hit, _HITS)}'
            self._found.add("malformed", known if hit else f"needs `hit`: one of {', '.join(_HITS)}", place)
        return hit

    # columns

    def _read_columns(self, for_each: str | None) -> dict[str, Column]:
        columns: dict[str, Column] = {}
        taken: dict[ColumnSource, str] = {}
        for name, node in self._merged.inputs.items():
            place = self._merged.input_places[name]
            source = self._source(node, for_each)
            if source is None:
                source = ColumnSource("unknown", name)
            other = taken.setdefault(source, name)
            self._found.require(other == name, "malformed", f'input "{name}" reads the same as input "{other}"', place)
            columns[name] = Column(name, source, place)
        return columns

    def _source(self, node: Node, for_each: str | None) -> ColumnSource | None:
        kinds = [key for key in _KINDS if isinstance(node.value, dict) and key in node.value]
        if len(kinds) != 1:
            self._found.add("malformed", f"an input needs exactly one of {', '.join(_KINDS)}", node.place)
            return None
        kind = kinds[0]
        known = (kind, *_OPTIONS.get(kind, ()))
        check_keys(node, known, f"an input of kind {kind}", self._found)
        ref = self._member(node, kind)
        if kind == "item" and for_each is None:
            self._found.add("malformed", "an `item` needs a table with `for_each`", node.place)
        each = for_each if kind == "item" else None
        return ColumnSource(kind, ref, self._member(node, "view") or None, self._member(node, "output") or None, each)

    def _member(self, node: Node, key: str) -> str:
        member = node.value.get(key)
        if member is None:
            return ""
        self._found.require(text_of(node, key), "malformed", f"`{key}` must be text", member.place)
        return str(member.value)

    # outputs

    def _read_outputs(self) -> dict[str, Domain]:
        node = self._node.value.get("outputs")
        if node is None or not isinstance(node.value, dict):
            if node is not None or self._hit in ("unique", "any", "first"):
                self._found.add("malformed", "`outputs` must map names to domains", node.place if node else self._place)
            return {}
        outputs = {name: self._output(name, domain) for name, domain in node.value.items()}
        for name, place, values in self._merged.values:
            self._change(name, place, values, outputs, wider=True)
        for name, place, values in self._merged.without:
            self._change(name, place, values, outputs, wider=False)
        return outputs

    def _output(self, name: str, node: Node) -> Domain:
        if isinstance(node.value, list) and node.value:
            return Domain.finite(self._scalars(node))
        word = node.value if node.value in _OUTPUT_WORDS else None
        self._found.require(
            word,
            "malformed",
            f'output "{name}" must be a list of values, or one of {", ".join(_OUTPUT_WORDS)}',
            node.place,
        )
        if word == "number":
            return Domain.number()
        return Domain.boolean() if word == "boolean" else Domain.text()

    def _change(self, name: str, place: Place, node: Node, outputs: dict[str, Domain], *, wider: bool) -> None:
        """Add values to a listed output, or take values from it."""
        table = self._merged.block.name
        if name not in outputs:
            self._found.add("malformed", f'table "{table}" has no output "{name}"{did_you_mean(name, outputs)}', place)
            return
        domain = outputs[name]
        if domain.kind != "finite" or not isinstance(node.value, list):
            self._found.add(
                "malformed", f'only a listed output can be widened or narrowed, by a list; "{name}" cannot', place
            )
            return
        given = self._scalars(node)
        known = {identity(value) for value in domain.listed}
        for value in () if wider else given:
            words = "null" if value is None else scalar_words(value)
            reason = f'output "{name}" of table "{table}" has no value {words} to take away'
            self._found.require(identity(value) in known, "malformed", reason, place)
        taken = set() if wider else {identity(value) for value in given}
        outputs[name] = Domain.finite(
            v for v in [*domain.listed, *(given if wider else [])] if identity(v) not in taken
        )

    def _scalars(self, node: Node) -> list[Scalar]:
        for item in node.value:
            nested = isinstance(item.value, dict | list)
            self._found.require(not nested, "malformed", "a single value is expected here", item.place)
        return [item.value for item in node.value if not isinstance(item.value, dict | list)]

    def _read_sets(self) -> Mapping[str, str]:
        node = self._node.value.get("sets")
        if node is None:
            return {}
        if not self._found.require(
            isinstance(node.value, dict), "malformed", "`sets` must map outputs to keys", node.place
        ):
            return {}
        for name in node.value:
            if name not in self._outputs:
                known = did_you_mean(name, self._outputs)
                self._found.add("malformed", f'`sets` names "{name}", which is not an output{known}', node.keys[name])
        return {name: str(target.value) for name, target in node.value.items()}

    # rows

    def _row(self, node: Node) -> Row:
        check_keys(node, _ROW_KEYS, "a row", self._found)
        row_id = text_of(node, "id") or ""
        self._found.require(row_id, "malformed", "a row needs an `id`", node.place)
        when, cells = self._conditions(node)
        row = Row(
            id=row_id,
            when=when,
            then=self._then(node),
            because=text_of(node, "because") or "",
            place=node.value["id"].place if row_id else node.place,
            body=self._body(node),
            replaces=text_of(node, "replaces"),
            cells=cells,
        )
        self._check_row(row, node)
        return row

    def _check_row(self, row: Row, node: Node) -> None:
        if self._hit == "collect":
            holds = "then" in node.value or "finding" in node.value
            self._found.require(holds, "malformed", f'row "{row.id}" needs `then` or `finding`', row.place)
            return
        if "then" not in node.value:
            self._found.add("malformed", f'row "{row.id}" needs `then`', row.place)
        given = node.value["then"].value if "then" in node.value else self._outputs
        for name in self._outputs:
            # What is given but not legal has been reported already.
            holds = name in given if isinstance(given, dict) else True
            self._found.require(holds, "malformed", f'row "{row.id}" gives no value for output "{name}"', row.place)
        self._found.require(
            row.because, "malformed", f'row "{row.id}" needs `because`: state the reason in one sentence', row.place
        )

    def _conditions(self, node: Node) -> tuple[dict[str, Condition], dict[str, Place]]:
        conditions: dict[str, Condition] = {}
        places: dict[str, Place] = {}
        for name, cell in self._members(node, "when", self._columns, "input").items():
            try:
                conditions[name] = parse_condition(cell)
                places[name] = cell.place
            except CellError as error:
                self._found.add("malformed", error.reason, error.place)
        return conditions, places

    def _then(self, node: Node) -> dict[str, Scalar]:
        then: dict[str, Scalar] = {}
        for name, value in self._members(node, "then", self._outputs, "output").items():
            domain = self._outputs[name]
            if self._is_legal(value.value, domain):
                then[name] = value.value
            else:
                shown = value.value if isinstance(value.value, dict | list) else scalar_words(value.value)
                legal = did_you_mean(value.value, domain.values) if domain.kind == "finite" else f" ({domain.kind})"
                self._found.add("malformed", f'{shown} is not a value of output "{name}"{legal}', value.place)
        return then

    @staticmethod
    def _is_legal(value: Any, domain: Domain) -> bool:
        # The words text and number leave unset open: a null in a row makes the output optional.
        if isinstance(value, dict | list):
            return False
        return domain.contains(value) or (value is None and domain.kind != "finite")

    def _members(self, node: Node, key: str, known: Iterable[str], what: str) -> dict[str, Node]:
        members = node.value.get(key)
        if members is None:
            return {}
        if not self._found.require(
            isinstance(members.value, dict), "malformed", f"`{key}` must be a mapping", members.place
        ):
            return {}
        names = list(known)
        for name in members.value:
            if name not in names:
                hint = did_you_mean(name, names)
                reason = f'table "{self._merged.block.name}" has no {what} "{name}"{hint}'
                self._found.add("malformed", reason, members.keys[name])
        return {name: value for name, value in members.value.items() if name in names}

    def _body(self, node: Node) -> Mapping[str, object]:
        finding = node.value.get("finding")
        if finding is None:
            return {}
        if not self._found.require(
            isinstance(finding.value, dict), "malformed", "`finding` must be a mapping", finding.place
        ):
            return {}
        body: Mapping[str, object] = finding.plain()
        return body

    # examples

    def _example(self, node: Node) -> TableExample:
        example = _EXAMPLE.decode(node, self._found)
        return example or TableExample(None, (), node.place)


def _widened(domain: Domain, name: str, rows: Iterable[Row]) -> Domain:
    unset = any(name in row.then and row.then[name] is None for row in rows)
    if unset and domain.kind == "number":
        return Domain.number(optional=True)
    return Domain.text(optional=True) if unset and domain.kind == "text" else domain
