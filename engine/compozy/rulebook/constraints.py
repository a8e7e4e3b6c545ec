"""Constraints: combinations of settings that the rules exclude, read from `never` into a table of their own.

The conditions are those of the decision tables, on the accepted values of settings as sources give them. Values that
tables derive do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from compozy.base.document import Node, Scalar
from compozy.base.findings import Collector
from compozy.base.place import Place
from compozy.base.suggest import did_you_mean
from compozy.rulebook.domains import normalised
from compozy.rulebook.representatives import NAMED_BY_THE_DIRECTORY
from compozy.rulebook.rule_records import NEVER as NEVER
from compozy.settings.registry import CONTAINERS, Registry, Setting
from compozy.tables.cells import CellError, condition_words, parse_condition
from compozy.tables.table import Column, ColumnSource, Condition, Row, Table

# The finding of a violated constraint.
EXCLUDED = "settings.excluded"
_BECAUSE = "because"


def read_constraints(documents: Iterable[Node], registry: Registry, faults: Collector) -> Table:
    """Read the constraints of all files into a table of hit policy `collect`; every fault is noted."""
    nodes = [node for document in documents if NEVER in document.value for node in _listed(document.value[NEVER])]
    rows = tuple(row for node in nodes if (row := _row(node, registry, faults)))
    places = {path: place for row in rows for path, place in row.cells.items()}
    columns = tuple(Column(path, ColumnSource("setting", path), place) for path, place in places.items())
    about = "Combinations of settings that are excluded."
    place = nodes[0].place if nodes else Place("", 0, 0)
    return Table(NEVER, NEVER, "collect", about, None, columns, {}, {}, rows, place)


def _listed(node: Node) -> list[Node]:
    return node.value if isinstance(node.value, list) else [node]


def _row(node: Node, registry: Registry, faults: Collector) -> Row | None:
    wanted = "a constraint maps settings to conditions"
    if not faults.require(isinstance(node.value, dict), "malformed", wanted, node.place):
        return None
    cells = {path: cell for path, cell in node.value.items() if path != _BECAUSE}
    if not faults.require(cells, "malformed", wanted, node.place):
        return None
    before = len(faults.findings)
    when = {path: found for path, cell in cells.items() if (found := _condition(path, cell, registry, faults))}
    because = node.value[_BECAUSE].value if _BECAUSE in node.value else ""
    faults.require(isinstance(because, str), "malformed", "`because` of a constraint must be text", node.place)
    # Without the cell that has a fault, the constraint would exclude more than was meant.
    if len(faults.findings) > before:
        return None
    words = ", ".join(f"{path}: {condition_words(condition)}" for path, condition in when.items())
    return Row(words, when, {}, because, node.place, cells={path: cell.place for path, cell in cells.items()})


def _condition(path: str, cell: Node, registry: Registry, faults: Collector) -> Condition | None:
    setting = registry.settings.get(path)
    if setting is None:
        message = f"a constraint names the setting {path}, which does not exist{did_you_mean(path, registry.settings)}"
        faults.add("unknown-setting", message, cell.place)
        return None
    message = f"a constraint cannot read {path}, {_obstacle(setting)}"
    faults.require(not _obstacle(setting), "malformed", message, cell.place)
    try:
        return parse_condition(cell)
    except CellError as error:
        faults.add("malformed", error.reason, error.place)
        return None


def _obstacle(setting: Setting) -> str:
    if setting.path == NAMED_BY_THE_DIRECTORY or (setting.type == "path" and setting.default is not None):
        return "whose default depends on the directory"
    return f"which is a {setting.type}" if setting.type in CONTAINERS else ""


def _default(setting: Setting) -> Scalar:
    return None if setting.default is None else normalised(setting, setting.default)


def check_constraints(table: Table, settings: Mapping[str, Setting], faults: Collector) -> None:
    """Note every constraint that excludes a configuration in which none of its settings is given."""
    for row in table.rows:
        if all(condition.matches(_default(settings[path])) for path, condition in row.when.items()):
            message = f'the constraint "{row.id}" excludes the defaults of its settings, and with them an empty file'
            faults.add("bad-constraint", message, row.place, key=NEVER)
