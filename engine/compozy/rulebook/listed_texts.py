"""Report texts in conditions that never match, because the setting normalises them to another value."""

from __future__ import annotations

from collections.abc import Iterator

from compozy.base.findings import Collector
from compozy.rulebook.domains import normalised, setting_domain
from compozy.rulebook.rule_records import Rulebook
from compozy.settings.registry import Registry, Setting
from compozy.tables.cells import scalar_words
from compozy.tables.table import ColumnSource, Condition, Table


def check_listed_texts(rulebook: Rulebook, faults: Collector) -> None:
    """Report every listed text that normalisation changes: capitals, blanks, synonyms, relative paths."""
    for table in rulebook.ruleset.tables.values():
        _check_table(table, rulebook.registry, faults)


def _check_table(table: Table, registry: Registry, faults: Collector) -> None:
    read = {column.name: _setting(registry, column.source) for column in table.columns}
    for row in table.rows:
        for name, condition in row.when.items():
            for text, reason in _misread(read[name], condition):
                message = f'row "{row.id}": {scalar_words(text)} is not a value of input "{name}"; {reason}'
                place = row.cells.get(name, row.place)
                faults.add("unknown-value", f'table "{table.id}": {message}', place, key=table.id)


def _setting(registry: Registry, source: ColumnSource) -> Setting | None:
    """Return the setting whose value a source reads as it is; None for views, decisions and facts."""
    if source.view is not None or source.kind not in ("setting", "item"):
        return None
    setting = registry.settings.get(source.each or source.ref)
    return setting.items.get(source.ref) if setting is not None and source.kind == "item" else setting


def _misread(setting: Setting | None, condition: Condition) -> Iterator[tuple[str, str]]:
    domain = setting_domain(setting) if setting is not None else None
    if setting is None or domain is None:
        return
    # A text outside the domain is reported where tables are linked.
    for text in (value for value in condition.values if isinstance(value, str) and domain.contains(value)):
        read = normalised(setting, text)
        if read != text:
            absolute = setting.type == "path"
            yield text, "paths are absolute: use a view" if absolute else f"it is read as {scalar_words(read)}"
