"""`compozy rules`: the rule tables themselves: what there is, whether it holds together, and how it looks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

import click

from compozy.base.findings import ERROR, Finding
from compozy.base.record import dataclass
from compozy.cli.completion import FILE, tables
from compozy.cli.finding_formats import FORMATS, print_checked
from compozy.cli.options import format_option, runs_project_code
from compozy.cli.output import print_json, print_line, print_table, styled
from compozy.cli.places import place_json, relative, relative_finding
from compozy.cli.rulecases import cases
from compozy.cli.rulecover import cover
from compozy.cli.rulediff import diff
from compozy.cli.rulefiles import export, finding_text, import_, refuse_packs, rule_findings
from compozy.cli.rulefix import fixed_files, fixed_packs
from compozy.cli.ruleoptions import RuleOptions, find_table, pack_folders, rules_options
from compozy.cli.rulesimplify import simplify
from compozy.rulebook import Rulebook, check_rules, load_rulebook
from compozy.rulebook.files import rule_texts
from compozy.tables.cells import condition_data
from compozy.tables.table import Table

if TYPE_CHECKING:
    from compozy.client.finding_answers import RulesReport
    from compozy.graph.graph import Graph
    from compozy.tables.rowfiles import AddedRow

INVALID = 3


@click.group(name="rules")
def command() -> None:
    """List, show, verify, test, compare, simplify, draw, import and export the rule tables."""


command.add_command(diff)
command.add_command(cover)
command.add_command(cases)
command.add_command(import_)
command.add_command(export)
command.add_command(simplify)


@command.command(name="list", epilog="Example: compozy rules list --rules ./my-pack")
@rules_options
@format_option()
def list_(format_: str, **where: Unpack[RuleOptions]) -> None:
    """List the tables: stage, hit policy, rows and what each decides."""
    tables = load_rulebook(pack_folders(**where)).tables.values()
    if format_ == "json":
        print_json({"tables": [_summary(table) for table in tables]})
        return
    rows = [(table.id, table.stage, table.hit, str(len(table.rows)), table.about) for table in tables]
    print_table(rows, ("TABLE", "STAGE", "HIT", "ROWS", "ABOUT"))


def _summary(table: Table) -> dict[str, object]:
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
def show(table: str, format_: str, **where: Unpack[RuleOptions]) -> None:
    """Show TABLE: its inputs, rows and reasons."""
    found = find_table(load_rulebook(pack_folders(**where)), table)
    if format_ == "json":
        print_json(table_json(found))
        return
    from compozy.tables.draw import table_text

    print_line(table_text(found))


def table_json(table: Table) -> dict[str, object]:
    """Return everything about a table as plain data; conditions as in the rule files."""
    return {
        **_summary(table),
        "for_each": table.for_each,
        "inputs": {column.name: str(column.source) for column in table.columns},
        "outputs": {name: domain.listed if domain.values else domain.kind for name, domain in table.outputs.items()},
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


@command.command(epilog="Example: compozy rules check --rules ./my-pack; compozy rules check loan.dmn")
@rules_options
@format_option(*FORMATS)
@click.option("--fix", is_flag=True, help="Write the proposed row of each gap into your rule files, then verify again.")
@click.argument("files", metavar="[FILE]...", nargs=-1, type=FILE)
@runs_project_code
def check(files: Sequence[str], fix: bool, format_: str, **where: Unpack[RuleOptions]) -> int:
    """Verify all tables, rows and packs as one. The exit code is 3 when something is wrong.

    With FILE, a decision file or a DMN model, the tables of each file are verified by themselves. A row that --fix
    writes decides as the nearest row does: read it, and add the reason.
    """
    if files:
        refuse_packs(where)
    added = (fixed_files(files) if files else fixed_packs(pack_folders(**where))) if fix else []
    result = _check_files(files) if files else _check_rules(where)
    from compozy.rulebook.verification import KINDS

    findings = [relative_finding(finding) for finding in result.findings]

    def report() -> RulesReport:
        return _report(result, added, findings)

    print_checked(format_, findings, report, lambda: _print_check(result, added), about=KINDS)
    return 0 if result.valid else INVALID


@dataclass(frozen=True, slots=True)
class _Checked:
    """The verified rules and the findings; times in milliseconds."""

    findings: Sequence[Finding]
    tables: int
    rows: int
    verified_ms: float
    tried_ms: float | None

    @property
    def valid(self) -> bool:
        """True without errors; warnings are accepted."""
        return all(finding.severity != ERROR for finding in self.findings)


def _check_rules(where: RuleOptions) -> _Checked:
    """Verify the rules in force, and try them out unless they do not even hold together."""
    result = check_rules(rule_texts(pack_folders(**where)))
    began = time.perf_counter()
    findings = [*result.findings]
    if result.rulebook is not None and result.valid:
        from compozy.trial.rules import confirmed_findings, trial_findings

        findings = [*confirmed_findings(result.rulebook, findings), *trial_findings(result.rulebook)]
    tried_ms = (time.perf_counter() - began) * 1e3
    return _Checked(findings, result.tables, result.rows, result.took_s * 1e3, tried_ms)


def _check_files(files: Sequence[str]) -> _Checked:
    from compozy.decisions import read_decisions, verify_decisions

    read = [read_decisions(file) for file in files]
    began = time.perf_counter()
    found = [verify_decisions(decisions) for decisions in read]
    took_ms = (time.perf_counter() - began) * 1e3
    findings = [finding for verified in found for finding in verified.findings]
    return _Checked(findings, sum(v.tables for v in found), sum(v.rows for v in found), took_ms, None)


def _report(result: _Checked, added: Sequence[AddedRow], findings: Sequence[Finding]) -> RulesReport:
    from compozy.client.finding_answers import AddedRowAnswer, RulesReport

    return RulesReport(
        valid=result.valid,
        tables=result.tables,
        rows=result.rows,
        added=[AddedRowAnswer(table=row.table, file=relative(row.file), row=row.row) for row in added],
        verified_ms=round(result.verified_ms, 1),
        tried_ms=None if result.tried_ms is None else round(result.tried_ms, 1),
        findings=rule_findings(findings),
    )


def _print_check(result: _Checked, added: Sequence[AddedRow]) -> None:
    for row in added:
        print_line(f'{styled("added", "ok")}: table "{row.table}", in {relative(row.file)}:\n  - {row.row}\n')
    for finding in result.findings:
        print_line(finding_text(finding) + "\n")
    count = "1 finding" if len(result.findings) == 1 else f"{len(result.findings)} findings"
    verdict = styled("valid", "ok") if result.valid else styled("not valid", "error") + f": {count} in"
    counts = f"{'1 table' if result.tables == 1 else f'{result.tables} tables'}, {result.rows} rows"
    tried = "" if result.tried_ms is None else f", tried out in {result.tried_ms:.0f} ms"
    took = f"verified in {result.verified_ms:.1f} ms{tried}"
    print_line(f"{verdict}{':' if result.valid else ''} {counts} ({took})")


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
def graph(format_: str, what: str, inputs: bool, **where: Unpack[RuleOptions]) -> None:
    """Draw the state machine or the dependencies of the tables."""
    from compozy.graph.graph import graph_dot, graph_mermaid
    from compozy.graph.svg import graph_svg
    from compozy.tables.draw import table_graph

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
    from compozy.graph.graph import Edge, Graph, GraphNode

    lifecycle = rulebook.lifecycle
    nodes = tuple(GraphNode(state, state, "round") for state in lifecycle.states)
    edges = tuple(Edge(row.source, row.target, _label(row.trigger, row.stages)) for row in lifecycle.transitions)
    return Graph("Lifecycle", nodes, edges)


def _label(trigger: str, stages: Sequence[str]) -> str:
    others = [stage for stage in stages if stage != trigger]
    return f"{trigger} ({', '.join(others)})" if others else trigger


def _graph_json(graph: Graph) -> dict[str, object]:
    return {
        "title": graph.title,
        "nodes": [{"id": node.id, "label": node.label} for node in graph.nodes],
        "edges": [{"from": edge.source, "to": edge.target, "label": edge.label} for edge in graph.edges],
    }
