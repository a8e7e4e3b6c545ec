"""`compozy workflow`: the workflows of a project and their executions; running one has a module of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from compozy.base.output_file import write_file
from compozy.cli.completion import FILE
from compozy.cli.finding_formats import print_checked
from compozy.cli.json_input import parse_json, read_argument, read_text_of
from compozy.cli.options import configuration_options, format_option
from compozy.cli.output import json_text, print_failure, print_json, print_line, print_table, shown
from compozy.cli.prepare import project_client
from compozy.cli.run import run
from compozy.cli.workflow_check import schema_, validate_
from compozy.client.remote import ServerError
from compozy.errors import DefinitionError, UsageError
from compozy.store.records import RUNNING

if TYPE_CHECKING:
    from compozy.client.answers import ExecutionList, WorkflowList


@click.group(name="workflow")
def command() -> None:
    """Run workflows and look at their executions."""


command.add_command(run)
command.add_command(validate_, "validate")
command.add_command(schema_, "schema")


@command.command(name="list", epilog="Example: compozy workflow list --format json > workflows.json")
@configuration_options
@format_option()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Newest executions shown.")
def list_(format_: str, limit: int, strict: bool, **options: object) -> int:
    """List the workflows of the project and their newest executions. Exit code 2: a workflow file is not valid."""
    with project_client(options, strict) as client:
        found, executions = client.workflows(), client.executions(limit)
    code = print_problems(found)
    if format_ == "json":
        print_json({"problems": [], **found.to_json(), "executions": executions.to_json()["executions"]})
    else:
        print_listing(found, executions)
    return code


def print_problems(found: WorkflowList) -> int:
    """Print on stderr which files hold no workflow that can be run; return the exit code, 0 without such files."""
    for problem in found.problems or ():
        print_failure(ServerError({"id": problem.id, "detail": problem.message}))
    return DefinitionError.exit_code if found.problems else 0


def print_listing(found: WorkflowList, executions: ExecutionList) -> None:
    """Print workflows and executions for people."""
    workflows = [
        (item.id, item.version, _source(item.source), str(item.definition.get("description") or ""))
        for item in found.workflows
    ]
    if workflows:
        print_table(workflows, ("WORKFLOW", "VERSION", "SOURCE", "DESCRIPTION"))
    else:
        print_line("no workflows: put files into workflows/, or name them under workflows: in compozy.yaml")
    print_line()
    rows = [(row.id, row.workflow, row.status, row.started_at) for row in executions.executions]
    if rows:
        print_table(rows, ("EXECUTION", "WORKFLOW", "STATUS", "STARTED"))
    else:
        print_line("no executions yet")


def _source(source: str) -> str:
    """Return a file relative to the working directory where that is shorter."""
    return min(source, os.path.relpath(source), key=len) if os.path.isabs(source) else source


@command.command(epilog="Example: compozy workflow show hello-world-9314caed1562ba12")
@click.argument("execution_id", metavar="EXECUTION")
@configuration_options
@format_option()
def show(execution_id: str, format_: str, strict: bool, **options: object) -> None:
    """Show one execution and its tasks. Without a server they are read from a database that is kept."""
    with project_client(options, strict) as client:
        execution = client.execution(execution_id)
    facts = execution.to_json()
    if format_ == "json":
        print_json(facts)
        return
    hidden = ("format_version", "tasks")
    print_table([(key, shown(value)) for key, value in facts.items() if key not in hidden], ("FIELD", "VALUE"))
    tasks = [
        (
            task.path,
            task.type,
            task.status,
            str(task.attempt or ""),
            task.started_at,
            task.finished_at or "",
            task.error or "",
        )
        for task in execution.tasks
    ]
    if tasks:
        print_line()
        print_table(tasks, ("TASK", "TYPE", "STATUS", "ATTEMPT", "STARTED", "FINISHED", "ERROR"))


@command.command(epilog="Example: compozy workflow cancel hello-world-9314caed1562ba12")
@click.argument("execution_id", metavar="EXECUTION")
@configuration_options
@format_option()
def cancel(execution_id: str, format_: str, strict: bool, **options: object) -> None:
    """Ask an execution to end; its running task may clean up."""
    with project_client(options, strict) as client:
        row = client.cancel(execution_id)
    asked = "was asked to end" if row.status == RUNNING else f"had already ended: {row.status}"
    print_json(row.to_json()) if format_ == "json" else print_line(f"{execution_id} {asked}")


@command.command(epilog="Example: compozy workflow terminate hello-world-9314caed1562ba12")
@click.argument("execution_id", metavar="EXECUTION")
@configuration_options
@format_option()
def terminate(execution_id: str, format_: str, strict: bool, **options: object) -> None:
    """End an execution at once, without letting it clean up. `workflow cancel` asks it to end."""
    with project_client(options, strict) as client:
        row = client.terminate(execution_id)
    print_json(row.to_json()) if format_ == "json" else print_line(f"{execution_id} has ended: {row.status}")


@command.command(epilog="""Example: compozy workflow signal EXECUTION approved --payload '{"by": "Ada"}'""")
@click.argument("execution_id", metavar="EXECUTION")
@click.argument("name")
@click.option("--payload", metavar="JSON|@FILE", default="null", help="What the signal carries.")
@configuration_options
@format_option()
def signal(execution_id: str, name: str, payload: str, format_: str, strict: bool, **options: object) -> None:
    """Send a signal to a running execution."""
    content = parse_json(read_argument(payload, "--payload"), "--payload", """write --payload '{"by": "Ada"}'""")
    with project_client(options, strict) as client:
        sent = client.signal(execution_id, name, content)
    if format_ == "json":
        print_json(sent.to_json())
    else:
        print_line(f"{execution_id} got the signal {name}; no task waits for signals, so it is only kept")


@command.command(epilog="Example: compozy workflow export --output workflows.json")
@click.option("--output", metavar="FILE", help="Where to write; stdout when not given.")
@configuration_options
def export(output: str | None, strict: bool, **options: object) -> int:
    """Write the workflows of the project as JSON. `compozy workflow import` reads it.

    Exit code 2: a workflow file is not valid, and the others are written.
    """
    with project_client(options, strict) as client:
        found = client.workflows()
    code = print_problems(found)
    workflows = found.to_json()["workflows"]
    if output is None:
        print_json({"workflows": workflows})
        return code
    text = json_text({"format_version": 1, "workflows": workflows})
    try:
        write_file(output, text + "\n")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from error
    count = "1 workflow" if len(workflows) == 1 else f"{len(workflows)} workflows"
    print_line(f"{count} written to {output}", err=True)
    return code


@command.command(name="import", epilog="Example: compozy workflow import workflows.json")
@click.argument("file", type=FILE)
@configuration_options
@format_option("github", "sarif")
def import_(file: str, format_: str, strict: bool, **options: object) -> None:
    """Import workflows from JSON. It is what `workflow export` or `workflow list` printed; - reads stdin."""
    content = parse_json(read_text_of(file, file), file)
    with project_client(options, strict) as client:
        found = client.import_workflows(content)

    def print_text() -> None:
        print_line(f"imported: {', '.join(found.imported) or 'nothing'}")
        for name, hiding in found.hidden.items():
            print_line(f"{name} is hidden by {hiding}: a file wins over an imported workflow of the same id", err=True)

    print_checked(format_, (), lambda: found, print_text)


@command.command(epilog="Example: compozy workflow delete hello-world")
@click.argument("workflow_id", metavar="WORKFLOW")
@configuration_options
@format_option()
def delete(workflow_id: str, format_: str, strict: bool, **options: object) -> None:
    """Delete an imported workflow. Its executions and files of the project stay."""
    with project_client(options, strict) as client:
        found = client.delete_workflow(workflow_id)
    if format_ == "json":
        print_json(found.to_json())
        return
    print_line(f"{workflow_id} was deleted")
    if found.file:
        print_line(f"the workflow {workflow_id} of {found.file} is in force", err=True)
