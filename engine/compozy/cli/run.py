"""`compozy workflow run`: run one workflow, wait, print its outputs."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout

import click

from compozy.cli.completion import FILE
from compozy.cli.json_input import parse_json, read_argument
from compozy.cli.options import configuration_options, format_option, runs_project_code
from compozy.cli.output import print_failure, print_json, print_line, print_note, shown
from compozy.cli.prepare import report_preparation, seconds, validated
from compozy.client.connect import run_workflow
from compozy.client.project_client import GivenInput, RunResult
from compozy.errors import UsageError, WorkflowRunError
from compozy.store.records import RUNNING


@click.command(name="run", epilog="Example: compozy workflow run examples/hello-world.yaml --param name=Ada")
@click.argument("workflow", metavar="FILE_OR_ID", type=FILE)
@configuration_options
@format_option()
@click.option("--input", "input_", metavar="JSON|@FILE", help="Input as a JSON object, or from a file, - for stdin.")
@click.option(
    "--param",
    metavar="KEY=VALUE",
    multiple=True,
    help="One input value, a text unless its declared type or its form is JSON; KEY:=VALUE is always JSON.",
)
@click.option("--detach", is_flag=True, help="Print the execution's id and do not wait; needs a running server.")
@click.option("--timeout", default="24h", metavar="DURATION", show_default=True, help="How long to wait.")
@click.option("--quiet", is_flag=True, help="With --detach print the bare id; no notes on stderr.")
@runs_project_code
def run(
    workflow: str, format_: str, input_: str | None, param: tuple[str, ...], detach: bool, timeout: str, quiet: bool,
    strict: bool, **options: object,
) -> int:  # fmt: skip
    """Run a workflow, wait for it and print its outputs. The exit code is 5 when it fails."""
    given, wait_s, note = read_input(input_, param), seconds(timeout), _silent if quiet else print_note
    lifecycle = validated(options, strict)
    # The output of tools is not part of the result.
    with redirect_stdout(sys.stderr):
        result = run_workflow(
            lifecycle, report_preparation, note, workflow, given, wait_s=wait_s, detach=detach
        )  # fmt: skip
    return print_result(result, format_, detached=detach, quiet=quiet)


def _silent(_line: str) -> None:
    """Print nothing."""


def read_input(text: str | None, params: tuple[str, ...]) -> GivenInput:
    """Return the input of `--input` with the values of `--param` over it.

    Raises:
        UsageError: the input is not a JSON object, its file does not exist, or a parameter has no value.
    """
    values = _object(text) if text else {}
    texts: dict[str, str] = {}
    forced: dict[str, object] = {}
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


def _object(text: str) -> dict[str, object]:
    hint = """write --input '{"name": "Ada"}'"""
    found = parse_json(read_argument(text, "--input"), "--input", hint)
    if not isinstance(found, dict):
        raise UsageError("--input is not a JSON object", hint=hint)
    return found


def print_result(result: RunResult, format_: str, *, detached: bool = False, quiet: bool = False) -> int:
    """Print how an execution ended and return the exit code; one that still runs is a failure unless `detached`."""
    answer = result.answer
    if answer.status == "completed":
        print_json(answer.to_json()) if format_ == "json" else print_output(answer.output)
        return 0
    name = answer.execution_id
    if answer.status == RUNNING and detached:
        print_json(answer.to_json()) if format_ == "json" else print_line(name + ("" if quiet else " is running"))
        return 0
    error = WorkflowRunError(name, answer.status, answer.error or _no_reason(answer.status, result.afterwards))
    if answer.status == RUNNING:
        error.hint = f"follow it with compozy workflow show {name}"
    if format_ == "json":
        failure = {"id": error.id, "message": error.message, "exit_code": error.exit_code}
        print_json({**answer.to_json(), "error": failure})
    print_failure(error)
    return error.exit_code


def _no_reason(status: str, afterwards: str) -> str:
    return f"it did not end within --timeout and {afterwards}" if status == RUNNING else "no reason was recorded"


def print_output(output: object) -> None:
    """Print outputs for people: one line a name, texts as they are."""
    if not isinstance(output, dict):
        print_line(shown(output))
        return
    for name, value in output.items():
        print_line(f"{name}: {shown(value)}")
