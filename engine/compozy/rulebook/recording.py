"""Record which rows decide, in memory and, where `COMPOZY_RULES_COVERAGE` names a file, over processes.

A rule set notes its decisions anyway. At its end a process merges them into the file; what a process that was killed
had noted is lost.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import warnings
from collections.abc import Collection, Iterable
from typing import Any, TypeAlias

from compozy.base.output_file import merge_file
from compozy.base.source_file import UnreadableError, read_source
from compozy.errors import UsageError
from compozy.rulebook.rule_records import Rulebook
from compozy.settings.sources import COVERAGE_VARIABLE
from compozy.tables.cells import condition_data
from compozy.tables.decide import RuleSet, rows_of
from compozy.tables.table import Row, Table

# Table, row, and a digest of what the row asks and decides, so that a changed row is not the one that decided.
RowKey: TypeAlias = tuple[str, str, str]

_FORMAT = "compozy_rules_coverage"
_watched: dict[int, RuleSet] = {}


def row_key(table: Table, row: Row) -> RowKey:
    """Return what identifies a row in a recording; examples, reasons and places do not count."""
    sources = {column.name: str(column.source) for column in table.columns}
    when = sorted((sources[name], repr(condition_data(condition))) for name, condition in row.when.items())
    digest = hashlib.sha256(repr((table.hit, when, row.effect())).encode()).hexdigest()
    return (table.id, row.id, digest[:16])


def decided_rows(ruleset: RuleSet) -> set[RowKey]:
    """Return the rows that decided since the rule set was compiled."""
    # A copy, because other threads may decide at the same moment.
    pairs = ((ruleset.tables[name], mask) for name, mask in ruleset.decided.copy())
    return {row_key(table, row) for table, mask in pairs for row in rows_of(table, mask)}


def watched(rulebook: Rulebook) -> Rulebook:
    """Return `rulebook`, whose decisions `write_recording` writes where the variable names a file."""
    if os.environ.get(COVERAGE_VARIABLE):
        if not _watched:
            atexit.register(_write_at_exit)
        _watched.update((id(ruleset), ruleset) for ruleset in (rulebook.ruleset, rulebook.never))
    return rulebook


def write_recording() -> None:
    """Merge what this process recorded into the file that the variable names, if it recorded anything.

    Raises:
        UsageError: the file holds something else, or cannot be written.
    """
    file = os.environ.get(COVERAGE_VARIABLE)
    rows = {key for ruleset in _watched.values() for key in decided_rows(ruleset)}
    if not file or not rows:
        return
    try:
        merge_recording(file, rows)
    except OSError as error:
        raise UsageError(f"{COVERAGE_VARIABLE}: {file} cannot be written: {error.strerror}") from error


def _write_at_exit() -> None:
    try:
        write_recording()
    except UsageError as error:
        warnings.warn(error.message, RuntimeWarning, stacklevel=1)


def merge_recording(file: str, rows: Collection[RowKey]) -> None:
    """Add rows to a recording; a missing file is created.

    Raises:
        UsageError: the file holds something else.
        OSError: it cannot be written.
    """
    merge_file(file, lambda content: _text({*_rows(file, content.decode(errors="replace")), *rows}).encode())


def read_recording(file: str) -> set[RowKey]:
    """Return the rows of a recording.

    Raises:
        UsageError: the file cannot be read, or holds something else.
    """
    try:
        return _rows(file, read_source(file, own=False))
    except UnreadableError as error:
        raise UsageError(f"{file}: {error}", hint=f"{COVERAGE_VARIABLE}=FILE writes one") from error


def _text(rows: Iterable[RowKey]) -> str:
    lines = ",\n".join(json.dumps(row) for row in sorted(rows))
    return f'{{"{_FORMAT}": 1, "rows": [\n{lines}\n]}}\n'


def _rows(file: str, text: str) -> set[RowKey]:
    try:
        content: Any = json.loads(text) if text else {_FORMAT: 1, "rows": []}
        if content[_FORMAT] != 1:
            raise UsageError(f"{file}: a recording of another version of Compozy")
        return {(str(table), str(row), str(digest)) for table, row, digest in content["rows"]}
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{file}: not a recording of rule coverage") from error
