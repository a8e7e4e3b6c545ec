"""`compozy workflow`: run workflows and look at their executions.

With a running server its HTTP interface is used; without one the stack is brought up for the one command.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from compozy.cli.client import Client
from compozy.cli.options import configuration_options, format_option
from compozy.cli.output import print_failure, print_json, print_table
from compozy.cli.start import prepared, say, seconds, tell_kept_data
from compozy.cli.status import running_client
from compozy.document import resolve_scalar
from compozy.errors import NotFoundError, UsageError, WorkflowRunError

WAIT_S = 30.0
FINISHED = ("completed", "failed", "canceled", "terminated", "timed_out")


@click.group(name="workflow")
def command() -> None:
    """Run workflows and look at their executions."""


@command.command(epilog="Example: compozy workflow run examples/hello-world.yaml --param name=Ada")
@click.argument("workflow", metavar="FILE_OR_ID")
@configuration_options
@format_option()
@click.option("--input", "input_", metavar="JSON|@FILE", help="Input as a JSON object, or from a file.")
@click.option("--param", metavar="KEY=VALUE", multiple=True, help="One input value; may be repeated.")
@click.option("--detach", is_flag=True, help="Print the execution's id and do not wait; needs a running server.")
@click.option("--timeout", default="24h", metavar="DURATION", show_default=True, help="How long to wait.")
def run(
    workflow: str, format_: str, input_: str | None, param: tuple[str, ...], detach: bool, timeout: str,
    strict: bool, **options: Any,
) -> int:  # fmt: skip
    """Run a workflow, wait for it and print its outputs; exit code 5 when it fails."""
    given = read_input(input_, param)
    client, _ = running_client(options)
    if client is not None:
        result = run_on_server(client, workflow, given, None if detach else seconds(timeout))
    elif detach:
        raise UsageError("--detach needs a running server", hint="start one with compozy start")
    else:
        result = run_alone(workflow, given, seconds(timeout), strict, options)
    return print_result(result, format_, detached=detach)


def read_input(text: str | None, params: tuple[str, ...]) -> dict[str, Any]:
    """Return the input of `--input` with the values of `--param` over it; a value is JSON-like or text.

    Raises:
        UsageError: the input is not a JSON object, its file does not exist, or a parameter has no value.
    """
    given = _object(text) if text else {}
    for param in params:
        key, equals, value = param.partition("=")
        if not equals or not key:
            raise UsageError(f"--param {param} has no value", hint="write --param key=value")
        given[key] = resolve_scalar(value) if value else ""
    return given


def _object(text: str) -> dict[str, Any]:
    try:
        content = Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
        found = json.loads(content)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--input {text} cannot be read: {error}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise UsageError(f"--input is not JSON: {error}", hint="""write --input '{"name": "Ada"}'""") from error
    if not isinstance(found, dict):
        raise UsageError("--input is not a JSON object", hint="""write --input '{"name": "Ada"}'""")
    return found


def is_file(workflow: str) -> bool:
    """Tell whether the argument names a file; an id has neither a slash nor an ending."""
    return os.path.isfile(workflow) or workflow.endswith((".yaml", ".yml")) or os.sep in workflow


def run_on_server(client: Client, workflow: str, given: Mapping[str, Any], wait_s: float | None) -> dict[str, Any]:
    """Start an execution on the running server and wait at most `wait_s` seconds, None not at all."""
    body: dict[str, Any] = {"input": dict(given)}
    workflow_id = workflow
    if is_file(workflow):
        from compozy.workflows.definition import load_definition

        workflow_id = load_definition(workflow).id
        body |= {"source": Path(workflow).read_text(encoding="utf-8"), "file": workflow}
    path = f"/api/v0/workflows/{quote(workflow_id, safe='')}/executions"
    result: dict[str, Any] = client.post(path, body)
    return result if wait_s is None else wait_on_server(client, result, wait_s)


def wait_on_server(client: Client, result: dict[str, Any], wait_s: float) -> dict[str, Any]:
    """Ask until the execution has ended, or `wait_s` seconds are over."""
    while result["status"] not in FINISHED and wait_s > 0:
        poll = min(WAIT_S, wait_s)
        path = f"/api/v0/executions/{quote(result['execution_id'], safe='')}?wait={poll:g}s"
        result = {**result, **client.request("GET", path, timeout_s=poll + WAIT_S)}
        wait_s -= poll
    return result


def run_alone(
    workflow: str, given: Mapping[str, Any], wait_s: float, strict: bool, options: dict[str, Any]
) -> dict[str, Any]:
    """Bring the stack up, run one workflow, and stop everything."""
    from compozy.workflows.definition import load_definition
    from compozy.workflows.inputs import complete_input

    definition = load_definition(workflow) if is_file(workflow) else None
    if definition is not None:
        complete_input(definition, given)
    # What a tool prints must not be taken for the result.
    with redirect_stdout(sys.stderr), stack_for_one_run(options, strict) as stack:
        execution = stack.workflows.run(definition or workflow, given, timeout_s=wait_s)
    return execution_json(execution.to_json())


def execution_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an execution in the form of `workflow run`."""
    return {"execution_id": row["id"], **{key: value for key, value in row.items() if key != "id"}}


@contextmanager
def stack_for_one_run(options: dict[str, Any], strict: bool = False) -> Iterator[Any]:
    """Yield a stack without HTTP interface, and say so."""
    from compozy.server.stack import Stack

    lifecycle = prepared(options, strict)
    mode = lifecycle.resolved.mode
    say(f"no server of this project is running; bringing up mode {mode} for this one command")
    tell_kept_data(lifecycle.resolved)
    stack = Stack(lifecycle, notice=say).open(serve=False)
    try:
        yield stack
    finally:
        stack.close()


def print_result(result: dict[str, Any], format_: str, *, detached: bool = False) -> int:
    """Print how an execution ended and return the exit code; one that still runs is a failure unless `detached`."""
    status = result["status"]
    if status == "completed":
        print_json(result) if format_ == "json" else print_output(result["output"])
        return 0
    if status == "running" and detached:
        print_json(result) if format_ == "json" else click.echo(f"{result['execution_id']} is running")
        return 0
    error = WorkflowRunError(result["execution_id"], status, result.get("error") or _no_reason(status))
    if format_ == "json":
        print_json({**result, "error": {"id": error.id, "message": error.message, "exit_code": error.exit_code}})
    print_failure(error, as_json=False)
    return error.exit_code


def _no_reason(status: str) -> str:
    return "it did not end within --timeout" if status == "running" else "no reason was recorded"


def print_output(output: Any) -> None:
    """Print outputs for people: one line a name, texts as they are."""
    if not isinstance(output, dict):
        click.echo(_shown(output))
        return
    for name, value in output.items():
        click.echo(f"{name}: {_shown(value)}")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@command.command(name="list", epilog="Example: compozy workflow list --format json > workflows.json")
@configuration_options
@format_option()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Newest executions shown.")
def list_(format_: str, limit: int, strict: bool, **options: Any) -> None:
    """List the workflows of the project and their newest executions."""
    client, _ = running_client(options)
    if client is not None:
        found = client.get("/api/v0/workflows") | client.get(f"/api/v0/executions?limit={limit}")
    else:
        with stack_for_one_run(options, strict) as stack:
            found = listing_json(stack.workflows, limit)
    if format_ == "json":
        print_json({"workflows": found["workflows"], "executions": found["executions"]})
        return
    print_listing(found)


def listing_json(workflows: Any, limit: int) -> dict[str, Any]:
    """Return workflows and executions in the form of the HTTP interface."""
    from compozy.workflows.catalogue import definition_json

    listing = workflows.workflows()
    for problem in listing.problems:
        print_failure(problem, as_json=False)
    rows = [execution.to_json() for execution in workflows.executions(limit=limit)]
    return {"workflows": [definition_json(item) for item in listing.definitions], "executions": rows}


def print_listing(found: Mapping[str, Any]) -> None:
    """Print workflows and executions for people."""
    workflows = [
        (item["id"], item["version"], item["definition"].get("description") or "") for item in found["workflows"]
    ]
    if workflows:
        print_table(workflows, ("WORKFLOW", "VERSION", "DESCRIPTION"))
    else:
        click.echo("no workflows: put files into workflows/, or name them under workflows: in compozy.yaml")
    click.echo()
    keys = ("id", "workflow", "status", "started_at")
    executions = [tuple(str(row[key]) for key in keys) for row in found["executions"]]
    if executions:
        print_table(executions, ("EXECUTION", "WORKFLOW", "STATUS", "STARTED"))
    else:
        click.echo("no executions yet")


def required_client(options: dict[str, Any]) -> Client:
    """Return a client of the running server.

    Raises:
        NotFoundError: no server runs.
    """
    client, lifecycle = running_client(options)
    if client is None:
        raise NotFoundError("running server of", lifecycle.resolved.directory, hint="start one with compozy start")
    return client


@command.command(epilog="Example: compozy workflow show hello-world-9314caed1562ba12")
@click.argument("execution_id", metavar="EXECUTION")
@configuration_options
@format_option()
def show(execution_id: str, format_: str, strict: bool, **options: Any) -> None:
    """Show one execution: status, input, output, times."""
    row = required_client(options).get(_path(execution_id))
    if format_ == "json":
        print_json(row)
        return
    print_table([(key, _shown(value)) for key, value in row.items() if key != "format_version"], ("FIELD", "VALUE"))


@command.command(epilog="Example: compozy workflow cancel hello-world-9314caed1562ba12")
@click.argument("execution_id", metavar="EXECUTION")
@configuration_options
@format_option()
def cancel(execution_id: str, format_: str, strict: bool, **options: Any) -> None:
    """Ask an execution to end; its running task may clean up."""
    row = required_client(options).post(_path(execution_id) + "/cancel")
    print_json(row) if format_ == "json" else click.echo(f"{execution_id} was asked to end")


@command.command(epilog="""Example: compozy workflow signal EXECUTION approved --payload '{"by": "Ada"}'""")
@click.argument("execution_id", metavar="EXECUTION")
@click.argument("name")
@click.option("--payload", metavar="JSON", default="null", help="What the signal carries.")
@configuration_options
@format_option()
def signal(execution_id: str, name: str, payload: str, format_: str, strict: bool, **options: Any) -> None:
    """Send a signal to a running execution."""
    try:
        content = json.loads(payload)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UsageError(f"--payload is not JSON: {error}", hint="""write --payload '{"by": "Ada"}'""") from error
    row = required_client(options).post(f"{_path(execution_id)}/signals/{quote(name, safe='')}", content)
    if format_ == "json":
        print_json(row or {"execution_id": execution_id, "signal": name})
    else:
        click.echo(f"{execution_id} got the signal {name}")


@command.command(epilog="Example: compozy workflow export --output workflows.json")
@click.option("--output", metavar="FILE", help="Where to write; stdout when not given.")
@configuration_options
def export(output: str | None, strict: bool, **options: Any) -> None:
    """Write the workflows of the project as JSON, for `compozy workflow import`."""
    client, _ = running_client(options)
    if client is not None:
        workflows = client.get("/api/v0/workflows")["workflows"]
    else:
        with stack_for_one_run(options, strict) as stack:
            workflows = listing_json(stack.workflows, 1)["workflows"]
    if output is None:
        print_json({"workflows": workflows})
        return
    text = json.dumps({"format_version": 1, "workflows": workflows}, indent=2, ensure_ascii=False)
    try:
        Path(output).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from error
    click.echo(f"{len(workflows)} workflows written to {output}", err=True)


@command.command(name="import", epilog="Example: compozy workflow import workflows.json")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@configuration_options
@format_option()
def import_(file: Any, format_: str, strict: bool, **options: Any) -> None:
    """Import workflows from the JSON of `workflow export` or `workflow list`; - reads stdin."""
    try:
        content = json.load(file)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{file.name} is not JSON: {error}") from error
    client, lifecycle = running_client(options)
    if client is not None:
        names = client.post("/api/v0/workflows", content)["imported"]
    elif not lifecycle.resolved.decision("database.kept").outputs["kept"]:
        raise UsageError(
            f"no server is running, and mode {lifecycle.resolved.mode} would forget the workflows at once",
            hint="start one with compozy start, or import with --mode persistent",
        )
    else:
        with stack_for_one_run(options, strict) as stack:
            names = list(stack.workflows.import_workflows(content))
    print_json({"imported": names}) if format_ == "json" else click.echo(f"imported: {', '.join(names) or 'nothing'}")


def _path(execution_id: str) -> str:
    return f"/api/v0/executions/{quote(execution_id, safe='')}"
