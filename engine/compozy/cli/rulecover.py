"""`compozy rules cover`: which rows of the rules decided in examples, tests and live runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Unpack

import click

from compozy.cli.output import json_text, print_line, table_lines, write_output
from compozy.cli.places import place_json, relative
from compozy.cli.ruleoptions import RuleOptions, pack_folders, rules_options
from compozy.rulebook import load_rulebook
from compozy.settings.sources import COVERAGE_VARIABLE

if TYPE_CHECKING:
    from compozy.trial.row_coverage import Coverage, CoveredTable

BELOW = 1


def _refuse_nan(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    # A range of click accepts NaN, which no percentage reaches.
    if value is not None and isnan(value):
        raise click.BadParameter("nan is not in the range 0<=x<=100.", context, parameter)
    return value


@click.command(epilog="Example: compozy rules cover --rules ./my-pack --min 90 --format html --output cover.html")
@rules_options
@click.option(
    "--data", metavar="FILE", multiple=True,
    help=f"Recording of tests or live runs; may be repeated. Default: the file that {COVERAGE_VARIABLE} names.",
)  # fmt: skip
@click.option("--examples/--no-examples", default=True, show_default=True, help="Run the examples of the rules.")
@click.option(
    "--shipped/--no-shipped", default=None,
    help="Count the rows of the shipped rules. Default: only where no rule pack is in force.",
)  # fmt: skip
@click.option(
    "--min", "minimum", type=click.FloatRange(0, 100), callback=_refuse_nan, metavar="PERCENT",
    help="Fail when fewer rows decided. Default: no threshold.",
)  # fmt: skip
@click.option(
    "--format", "format_", type=click.Choice(["text", "json", "html"]), default="text", show_default=True,
    help="Form of the report.",
)  # fmt: skip
@click.option("--output", metavar="FILE", help="File to write the report to. Default: standard output.")
def cover(
    data: Sequence[str], examples: bool, shipped: bool | None, minimum: float | None, format_: str,
    output: str | None, **where: Unpack[RuleOptions],
) -> int:  # fmt: skip
    """Show which rows of the rules decided, and which never did.

    Rows decide in the examples of the rules and in recordings. A process records in the file that the variable
    COMPOZY_RULES_COVERAGE names; `pytest --compozy-cover` records tests. The exit code is 1 below --min.
    """
    packs = pack_folders(**where)
    coverage = measured(
        packs, data or _default_data(), examples=examples, shipped=not packs if shipped is None else shipped
    )
    render: Mapping[str, Callable[[Coverage, float | None], str]] = {"text": cover_text, "json": _json, "html": _html}
    report = render[format_](coverage, minimum)
    if output is None:
        print_line(report)
    else:
        write_output(output, report)
    return 0 if minimum is None or coverage.percent >= minimum else BELOW


def _default_data() -> list[str]:
    file = os.environ.get(COVERAGE_VARIABLE)
    return [file] if file and os.path.exists(file) else []


def measured(packs: Sequence[str], data: Sequence[str], *, examples: bool, shipped: bool) -> Coverage:
    """Return what decided in the examples of the rules in force and in recordings.

    Raises:
        UsageError: a file of `data` is not a recording.
        RuleTableError: the rules cannot be used.
    """
    from compozy.rulebook.recording import read_recording
    from compozy.trial.row_coverage import EXAMPLES, measure, rows_in_examples

    rulebook = load_rulebook(tuple(packs))
    recorded = {relative(os.path.abspath(file)): read_recording(file) for file in data}
    tried = {EXAMPLES: rows_in_examples(rulebook)} if examples else {}
    return measure(rulebook, {**tried, **recorded}, shipped=shipped)


def cover_text(coverage: Coverage, minimum: float | None) -> str:
    """Return the report for a terminal: a line for each table, the rows that never decided, the total."""
    header = ("TABLE", "ROWS", "DECIDED", *(source.upper() for source in coverage.sources))
    lines = table_lines([_line(coverage, table) for table in coverage.tables], header)
    never = [(table, row) for table in coverage.tables for row in table.never]
    if never:
        lines += ["", "never decided:"]
        lines += [f"  {relative(str(row.place))}: {table.table.id}/{row.id}" for table, row in never]
    return "\n".join([*lines, "", summary(coverage, minimum)])


def _line(coverage: Coverage, covered: CoveredTable) -> tuple[str, ...]:
    by_source = (str(covered.decided(source)) for source in coverage.sources)
    rows = len(covered.rows)
    return (covered.table.id, str(rows), str(rows - len(covered.never)), *by_source)


def summary(coverage: Coverage, minimum: float | None) -> str:
    """Return the total in one line."""
    total = f"{coverage.decided} of {coverage.rows} rows decided ({coverage.percent:.1f} %)"
    if minimum is None:
        return total
    return f"{total}, {'below' if coverage.percent < minimum else 'at least'} {minimum:g} %"


def _json(coverage: Coverage, minimum: float | None) -> str:
    report = {
        "format_version": 1,
        "rows": coverage.rows,
        "decided": coverage.decided,
        "percent": coverage.percent,
        "minimum": minimum,
        "sources": [*coverage.sources],
        "tables": [_table_json(table) for table in coverage.tables],
    }
    return json_text(report)


def _table_json(covered: CoveredTable) -> dict[str, object]:
    rows = [{"id": one.row.id, "by": [*one.by], "where": place_json(one.row.place)} for one in covered.rows]
    decided = len(covered.rows) - len(covered.never)
    return {"id": covered.table.id, "rows": len(covered.rows), "decided": decided, "listed": rows}


def _html(coverage: Coverage, minimum: float | None) -> str:
    from compozy.cli.coverpage import cover_page

    return cover_page(coverage, summary(coverage, minimum))
