"""`compozy rules`: the rule tables themselves: what there is, whether it holds together, and how it looks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from compozy.cli.completion import tables
from compozy.cli.options import format_option, runs_project_code
from compozy.cli.output import print_json, print_line, print_table, styled
from compozy.cli.places import place_json, relative
from compozy.cli.rulecover import cover
from compozy.cli.rulediff import diff
from compozy.cli.ruleoptions import find_table, pack_folders, rules_options
from compozy.rulebook import Rulebook, RuleCheck, check_rules, load_rulebook
from compozy.rulebook.files import rule_texts
from compozy.settings.faults import report_lines, severity
from compozy.tables.cells import condition_data
from compozy.tables.report import Report
from compozy.tables.table import Domain, Table

if TYPE_CHECKING:
    from compozy.tables.graph import Graph

INVALID = 3


@click.group(name="rules")
def command() -> None:
    """List, show, verify, measure, compare and draw the rule tables."""


command.add_command(diff)
command.add_command(cover)


@command.command(name="list", epilog="Example: compozy rules list --rules ./my-pack")
@rules_options
@format_option()
def list_(format_: str, **where: Any) -> None:
    """List the tables: stage, hit policy, rows and what each decides."""
    tables = load_rulebook(pack_folders(**where)).ruleset.tables.values()
    if format_ == "json":
        print_json({"tables": [_summary(table) for table in tables]})
        return
    rows = [(table.id, table.stage, table.hit, str(len(table.rows)), table.about) for table in tables]
    print_table(rows, ("TABLE", "STAGE", "HIT", "ROWS", "ABOUT"))


def _summary(table: Table) -> dict[str, Any]:
    return {
        "id": table.id,
        "stage": table.stage,
        "hit": table.hit,
        "rows": len(table.rows),
        "about": table.about,
        "where": place_json(table.place),
    }


@command.command(epilog="Example: compozy rules show redis.driver")
@rules_options
@format_option()
@click.argument("table", shell_complete=tables)
def show(table: str, format_: str, **where: Any) -> None:
    """Show TABLE: its inputs, rows and reasons."""
    found = find_table(load_rulebook(pack_folders(**where)), table)
    if format_ == "json":
        print_json(table_json(found))
        return
    from compozy.tables.draw import table_text

    print_line(table_text(found))


def table_json(table: Table) -> dict[str, Any]:
    """Return everything about a table as plain data; conditions as in the rule files."""
    return {
        **_summary(table),
        "for_each": table.for_each,
        "inputs": {column.name: str(column.source) for column in table.columns},
        "outputs": {name: _domain_json(domain) for name, domain in table.outputs.items()},
        "sets": dict(table.sets),
        "rows": [
            {
                "id": row.id,
                "when": {name: condition_data(condition) for name, condition in row.when.items()},
                "then": dict(row.then),
                "because": row.because,
                "finding": dict(row.body) or None,
                "where": place_json(row.place),
            }
            for row in table.rows
        ],
    }


def _domain_json(domain: Domain) -> Any:
    return [*domain.values, *([None] if domain.optional else [])] if domain.values else domain.kind


@command.command(epilog="Example: compozy rules check --rules ./my-pack")
@rules_options
@format_option()
@runs_project_code
def check(format_: str, **where: Any) -> int:
    """Verify all tables, rows and packs as one. The exit code is 3 when something is wrong."""
    result = check_rules(rule_texts(pack_folders(**where)))
    began = time.perf_counter()
    reports = [*result.reports, *_trial(result)]
    times = {"verified_ms": result.took_s * 1e3, "tried_ms": (time.perf_counter() - began) * 1e3}
    valid = all(severity(report) != "error" for report in reports)
    if format_ == "json":
        _print_check_json(result, reports, valid, times)
    else:
        _print_check(result, reports, valid, times)
    return 0 if valid else INVALID


def _trial(result: RuleCheck) -> Iterator[Report]:
    """Try the rules out, unless they do not even hold together."""
    if result.rulebook is None or not result.valid:
        return
    from compozy.ruletrial import trial_reports

    yield from trial_reports(result.rulebook)


def _print_check_json(result: RuleCheck, reports: Sequence[Report], valid: bool, times: Mapping[str, float]) -> None:
    print_json(
        {
            "valid": valid,
            "tables": result.tables,
            "rows": result.rows,
            "findings": [report_json(report) for report in reports],
            **{name: round(time_ms, 1) for name, time_ms in times.items()},
        }
    )


def report_json(report: Report) -> dict[str, Any]:
    """Return a report in the form of the command line's findings."""
    return {
        "id": report.kind,
        "severity": severity(report),
        "message": report.message,
        "table": report.table,
        "where": place_json(report.places[0]) if report.places else None,
        "also": [place_json(place) for place in report.places[1:]],
        "witness": report.witness,
        "proposal": report.proposal,
        "shown": report.shown,
        "total": report.total,
    }


def _print_check(result: RuleCheck, reports: Sequence[Report], valid: bool, times: Mapping[str, float]) -> None:
    for report in reports:
        place_and_kind, *rest = (relative(line) for line in report_lines(report))
        print_line("\n".join([styled(place_and_kind, severity(report)), *rest]) + "\n")
    count = "1 finding" if len(reports) == 1 else f"{len(reports)} findings"
    verdict = styled("valid", "ok") if valid else styled("not valid", "error") + f": {count} in"
    counts = f"{result.tables} tables, {result.rows} rows"
    took = f"verified in {times['verified_ms']:.1f} ms, tried out in {times['tried_ms']:.0f} ms"
    print_line(f"{verdict}{':' if valid else ''} {counts} ({took})")


@command.command(epilog="Example: compozy rules graph --what tables --format svg > tables.svg")
@rules_options
@click.option(
    "--format", "format_", type=click.Choice(["mermaid", "dot", "svg", "json"]), default="mermaid", show_default=True,
    help="Form of the picture.",
)  # fmt: skip
@click.option(
    "--what", type=click.Choice(["lifecycle", "tables"]), default="lifecycle", show_default=True,
    help="The state machine, or which table reads which.",
)  # fmt: skip
@click.option("--inputs", is_flag=True, help="With --what tables: also settings and machine facts.")
def graph(format_: str, what: str, inputs: bool, **where: Any) -> None:
    """Draw the state machine or the dependencies of the tables."""
    from compozy.tables.draw import graph_dot, graph_mermaid, graph_svg, table_graph

    rulebook = load_rulebook(pack_folders(**where))
    tables = rulebook.ruleset.tables.values()
    drawn = lifecycle_graph(rulebook) if what == "lifecycle" else table_graph(tables, inputs=inputs)
    if format_ == "json":
        print_json(_graph_json(drawn))
        return
    draw = {"mermaid": graph_mermaid, "dot": graph_dot, "svg": graph_svg}[format_]
    print_line(draw(drawn).rstrip())


def lifecycle_graph(rulebook: Rulebook) -> Graph:
    """Return the state machine; an edge names its trigger and the stages of the tables that decide it."""
    from compozy.tables.graph import Edge, Graph, Node

    lifecycle = rulebook.lifecycle
    nodes = tuple(Node(state, state, "round") for state in lifecycle.states)
    edges = tuple(Edge(row.source, row.target, _label(row.trigger, row.stages)) for row in lifecycle.transitions)
    return Graph("Lifecycle", nodes, edges)


def _label(trigger: str, stages: Sequence[str]) -> str:
    others = [stage for stage in stages if stage != trigger]
    return f"{trigger} ({', '.join(others)})" if others else trigger


def _graph_json(graph: Graph) -> dict[str, Any]:
    return {
        "title": graph.title,
        "nodes": [{"id": node.id, "label": node.label} for node in graph.nodes],
        "edges": [{"from": edge.source, "to": edge.target, "label": edge.label} for edge in graph.edges],
    }
