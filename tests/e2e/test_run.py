"""`compozy workflow run` while something comes between: Ctrl-C, the end of the server, a second cancel."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator

import pytest
from tests.polling import DEADLINE_S, eventually

from .conftest import COMPOZY, Server, Shell, environment
from .test_matrix import request

pytestmark = pytest.mark.e2e
NAP = "id: nap\ntasks:\n  - {id: a, type: aggregate, sleep: 1h, output: 1}\n"


@pytest.fixture
def server(shell: Shell) -> Server:
    (shell.directory / "nap.yaml").write_text(NAP)
    return shell.start()


@contextlib.contextmanager
def waiting(shell: Shell, server: Server) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a command that waits for a long execution; give it, and the id of the execution."""
    process = subprocess.Popen(
        [COMPOZY, "workflow", "run", "nap.yaml"], cwd=shell.directory, env=environment(shell.runtime),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        eventually(lambda: executions(server), "the start of the execution")
        yield process, executions(server)[0]["id"]
    finally:
        process.kill()
        process.communicate()


def executions(server: Server) -> list[dict[str, str]]:
    return list(request(server, "GET", "/api/v0/executions")[1]["executions"])


def test_who_stops_waiting_is_told_that_the_execution_goes_on(shell: Shell, server: Server) -> None:
    """Ctrl-C ends the command alone; the execution can be ended by what it says, once."""
    with waiting(shell, server) as (process, name):
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, f"{name} goes on without us" in errors) == (130, True)
    assert shell.run("workflow", "cancel", name).stdout == f"{name} was asked to end\n"
    eventually(lambda: executions(server)[0]["status"] == "canceled", "the end of the execution")
    assert shell.run("workflow", "cancel", name).stdout == f"{name} had already ended: canceled\n"


def test_the_end_of_the_server_names_the_execution(shell: Shell, server: Server) -> None:
    """Who waited can ask for it when the server runs again."""
    with waiting(shell, server) as (process, name):
        server.kill()
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, f"compozy workflow show {name}" in errors) == (4, True), errors
