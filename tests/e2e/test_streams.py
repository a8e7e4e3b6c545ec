"""Standard output belongs to the command, and a server does not depend on a reader of its output."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import psutil
import pytest
from tests.support.polling import DEADLINE_S, eventually

from .conftest import COMPOZY, Shell, environment, interruptible

pytestmark = pytest.mark.e2e

TOOL = """
import os, subprocess, sys

def work():
    print("from print")
    sys.stdout.flush()
    os.write(1, b"from the descriptor\\n")
    subprocess.run(["echo", "from a child process"], check=True)
    return 1
"""
WORKFLOW = "id: loud\ntasks:\n  - {id: a, type: basic, tool: 'loud:work'}\noutputs: {a: '{{ tasks.a.output }}'}\n"


def write_loud_project(shell: Shell) -> None:
    (shell.directory / "loud.py").write_text(TOOL)
    (shell.directory / "workflows").mkdir()
    (shell.directory / "workflows" / "loud.yaml").write_text(WORKFLOW)


@contextlib.contextmanager
def server(shell: Shell, shell_command: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a server as a shell command in which `$0` is the program; it is killed at the end of the block."""
    with subprocess.Popen(
        ["/bin/sh", "-c", shell_command, COMPOZY], cwd=shell.directory, env=environment(shell.runtime),
        stdout=subprocess.PIPE, text=True, preexec_fn=interruptible, **streams,
    ) as process, contextlib.ExitStack() as opened:  # fmt: skip
        opened.callback(process.kill)
        yield process


def ready_line(process: subprocess.Popen[str]) -> Mapping[str, Any]:
    assert process.stdout is not None
    found: Mapping[str, Any] = json.loads(process.stdout.readline())
    return found


def test_output_of_a_tool_does_not_reach_the_result(shell: Shell) -> None:
    write_loud_project(shell)

    result = shell.run("workflow", "run", "workflows/loud.yaml", "--format", "json")

    assert json.loads(result.stdout)["output"] == {"a": 1}
    for source in ("print", "the descriptor", "a child process"):
        assert f"from {source}\n" in result.stderr


def test_server_without_standard_error_stops_gracefully(shell: Shell) -> None:
    """Its standard output contains only the ready line, even if a tool writes there."""
    write_loud_project(shell)
    with server(shell, 'exec "$0" start --format json 2>&-') as process:
        assert ready_line(process)["event"] == "ready"
        assert shell.json("workflow", "run", "loud")["output"] == {"a": 1}
        process.send_signal(signal.SIGHUP)
        rest, _ = process.communicate(timeout=DEADLINE_S)

    assert (process.returncode, rest) == (0, "")


def test_server_with_unread_log_serves_restarts_and_stops(shell: Shell) -> None:
    """The pipe is full of log lines that are not read."""
    with server(shell, 'exec "$0" start --format json --log-level debug', stderr=subprocess.PIPE) as process:
        url = ready_line(process)["url"]
        for _ in range(600):  # each one is logged with its address, here of 300 characters
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(f"{url}/{'x' * 300}", timeout=DEADLINE_S).close()
        valkey = next(child for child in psutil.Process(process.pid).children() if "valkey" in child.name())
        valkey.kill()

        def is_ready() -> bool:
            with (
                contextlib.suppress(urllib.error.HTTPError),
                urllib.request.urlopen(f"{url}/readyz", timeout=30) as answer,
            ):
                return bool(answer.status == 200)
            return False

        eventually(lambda: not valkey.is_running() and is_ready(), "the restart")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
