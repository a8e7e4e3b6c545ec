"""`compozy rules diff`: print the regions in which two versions of the rules decide differently."""

from __future__ import annotations

from os.path import isdir, isfile
from typing import TYPE_CHECKING

import click

from compozy.base.findings import Finding
from compozy.base.place import Origin
from compozy.cli.finding_formats import sarif_log
from compozy.cli.options import format_option
from compozy.cli.output import print_document, print_json, print_line, styled
from compozy.cli.places import place_json, relative
from compozy.cli.rulefiles import read_valid
from compozy.errors import UsageError
from compozy.tables.cells import condition_data, scalar_words
from compozy.tables.table import Row

if TYPE_CHECKING:
    from compozy.decisions import Decisions
    from compozy.tables.difference import Comparison, TableDifference

DIFFERENT = 1


@click.command(epilog="Example: compozy rules diff HEAD~1:rules ./rules; compozy rules diff old.dmn new.dmn")
@click.argument("old")
@click.argument("new")
@format_option("text", "json", "sarif")
def diff(old: str, new: str, format_: str) -> int:
    """Show where the rules NEW decide otherwise than the rules OLD.

    Each is `shipped`, a folder of rule files (a pack counts on top of the shipped rules), or REVISION:FOLDER of the
    git repository around the working directory; or both are decision files or DMN models, on disk or as REVISION:FILE.
    The exit code is 0 when both decide alike, 1 when not.
    """
    found = _compared_files(old, new) if _are_files(old, new) else _compared_versions(old, new)
    {"text": _print_text, "json": _print_json, "sarif": _print_sarif}[format_](found)
    return 0 if found.same else DIFFERENT


def _are_files(old: str, new: str) -> bool:
    """Return whether both names are those of decision files.

    Raises:
        UsageError: one is a decision file, the other is not.
    """
    from compozy.decisions import DECISION_ENDINGS

    # The ending decides where nothing exists, so that the missing file is the one that the error names.
    kinds = {isfile(name) or (not isdir(name) and name.casefold().endswith(DECISION_ENDINGS)) for name in (old, new)}
    if len(kinds) > 1:
        raise UsageError(f"{old} and {new} cannot be compared", hint="name two decision files, or two folders of rules")
    return kinds == {True}


def _compared_versions(old: str, new: str) -> Comparison:
    from compozy.rulebook.versions import compare_versions, read_version

    return compare_versions(read_version(old), read_version(new))


def _compared_files(old: str, new: str) -> Comparison:
    from compozy.decisions import compare_decisions

    return compare_decisions(_read_file(old), _read_file(new))


def _read_file(name: str) -> Decisions:
    from compozy.rulebook.versions import in_revision, revision_file

    return read_valid(name, revision_file(name) if in_revision(name) else None)


def _kind(difference: TableDifference) -> str:
    if difference.old is None:
        return "decision-added"
    return "decision-removed" if difference.new is None else "decision-changed"


def _print_text(found: Comparison) -> None:
    for name in found.removed:
        print_line(f'{styled("table-removed", "warning")}: table "{name}"\n')
    for name in found.added:
        print_line(f'{styled("table-added", "warning")}: table "{name}"\n')
    for difference in found.differences:
        print_line(_text(difference) + "\n")
    for name in found.cut:
        print_line(f'table "{name}" may differ in more regions than are listed\n')
    count = len(found.differences)
    regions = "1 region differs" if count == 1 else f"{count} regions differ"
    print_line("same: both decide alike" if found.same else f"different: {regions}, {_tables(found)}")


def _tables(found: Comparison) -> str:
    return f"{len(found.added)} tables added, {len(found.removed)} removed"


def _text(difference: TableDifference) -> str:
    head = f'{styled(_kind(difference), "warning")}: table "{difference.table}" for {difference.region}'
    note = [] if difference.proven else ["  it may be unreachable: too many combinations to prove"]
    rows = [f"  old: {_row_text(difference.old)}", f"  new: {_row_text(difference.new)}"]
    witness = [f"    {line}" for line in difference.witness.splitlines()]
    return "\n".join([head, *note, *rows, "  for example:", *witness])


def _row_text(row: Row | None) -> str:
    if row is None:
        return "no row"
    outputs = ", ".join(f"{name}: {scalar_words(value)}" for name, value in row.then.items())
    return f"row {row.id} ({relative(str(row.place))}) {outputs or row.body.get('text', '')}".rstrip()


def _print_json(found: Comparison) -> None:
    print_json(
        {
            "same": found.same,
            "added": [*found.added],
            "removed": [*found.removed],
            "more": [*found.cut],
            "differences": [_json(difference) for difference in found.differences],
        }
    )


def _json(difference: TableDifference) -> dict[str, object]:
    return {
        "id": _kind(difference),
        "table": difference.table,
        "when": {name: condition_data(condition) for name, condition in difference.when.items()},
        "old": _row_json(difference.old),
        "new": _row_json(difference.new),
        "witness": difference.witness,
        "proven": difference.proven,
    }


def _row_json(row: Row | None) -> dict[str, object] | None:
    if row is None:
        return None
    return {"row": row.id, "then": dict(row.then), "finding": dict(row.body) or None, "where": place_json(row.place)}


def _print_sarif(found: Comparison) -> None:
    findings = [_finding(difference) for difference in found.differences]
    findings += [_table_finding("table-added", name) for name in found.added]
    findings += [_table_finding("table-removed", name) for name in found.removed]
    print_document(sarif_log(findings, ""))


def _finding(difference: TableDifference) -> Finding:
    rows = f"old: {_row_text(difference.old)}; new: {_row_text(difference.new)}"
    row = difference.new or difference.old
    where = Origin("file", row.place) if row is not None else Origin("default")
    message = f'table "{difference.table}" for {difference.region}: {rows}'
    name = f"{difference.table}/{row.id}" if row is not None else difference.table
    return Finding(_kind(difference), "warning", message, "", difference.table, where, name)


def _table_finding(kind: str, table: str) -> Finding:
    return Finding(kind, "warning", f'{kind.replace("-", " ")}: "{table}"', "", table, Origin("default"), table)
