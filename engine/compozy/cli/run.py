"""`compozy workflow run`: run one workflow, wait, print its outputs.

With a running server its HTTP interface is used; without one the stack is brought up for the one run.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from compozy.cli.client import Client, ServerGoneError
from compozy.cli.completion import FILE
from compozy.cli.json_input import parse_json, read_argument
from compozy.cli.options import configuration_options, format_option, runs_project_code
from compozy.cli.output import print_failure, print_json, print_line, shown
from compozy.cli.prepare import prepared, say, seconds, tell_kept_data
from compozy.cli.status import running_client
from compozy.errors import InUseError, ProvisionError, UsageError, WorkflowRunError
from compozy.provisioning.plan import make_plan
from compozy.state.state_directory import StateDirectory

if TYPE_CHECKING:
    from compozy.workflows.model.definition import Definition

Note = Callable[[str], None]
WAIT_S = 30.0
TURN_S = 0.2
RUNNING = "running"


@click.command(name="run", epilog="Example: compozy workflow run examples/hello-world.yaml --param name=Ada")
@click.argument("workflow", metavar="FILE_OR_ID", type=FILE)
@configuration_options
@format_option()
@click.option("--input", "input_", metavar="JSON|@FILE", help="Input as a JSON object, or from a file, - for stdin.")
@click.option(
    "--param",
    metavar="KEY=VALUE",
    multiple=True,
    help="One input value, a text unless its declared type or its form says JSON; KEY:=VALUE is always JSON.",
)
@click.option("--detach", is_flag=True, help="Print the execution's id and do not wait; needs a running server.")
@click.option("--timeout", default="24h", metavar="DURATION", show_default=True, help="How long to wait.")
@click.option("--quiet", is_flag=True, help="With --detach print the bare id; no notes on stderr.")
@runs_project_code
def run(
    workflow: str, format_: str, input_: str | None, param: tuple[str, ...], detach: bool, timeout: str, quiet: bool,
    strict: bool, **options: Any,
) -> int:  # fmt: skip
    """Run a workflow, wait for it and print its outputs. The exit code is 5 when it fails."""
    given, note = read_input(input_, param), _silent if quiet else say
    until = time.monotonic() + seconds(timeout)
    client = server_or_turn(options, strict, time.monotonic() if detach else until, note)
    if client is not None:
        result = run_on_server(client, workflow, given, None if detach else seconds(timeout))
    elif detach:
        raise UsageError("--detach needs a running server", hint="start one with compozy start")
    else:
        result = run_in_turn(workflow, given, until, strict, options, note)
    return print_result(result, format_, detached=detach, quiet=quiet)


def _silent(_line: str) -> None:
    """Print nothing."""


def server_or_turn(options: dict[str, Any], strict: bool, until: float, note: Note) -> Client | None:
    """Return a client of the project's server, or None when no other process uses the project's data.

    Waits for another command, or for a server that is starting, until `until` on the clock of `time.monotonic`.

    Raises:
        InUseError: the data is still in use then.
    """
    told = False
    while True:
        client, lifecycle = running_client(options, strict)
        state_dir = make_plan(lifecycle.resolved).state_dir
        if client is not None or state_dir is None:
            return client
        try:
            StateDirectory(state_dir).examine()
        except InUseError as error:
            if time.monotonic() >= until:
                raise
            if not told:
                note(f"{error.message}; waiting for it")
            told = True
            time.sleep(TURN_S)
        else:
            return None


def run_in_turn(
    workflow: str, given: GivenInput, until: float, strict: bool, options: dict[str, Any], note: Note
) -> dict[str, Any]:
    """Run a workflow on a stack of its own; where another process was faster, wait again, or use its server."""
    while True:
        try:
            return run_alone(workflow, given, max(0.0, until - time.monotonic()), strict, options, note)
        except ProvisionError as error:
            if not isinstance(error.__cause__, InUseError) or time.monotonic() >= until:
                raise
        client = server_or_turn(options, strict, until, note)
        if client is not None:
            return run_on_server(client, workflow, given, max(0.0, until - time.monotonic()))


@dataclass(frozen=True, slots=True)
class GivenInput:
    """The input of a command line; what the texts of `--param` stand for depends on the workflow's declarations."""

    values: Mapping[str, Any]
    texts: Mapping[str, str]

    def complete(self, definition: Definition | None) -> dict[str, Any]:
        """Return the input for a workflow, None when its declarations are not known."""
        from compozy.workflows.model.input_types import parse_parameter

        declared = {item.name: item for item in (definition.inputs if definition else None) or ()}
        known = {name: (item.type, item.default) for name, item in declared.items()}
        parsed = {name: parse_parameter(text, *known.get(name, ())) for name, text in self.texts.items()}
        return {**self.values, **parsed}


def read_input(text: str | None, params: tuple[str, ...]) -> GivenInput:
    """Return the input of `--input` with the values of `--param` over it.

    Raises:
        UsageError: the input is not a JSON object, its file does not exist, or a parameter has no value.
    """
    values = _object(text) if text else {}
    texts: dict[str, str] = {}
    forced: dict[str, Any] = {}
    for param in params:
        key, equals, value = param.partition("=")
        name = key.removesuffix(":")
        if not equals or not name:
            raise UsageError(f"--param {param} has no value", hint="write --param key=value")
        if name in texts or name in forced:
            raise UsageError(f"--param {name} is given twice", hint="a list goes through --input")
        if key == name:
            texts[name] = value
        else:
            forced[name] = parse_json(value, f"--param {key}", """a text in JSON has quotes: --param 'key:="text"'""")
    return GivenInput({**values, **forced}, texts)


def _object(text: str) -> dict[str, Any]:
    hint = """write --input '{"name": "Ada"}'"""
    found = parse_json(read_argument(text, "--input"), "--input", hint)
    if not isinstance(found, dict):
        raise UsageError("--input is not a JSON object", hint=hint)
    return found


def is_file(workflow: str) -> bool:
    """Tell whether the argument names a file; an id has neither a slash nor an ending."""
    return os.path.isfile(workflow) or workflow.endswith((".yaml", ".yml")) or os.sep in workflow


def run_on_server(client: Client, workflow: str, given: GivenInput, wait_s: float | None) -> dict[str, Any]:
    """Start an execution on the running server and wait at most `wait_s` seconds, None not at all."""
    from compozy.workflows.model.execution_id import new_execution_id
    from compozy.workflows.read.loader import parse_definition, read_workflow_file

    workflow_id = workflow
    if is_file(workflow):
        source = read_workflow_file(workflow)
        definition = parse_definition(source, workflow)
        workflow_id = definition.id
        body = {"input": given.complete(definition), "source": source, "file": workflow}
    else:
        body = {"input": given.complete(_known_definition(client, workflow) if given.texts else None)}
    path = f"/api/v0/workflows/{quote(workflow_id, safe='')}/executions"
    name = body["execution_id"] = new_execution_id(workflow_id)
    try:
        started: dict[str, Any] = client.post(path, body)
        return started if wait_s is None else wait_on_server(client, started, wait_s)
    except ServerGoneError as error:
        error.hint = f"start it again, then compozy workflow show {name}"
        raise
    except KeyboardInterrupt:
        say(f"{name} continues on the server; compozy workflow cancel {name} ends it")
        raise


def _known_definition(client: Client, workflow: str) -> Definition:
    from compozy.workflows.read.loader import decode_definition

    found = client.get(f"/api/v0/workflows/{quote(workflow, safe='')}")
    return decode_definition(found["definition"], workflow, {})


def wait_on_server(client: Client, started: dict[str, Any], wait_s: float) -> dict[str, Any]:
    """Ask until the execution has ended, or `wait_s` seconds are over."""
    result = started
    while result["status"] == RUNNING and wait_s > 0:
        poll = min(WAIT_S, wait_s)
        path = f"/api/v0/executions/{quote(result['execution_id'], safe='')}?wait={poll:g}s"
        result = {**result, **client.request("GET", path, timeout_s=poll + WAIT_S)}
        result.pop("tasks", None)
        wait_s -= poll
    return result


def run_alone(
    workflow: str, given: GivenInput, wait_s: float, strict: bool, options: dict[str, Any], note: Note
) -> dict[str, Any]:
    """Bring the stack up, run one workflow, and stop everything."""
    from compozy.workflows.model.inputs import complete_input
    from compozy.workflows.read.loader import load_definition

    definition = load_definition(workflow) if is_file(workflow) else None
    if definition is not None:
        complete_input(definition, given.complete(definition))
    with redirect_stdout(sys.stderr), stack_for_one_run(options, strict, note) as stack:
        definition = definition or stack.workflows.workflow(workflow)
        name = stack.workflows.start(definition, given.complete(definition))
        try:
            execution = stack.workflows.wait(name, wait_s)
        except KeyboardInterrupt:
            say(f"{name} {_afterwards(stack)}")
            raise
        found = execution_json(execution.to_json())
        return found if execution.finished else {**found, "afterwards": _afterwards(stack)}


def _afterwards(stack: Any) -> str:
    kept = stack.resolved.components["temporal"].kept
    return "continues when a server runs" if kept else "has ended with this command"


def execution_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an execution in the form of `workflow run`."""
    return {"execution_id": row["id"], **{key: value for key, value in row.items() if key != "id"}}


@contextmanager
def stack_for_one_run(options: dict[str, Any], strict: bool = False, note: Note = say) -> Iterator[Any]:
    """Yield a stack without HTTP interface; `note` takes a line for each thing a user should know."""
    from compozy.provisioning.provision import provision_components
    from compozy.server.stack import Stack

    lifecycle = prepared(options, strict, partial(provision_components, notice=note))
    mode = lifecycle.resolved.mode
    note(f"no server of this project is running; bringing up mode {mode} for this one command")
    tell_kept_data(lifecycle.resolved, note)
    stack = Stack(lifecycle, notice=note).open(serve=False)
    try:
        yield stack
    except KeyboardInterrupt:
        stack.close(0)  # nobody waits for what still runs
        raise
    finally:
        stack.close()


def print_result(result: dict[str, Any], format_: str, *, detached: bool = False, quiet: bool = False) -> int:
    """Print how an execution ended and return the exit code; one that still runs is a failure unless `detached`."""
    status, afterwards = result["status"], result.pop("afterwards", "continues on the server")
    if status == "completed":
        print_json(result) if format_ == "json" else print_output(result["output"])
        return 0
    if status == RUNNING and detached:
        print_json(result) if format_ == "json" else print_line(
            result["execution_id"] + ("" if quiet else " is running")
        )
        return 0
    error = WorkflowRunError(result["execution_id"], status, result.get("error") or _no_reason(status, afterwards))
    if status == RUNNING:
        error.hint = f"follow it with compozy workflow show {result['execution_id']}"
    if format_ == "json":
        print_json({**result, "error": {"id": error.id, "message": error.message, "exit_code": error.exit_code}})
    print_failure(error, as_json=False)
    return error.exit_code


def _no_reason(status: str, afterwards: str) -> str:
    return f"it did not end within --timeout and {afterwards}" if status == RUNNING else "no reason was recorded"


def print_output(output: Any) -> None:
    """Print outputs for people: one line a name, texts as they are."""
    if not isinstance(output, dict):
        print_line(shown(output))
        return
    for name, value in output.items():
        print_line(f"{name}: {shown(value)}")
