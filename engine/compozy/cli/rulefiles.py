"""`compozy rules import` and `compozy rules export`: decision files and DMN models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Unpack

import click

from compozy.base.findings import ERROR, Finding, finding_lines
from compozy.base.output_file import write_file
from compozy.base.shapes import FAULT
from compozy.cli.completion import FILE, tables
from compozy.cli.finding_formats import FORMATS, print_checked
from compozy.cli.options import format_option
from compozy.cli.output import print_line, styled
from compozy.cli.places import relative, relative_finding
from compozy.cli.ruleoptions import RuleOptions, pack_folders, rules_options
from compozy.errors import UsageError
from compozy.rulebook import load_rulebook

if TYPE_CHECKING:
    from compozy.client.finding_answers import ImportReport, RuleFindingAnswer
    from compozy.decisions import Decisions

INVALID = 3
_output = click.option("--output", "-o", metavar="FILE", type=FILE, help="File to write; else standard output.")


@click.command(name="import", epilog="Example: compozy rules import loan.dmn --output loan.yaml")
@click.argument("file", type=FILE)
@_output
@format_option(*FORMATS)
@click.option("--partial", is_flag=True, help="Leave out tables with something that is not supported.")
def import_(file: str, output: str | None, format_: str, partial: bool) -> int:
    """Import the tables of the DMN model FILE as a decision file.

    What is not supported is reported with its place, reason and fix; then nothing is written and the exit code is 3,
    unless --partial is given. A --format other than text needs --output, because the findings go to standard output.
    """
    from compozy.decisions import read_decisions
    from compozy.decisions.decision_file import decisions_text
    from compozy.decisions.dmn_import import KINDS as IMPORT_KINDS
    from compozy.rulebook.verification import KINDS

    if format_ != "text" and output is None:
        raise UsageError(f"--format {format_} needs --output", hint="name the decision file to write")
    decisions = read_decisions(file)

    def print_text() -> None:
        for finding in decisions.findings:
            print_line(finding_text(finding, err=True), err=True)

    refused = any(finding.severity == ERROR for finding in decisions.findings)
    written = not refused or bool(partial and decisions.tables)
    if written:
        _write(decisions_text(decisions, f"Imported from {relative(file)}"), output)
    findings = [relative_finding(finding) for finding in decisions.findings]

    def report() -> ImportReport:
        from compozy.client.finding_answers import ImportReport

        return ImportReport(
            valid=not refused,
            written=output if written else None,
            tables=len(decisions.tables),
            findings=rule_findings(findings),
        )

    print_checked(format_, findings, report, print_text, about={**KINDS, **IMPORT_KINDS})
    return 0 if written else INVALID


def rule_findings(findings: Iterable[Finding]) -> list[RuleFindingAnswer]:
    """Return findings about rules in the form that is printed as JSON, each with the table that it is about."""
    from compozy.client.finding_answers import RuleFindingAnswer

    return [RuleFindingAnswer.about(one, "" if one.id == FAULT else one.key) for one in findings]


@click.command(epilog="Example: compozy rules export redis.driver --output driver.dmn")
@rules_options
@click.option(
    "--from", "file", metavar="FILE", type=FILE, help="Decision file to export from; else the rules in force."
)
@click.option(
    "--dmn-version", "version", type=click.Choice(["1.3", "1.4", "1.5"]), default="1.3", show_default=True,
    help="Version of DMN to write.",
)  # fmt: skip
@_output
@click.argument("names", metavar="[TABLE]...", nargs=-1, shell_complete=tables)
def export(
    names: Sequence[str], file: str | None, version: str, output: str | None, **where: Unpack[RuleOptions]
) -> None:
    """Export each TABLE and all tables that it reads as a DMN model.

    With --from and without TABLE, all tables of FILE are exported.
    """
    from compozy.decisions.dmn_export import dmn_text

    if file is not None:
        refuse_packs(where)
    elif not names:
        raise UsageError("no TABLE is named", hint="name one that compozy rules list shows, or a file with --from")
    ruleset = load_rulebook(pack_folders(**where)).ruleset if file is None else read_valid(file).ruleset
    _write(dmn_text(ruleset, names or ruleset.order, version), output)


def refuse_packs(where: RuleOptions) -> None:
    """Refuse the options that name rule packs beside a decision file.

    Raises:
        UsageError: one of them is given.
    """
    if any(where.values()):
        raise UsageError("a FILE stands by itself, without --config, --cwd and --rules", hint="leave them out")


def finding_text(finding: Finding, *, err: bool = False) -> str:
    """Return a finding about rules as text; its first line in the colour of its severity."""
    first, *rest = (relative(line) for line in finding_lines(finding))
    return "\n".join([styled(first, finding.severity, err=err), *rest])


def read_valid(file: str, text: str | None = None) -> Decisions:
    """Read a decision file or DMN model, or its known text, all of whose tables can be read and linked.

    Raises:
        RuleTableError: something in it cannot be read.
    """
    from compozy.base.findings import ordered, raise_errors
    from compozy.decisions import parse_text, read_decisions
    from compozy.errors import RuleTableError

    decisions = read_decisions(file) if text is None else parse_text(text, file)
    raise_errors(decisions.findings, RuleTableError)
    faults = decisions.ruleset.faults
    if faults:
        raise RuleTableError(ordered(faults))
    return decisions


def _write(text: str, output: str | None) -> None:
    """Write a text to a file, or print it."""
    if output is None:
        print_line(text.rstrip("\n"))
        return
    try:
        write_file(output, text)
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from error
