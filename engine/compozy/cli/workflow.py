"""`compozy workflow`: the workflows of a project and their executions; running one has a module of its own.

With a running server its HTTP interface is used; without one, the files and the database of the project are read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from compozy.base.output_file import write_file
from compozy.cli.client import ServerError
from compozy.cli.completion import FILE
from compozy.cli.json_input import parse_json, read_argument, read_text_of
from compozy.cli.options import configuration_options, format_option
from compozy.cli.output import json_text, print_failure, print_json, print_line, print_table, shown
from compozy.cli.run import RUNNING, run
from compozy.cli.status import NotRunningError, required_client, running_client
from compozy.cli.stored import StoredWorkflows, stored_workflows
from compozy.errors import DefinitionError, UsageError


@click.group(name="workflow")
def command() -> None:
    """Run workflows and look at their executions."""


command.add_command(run)


@command.command(name="list", epilog="Example: compozy workflow list --format json > workflows.json")
@configuration_options
@format_option()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Newest executions shown.")
def list_(format_: str, limit: int, strict: bool, **options: Any) -> int:
    """List the workflows of the project and their newest executions. Exit code 2: a workflow file is not valid."""
    client, _ = running_client(options, strict)
    if client is not None:
        found = client.get("/api/v0/workflows") | client.get(f"/api/v0/executions?limit={limit}")
    else:
        with stored_workflows(options, strict) as stored:
            found = listing_json(stored, limit)
    code = print_problems(found)
    if format_ == "json":
        problems = found.get("problems") or []
        print_json({"workflows": found["workflows"], "executions": found["executions"], "problems": problems})
    else:
        print_listing(found)
    return code


def print_problems(found: Mapping[str, Any]) -> int:
    """Print on stderr which files hold no workflow that can be run; return the exit code, 0 where there is none."""
    problems = found.get("problems") or []
    for problem in problems:
        print_failure(ServerError({**problem, "detail": problem["message"]}), as_json=False)
    return DefinitionError.exit_code if problems else 0


def listing_json(workflows: StoredWorkflows, limit: int) -> dict[str, Any]:
    """Return workflows and executions in the form of the HTTP interface."""
    from compozy.workflows.catalogue import definition_json

    listing = workflows.workflows()
    return {
        "workflows": [definition_json(item) for item in listing.definitions],
        "executions": [execution.to_json() for execution in workflows.executions(limit=limit)],
        "problems": [{"id": problem.id, "message": problem.message} for problem in listing.problems],
    }


def print_listing(found: Mapping[str, Any]) -> None:
    """Print workflows and executions for people."""
    workflows = [
        (item["id"], item["version"], _source(item.get("source", "")), item["definition"].get("description") or "")
        for item in found["workflows"]
    ]
    if workflows:
        print_table(workflows, ("WORKFLOW", "VERSION", "SOURCE", "DESCRIPTION"))
    else:
        print_line("no workflows: put files into workflows/, or name them under workflows: in compozy.yaml")
    print_line()
    keys = ("id", "workflow", "status", "started_at")
    executions = [tuple(str(row[key]) for key in keys) for row in found["executions"]]
    if executions:
        print_table(executions, ("EXECUTION", "WORKFLOW", "STATUS", "STARTED"))
    else:
        print_line("no executions yet")


def _source(source: str) -> str:
    """Return a file relative to the working directory where that is shorter."""
    return min(source, os.path.relpath(source), key=len) if os.path.isabs(source) else source


@command.command(epilog="Example: compozy workflow show hello-world-9314caed1562ba12")
@click.argument("execution_id", metavar="EXECUTION")
@configuration_options
@format_option()
def show(execution_id: str, format_: str, strict: bool, **options: Any) -> None:
    """Show one execution and its tasks. Without a server they are read from a database that is kept."""
    client, lifecycle = running_client(options, strict)
    if client is not None:
        row = client.get(_path(execution_id))
    elif lifecycle.resolved.components["database"].kept:
        with stored_workflows(options, strict) as stored:
            row = stored.execution(execution_id)
    else:
        raise NotRunningError(lifecycle.resolved.directory)
    if format_ == "json":
        print_json(row)
        return
    hidden = ("format_version", "tasks")
    print_table([(key, shown(value)) for key, value in row.items() if key not in hidden], ("FIELD", "VALUE"))
    keys = ("path", "type", "status", "attempt", "started_at", "finished_at", "error")
    tasks = [tuple("" if task[key] is None else str(task[key]) for key in keys) for task in row["tasks"]]
    if tasks:
        print_line()
        print_table(tasks, ("TASK", "TYPE", "STATUS", "ATTEMPT", "STARTED", "FINISHED", "ERROR"))


@command.command(epilog="Example: compozy workflow cancel hello-world-9314caed1562ba12")
@click.argument("execution_id", metavar="EXECUTION")
@configuration_options
@format_option()
def cancel(execution_id: str, format_: str, strict: bool, **options: Any) -> None:
    """Ask an execution to end; its running task may clean up."""
    row = required_client(options, strict).post(_path(execution_id) + "/cancel")
    asked = "was asked to end" if row["status"] == RUNNING else f"had already ended: {row['status']}"
    print_json(row) if format_ == "json" else print_line(f"{execution_id} {asked}")


@command.command(epilog="Example: compozy workflow terminate hello-world-9314caed1562ba12")
@click.argument("execution_id", metavar="EXECUTION")
@configuration_options
@format_option()
def terminate(execution_id: str, format_: str, strict: bool, **options: Any) -> None:
    """End an execution at once, without letting it clean up. `workflow cancel` asks it to end."""
    row = required_client(options, strict).post(_path(execution_id) + "/terminate")
    print_json(row) if format_ == "json" else print_line(f"{execution_id} has ended: {row['status']}")


@command.command(epilog="""Example: compozy workflow signal EXECUTION approved --payload '{"by": "Ada"}'""")
@click.argument("execution_id", metavar="EXECUTION")
@click.argument("name")
@click.option("--payload", metavar="JSON|@FILE", default="null", help="What the signal carries.")
@configuration_options
@format_option()
def signal(execution_id: str, name: str, payload: str, format_: str, strict: bool, **options: Any) -> None:
    """Send a signal to a running execution."""
    content = parse_json(read_argument(payload, "--payload"), "--payload", """write --payload '{"by": "Ada"}'""")
    row = required_client(options, strict).post(f"{_path(execution_id)}/signals/{quote(name, safe='')}", content)
    if format_ == "json":
        print_json(row or {"execution_id": execution_id, "signal": name})
    else:
        print_line(f"{execution_id} got the signal {name}; no task waits for signals, so it is only kept")


@command.command(epilog="Example: compozy workflow export --output workflows.json")
@click.option("--output", metavar="FILE", help="Where to write; stdout when not given.")
@configuration_options
def export(output: str | None, strict: bool, **options: Any) -> int:
    """Write the workflows of the project as JSON. `compozy workflow import` reads it.

    Exit code 2: a workflow file is not valid, and the others are written.
    """
    client, _ = running_client(options, strict)
    if client is not None:
        found = client.get("/api/v0/workflows")
    else:
        with stored_workflows(options, strict) as stored:
            found = listing_json(stored, 1)
    code = print_problems(found)
    workflows = found["workflows"]
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
@format_option()
def import_(file: str, format_: str, strict: bool, **options: Any) -> None:
    """Import workflows from JSON. It is what `workflow export` or `workflow list` printed; - reads stdin."""
    content = parse_json(read_text_of(file, file), file)
    client, lifecycle = running_client(options, strict)
    if client is not None:
        found = client.post("/api/v0/workflows", content)
    elif not lifecycle.resolved.components["database"].kept:
        raise UsageError(
            f"no server is running, and mode {lifecycle.resolved.mode} would forget the workflows at once",
            hint="start one with compozy start, or import with --mode persistent",
        )
    else:
        with stored_workflows(options, strict) as stored:
            found = stored.import_workflows(content).to_json()
    if format_ == "json":
        print_json(found)
        return
    print_line(f"imported: {', '.join(found['imported']) or 'nothing'}")
    for name, file in found["hidden"].items():
        print_line(f"{name} is hidden by {file}: a file wins over an imported workflow of the same id", err=True)


@command.command(epilog="Example: compozy workflow delete hello-world")
@click.argument("workflow_id", metavar="WORKFLOW")
@configuration_options
@format_option()
def delete(workflow_id: str, format_: str, strict: bool, **options: Any) -> None:
    """Delete an imported workflow. Its executions and files of the project stay."""
    client, _ = running_client(options, strict)
    if client is not None:
        found = client.request("DELETE", f"/api/v0/workflows/{quote(workflow_id, safe='')}")
    else:
        with stored_workflows(options, strict) as stored:
            found = stored.delete_workflow(workflow_id)
    if format_ == "json":
        print_json(found)
        return
    print_line(f"{workflow_id} was deleted")
    if "file" in found:
        print_line(f"the workflow {workflow_id} of {found['file']} is in force", err=True)


def _path(execution_id: str) -> str:
    return f"/api/v0/executions/{quote(execution_id, safe='')}"
