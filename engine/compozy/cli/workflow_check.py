"""`compozy workflow validate` and `schema`: check workflow files, or print their schema, without a server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from compozy.cli.completion import FILE
from compozy.cli.config import INVALID, verdict
from compozy.cli.file_findings import file_texts
from compozy.cli.finding_formats import print_checked
from compozy.cli.options import configuration_options, format_option, read_configuration
from compozy.cli.output import print_document, print_findings, print_line
from compozy.cli.prepare import looking

if TYPE_CHECKING:
    from compozy.client.finding_answers import WorkflowReport


@click.command(epilog="Example: compozy workflow validate workflows/greet.yaml")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=FILE)
@configuration_options
@format_option("github", "sarif")
def validate_(files: tuple[str, ...], format_: str, strict: bool, **options: object) -> int:
    """Check workflow files, by default those of the project. Exit code 2: one is not valid.

    Nothing is started; tools are looked up in the project without importing them.
    """
    from compozy.workflows.read.workflow_files import WorkflowFiles, check_files

    resolved = looking(read_configuration(options)).resolve()
    here, project = os.getcwd(), resolved.directory
    given = tuple(os.path.abspath(file) for file in files)
    known = WorkflowFiles(project, given or tuple(resolved.get("workflows") or ()), only=bool(given))
    checked = check_files(known, resolved, here)
    findings, stopping = checked.findings, len(checked.findings)

    def print_text() -> None:
        print_findings(findings, file_texts(here, findings), err=False)
        count = "1 workflow file" if checked.files == 1 else f"{checked.files} workflow files"
        print_line(f"{count}: {verdict(stopping, stopping)}")

    def report() -> WorkflowReport:
        from compozy.client.finding_answers import WorkflowReport, finding_answers

        return WorkflowReport(valid=not stopping, files=checked.files, findings=finding_answers(findings))

    print_checked(format_, findings, report, print_text)
    return INVALID if stopping else 0


@click.command(epilog="Example: compozy workflow schema > workflow.json")
def schema_() -> None:
    """Print the JSON Schema of workflow files."""
    from compozy.workflows.read.definition_shape import workflow_schema

    print_document(workflow_schema())
