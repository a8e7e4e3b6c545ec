"""Express rows that refuse a configuration as `if` and `then` of a JSON Schema.

A row that depends on the machine or the disk, or compares two settings, has no schema and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from compozy.base.record import dataclass
from compozy.rulebook.rule_records import Rulebook
from compozy.schema.value_schema import (
    NEVER,
    VARIABLE,
    Schema,
    all_of,
    any_of,
    holds_unwritten,
    none_of,
    unset,
    written,
)
from compozy.settings.registry import Setting
from compozy.tables.table import Column, Condition, Row, Table

_REFUSING = "error"


@dataclass(slots=True)
class Constraints:
    """The refusals of the rules, as schemas.

    `whole` are constraints on the document, `single` on one setting by its path, `definitions` what the former
    refer to. `rows` are the ids of the findings that are covered.
    """

    whole: list[Schema] = field(default_factory=list)
    single: dict[str, list[Schema]] = field(default_factory=dict)
    definitions: dict[str, Schema] = field(default_factory=dict)
    rows: set[str] = field(default_factory=set)


def constraints(rulebook: Rulebook) -> Constraints:
    """Return everything that the rows with severity `error` refuse, as far as a schema can express it."""
    writer = _Writer(rulebook)
    for table in rulebook.ruleset.tables.values():
        for row in table.rows:
            if row.body.get("severity") == _REFUSING:
                writer.row(table, row)
    return writer.found


class _Writer:
    def __init__(self, rulebook: Rulebook) -> None:
        self.found = Constraints()
        self._tables = rulebook.ruleset.tables
        self._registry = rulebook.registry

    def row(self, table: Table, row: Row) -> None:
        """Add the refusal of one row."""
        columns = [column for column in table.columns if column.name in row.when]
        settings = {column.source.ref for column in columns}
        if len(settings) == 1 and all(column.source.kind == "setting" for column in columns):
            self._single(settings.pop(), columns, row)
            return
        decided = [column for column in columns if column.source.kind == "decision"]
        ifs = [self._column(column, row) for column in decided]
        thens = self._conditions(table, row, [column for column in columns if column not in decided])
        known_ifs, known_thens = [one for one in ifs if one], [one for one in thens if one]
        if len(known_ifs) < len(ifs) or len(known_thens) < len(thens):
            return
        self._refuse(row, known_ifs, known_thens)

    def _refuse(self, row: Row, ifs: list[Schema], thens: list[Schema]) -> None:
        refused = none_of(all_of(thens)) if thens else NEVER
        comment = {"$comment": f"{row.id}: {str(row.body['text']).splitlines()[0]}"}
        self.found.whole.append({**comment, "if": all_of(ifs), "then": refused} if ifs else {**comment, **refused})
        self.found.rows.add(row.id)

    def _single(self, path: str, columns: list[Column], row: Row) -> None:
        """Add the refusal of a row on one setting; the values of a choice are in its `enum` already."""
        setting = self._registry.settings[path]
        if setting.type != "choice":
            accepted = [_accepted(setting, column, row) for column in columns]
            known = [one for one in accepted if one]
            if len(known) < len(accepted):
                return
            self.found.single.setdefault(path, []).append(any_of([*known, VARIABLE, unset(setting)]))
        self.found.rows.add(row.id)

    def _conditions(self, table: Table, row: Row, columns: list[Column]) -> list[Schema | None]:
        """Return the conditions on settings; those on an element of a list hold for one element together."""
        listed = self._registry.settings.get(table.for_each or "")
        others = [self._column(column, row) for column in columns if column.source.kind != "item"]
        items = [column for column in columns if column.source.kind == "item"]
        if not items or listed is None:
            return [*others, *(None for _ in items)]
        wanted = [self._item(listed, column, row.condition(column.name)) for column in items]
        known = [one for one in wanted if one]
        if len(known) < len(wanted):
            return [None]
        return [*others, self._somewhere(listed.path, {"type": "array", "contains": all_of(known)})]

    def _item(self, listed: Setting, column: Column, condition: Condition) -> Schema | None:
        item = listed.items[column.source.ref]
        found = written(item, column.source.view, condition)
        if found is None or holds_unwritten(item, column.source.view, condition):
            return None
        return any_of([nested(spelled, found) for spelled in (item.path, *item.aliases)])

    def _column(self, column: Column, row: Row) -> Schema | None:
        return self._holds(column, row.condition(column.name))

    def _holds(self, column: Column, condition: Condition) -> Schema | None:
        source = column.source
        if source.kind == "decision":
            return self._decided(self._tables[source.ref], source.output, condition)
        setting = self._registry.settings.get(source.ref)
        if source.kind != "setting" or setting is None:
            return None
        found = written(setting, source.view, condition)
        if found is None:
            return None
        ways = [self._somewhere(setting.path, found)]
        if holds_unwritten(setting, source.view, condition):
            ways.append(none_of(self._somewhere(setting.path, none_of(unset(setting)))))
        return any_of(ways)

    def _somewhere(self, path: str, schema: Schema) -> Schema:
        """Return the documents in which `path` has such a value, however it is spelled."""
        spellings = [spelled for spelled, meant in self._registry.spelled.items() if meant == path]
        return any_of([nested(spelled, schema) for spelled in spellings])

    def _decided(self, table: Table, output: str | None, condition: Condition) -> Schema | None:
        """Return the documents for which a table decides a value of which `condition` holds."""
        name = output or next(iter(table.outputs))
        ways = [self._fires(table, row) for row in table.rows if condition.matches(row.then.get(name))]
        known = [way for way in ways if way is not None]
        return (any_of(known) if known else NEVER) if len(known) == len(ways) else None

    def _fires(self, table: Table, row: Row) -> Schema | None:
        """Return a reference to the documents for which a row decides."""
        name = f"{table.id}.{row.id}"
        if name not in self.found.definitions:
            cells = [self._holds(column, row.condition(column.name)) for column in _cells(table, row)]
            cells += [self._fails(table, other) for other in _before(table, row)]
            wanted = [cell for cell in cells if cell is not None]
            if len(wanted) < len(cells):
                return None
            about = {"$comment": f"row {row.id} of table {table.id} decides"}
            self.found.definitions[name] = about | (all_of(wanted) if wanted else {})
        return {"$ref": f"#/$defs/{name}"}

    def _fails(self, table: Table, row: Row) -> Schema | None:
        """Return the documents for which a row does not decide, for any values of variables."""
        cells = [self._holds(column, row.condition(column.name).inverted()) for column in _cells(table, row)]
        known = [cell for cell in cells if cell is not None]
        return (any_of(known) if known else NEVER) if len(known) == len(cells) else None


def _cells(table: Table, row: Row) -> Iterator[Column]:
    return (column for column in table.columns if column.name in row.when)


def _before(table: Table, row: Row) -> Iterator[Row]:
    """Yield the rows that decide before this one."""
    if table.hit == "first":
        yield from table.rows[: table.rows.index(row)]


def _accepted(setting: Setting, column: Column, row: Row) -> Schema | None:
    """Return the values for which the cell of a row does not hold."""
    condition = row.condition(column.name)
    straight = written(setting, column.source.view, condition.inverted())
    if straight is not None:
        return straight
    refused = written(setting, column.source.view, condition)
    return none_of(refused) if refused else None


def nested(path: str, schema: Schema) -> Schema:
    """Return the documents that have a value of `schema` at a dotted path."""
    for key in reversed(path.split(".")):
        schema = {"type": "object", "required": [key], "properties": {key: schema}}
    return schema
