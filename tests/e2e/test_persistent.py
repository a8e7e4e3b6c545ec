"""Persistent mode in an empty directory: what is kept, who owns it, and what is never overwritten."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.polling import DEADLINE_S, eventually

from .conftest import COMPOZY, Server, Shell, environment

pytestmark = [pytest.mark.e2e, pytest.mark.persistent]
MODE = ("--mode", "persistent", "--set", "temporal.standalone.enable_ui=false")
HELLO = str(Path(__file__).parent.parent.parent / "examples" / "hello-world.yaml")

REMEMBER = """
id: remember
input: {text: nothing}
tasks:
  - {id: write, type: basic, tool: "notes:write", with: {text: "{{ workflow.input.text }}"}}
  - {id: read, type: basic, sleep: 1s, tool: "notes:read"}
outputs: {remembered: "{{ tasks.read.output }}"}
"""
NOTES = """
from compozy.tools import component

def write(text):
    # A server that is killed before the end of a tool is recorded calls it again.
    component("redis").sadd("notes", text)

def read():
    return sorted(text.decode() for text in component("redis").smembers("notes"))
"""


@pytest.fixture
def project(shell: Shell) -> Shell:
    """A project whose workflow keeps notes in Redis and sleeps between writing and reading them."""
    (shell.directory / "workflows").mkdir()
    (shell.directory / "workflows" / "remember.yaml").write_text(REMEMBER)
    (shell.directory / "notes.py").write_text(NOTES)
    return shell


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield int(taken.getsockname()[1])


def state(shell: Shell) -> Path:
    return shell.directory / ".compozy"


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below `folder` with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def redis_has(shell: Shell, text: str) -> bool:
    """Return True if Redis has written `text` to its append-only file."""
    files = (state(shell) / "redis" / "appendonlydir").glob("*.aof")
    return any(text.encode() in file.read_bytes() for file in files)


def child_of(server: Server, component: str) -> psutil.Process:
    return psutil.Process(server.ready["components"][component]["details"]["pid"])


def test_everything_survives_kill_minus_nine(project: Shell) -> None:
    """A workflow killed in its sleep finishes, earlier executions are listed, the Redis keys are there."""
    server = project.start(*MODE)
    first = project.json("workflow", "run", "remember", "--param", "text=first")["execution_id"]
    second = project.json("workflow", "run", "remember", "--detach", "--param", "text=second")["execution_id"]
    eventually(lambda: redis_has(project, "second"), "the first task")
    server.kill()
    eventually(server.has_ended, "the end of every child")
    assert {path.name for path in state(project).iterdir()} >= {"compozy.db", "redis", "temporal.db"}

    again = project.start(*MODE)
    eventually(lambda: finished(again, second), "its end")
    rows = {row["id"]: (row["status"], row["output"]) for row in executions(project)}
    assert rows == {
        first: ("completed", {"remembered": ["first"]}),
        second: ("completed", {"remembered": ["first", "second"]}),
    }
    assert (again.stop(), again.has_ended(), "locked" in again.errors.read_text()) == (0, True, False)


def finished(server: Server, execution: str) -> bool:
    """Return True if the execution has completed; while Temporal is unavailable the request fails."""
    status, row = server.request("GET", f"/api/v0/executions/{execution}")
    return status == 200 and row["status"] == "completed"


def executions(shell: Shell) -> list[dict[str, Any]]:
    return list(shell.json("workflow", "list")["executions"])


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shell, Server]]:
    """A server for tests that leave it as it is, with the shell of its project."""
    shell = Shell(tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("runtime"))
    yield shell, shell.start(*MODE)
    shell.close()


def test_kept_files_are_accessible_to_their_owner_only(standing: tuple[Shell, Server]) -> None:
    """Directories 0700, files 0600, and version control ignores them."""
    shell, _ = standing
    kept = [state(shell), *state(shell).rglob("*")]
    assert {oct(path.stat().st_mode & 0o777) for path in kept if path.is_dir()} == {"0o700"}
    assert {oct(path.stat().st_mode & 0o777) for path in kept if path.is_file()} == {"0o600"}
    assert (state(shell) / ".gitignore").read_text() == "*\n"
    assert {path.name for path in shell.directory.iterdir()} == {".compozy"}


def test_a_second_start_is_refused_and_disturbs_nothing(standing: tuple[Shell, Server]) -> None:
    """The error names the owner's process id, with a fix; the first server keeps running."""
    shell, server = standing
    result = shell.run("start", *MODE, "--format", "json")
    assert (result.returncode, json.loads(result.stdout)["error"]["id"]) == (4, "provision.failed")
    assert f"is in use by process {server.pid}" in result.stderr
    assert f"fix: the server of this project runs at {server.ready['url']} (process {server.pid})" in result.stderr
    assert shell.json("status")["ready"] is True


def test_a_directory_of_a_newer_layout_is_refused_and_kept(shell: Shell) -> None:
    """Not a byte of it changes."""
    state(shell).mkdir()
    (state(shell) / "version").write_text('{"layout": 99, "compozy": "99.0.0"}')
    before = contents(shell.directory)
    result = shell.run("start", *MODE)
    assert (result.returncode, result.stdout) == (4, "")
    assert "was written by a newer Compozy (layout 99" in result.stderr
    assert contents(shell.directory) == before


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of a stopped server with one completed execution."""
    shell = Shell(tmp_path_factory.mktemp("used"), tmp_path_factory.mktemp("runtime"))
    server = shell.start(*MODE)
    assert shell.run("workflow", "run", HELLO).returncode == 0
    assert server.stop() == 0
    shell.close()
    return state(shell)


def test_a_damaged_file_is_reported_and_never_overwritten(shell: Shell, used: Path) -> None:
    """Exit code 4, the file by its name and what to do; put right again, everything is there."""
    shutil.copytree(used, state(shell))
    for name in ("compozy.db", "temporal.db", "version"):
        file, damaged = state(shell) / name, b"\x00garbage" * 1000
        sound = file.read_bytes()
        file.write_bytes(damaged)
        result = shell.run("start", *MODE)
        assert (result.returncode, str(file) in result.stderr, file.read_bytes()) == (4, True, damaged), result.stderr
        assert "restore a backup" in result.stderr
        assert "Traceback" not in result.stderr
        file.write_bytes(sound)
    again = shell.start(*MODE)
    assert [row["status"] for row in executions(shell)] == ["completed"]
    assert again.stop() == 0


def test_failed_first_start_names_the_owner_of_its_port_and_leaves_nothing(shell: Shell, busy: int) -> None:
    """Only the HTTP interface failed to start, on a port that is not replaced; directory and lock are removed."""
    result = shell.run("start", *MODE, "--port", str(busy), "--format", "json")
    assert (result.returncode, "Traceback" in result.stderr) == (4, False)
    assert f"port {busy} (server.port) is already in use" in result.stderr
    assert f"(process {os.getpid()})" in result.stderr
    assert list(shell.directory.iterdir()) == []


def test_failed_later_start_keeps_the_data(shell: Shell, used: Path, busy: int) -> None:
    """The directory of earlier stays, without a lock."""
    shutil.copytree(used, state(shell))
    before = {path.name for path in state(shell).iterdir()}
    assert shell.run("start", *MODE, "--port", str(busy)).returncode == 4
    assert {path.name for path in state(shell).iterdir()} >= before - {"temporal.db-wal", "temporal.db-shm"}
    assert not (state(shell) / "lock").exists()


def begin(shell: Shell) -> subprocess.Popen[str]:
    """Begin to start a server; returns when it has the state directory."""
    process = subprocess.Popen(
        [COMPOZY, "start", *MODE], cwd=shell.directory, env=environment(shell.runtime), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    eventually(lambda: (state(shell) / "lock").exists(), "the lock")
    return process


def test_a_signal_while_starting_leaves_nothing(shell: Shell) -> None:
    """SIGTERM before the server is ready removes what this first start has made."""
    process = begin(shell)
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, "stopped while starting" in output, "Traceback" in output) == (130, True, False), output
    assert not any(is_alive(child) for child in children)
    assert list(shell.directory.iterdir()) == []


@pytest.mark.parametrize("files", [0, 3, 5])
def test_start_succeeds_after_a_start_killed_at_any_moment(shell: Shell, files: int) -> None:
    """The next start takes the lock over and runs; no process of the first is left."""
    process = begin(shell)
    eventually(lambda: len(list(state(shell).iterdir())) > files, "some progress")
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    eventually(lambda: not any(is_alive(child) for child in children), "the end of every child")
    server = shell.start(*MODE)
    assert shell.json("workflow", "run", HELLO)["status"] == "completed"
    assert server.stop() == 0


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_a_crashed_child_comes_back_with_everything(project: Shell) -> None:
    """Temporal and Redis are killed alone: the workflow completes, and the restarts are logged and counted."""
    server = project.start(*MODE)
    execution = project.json("workflow", "run", "remember", "--detach", "--param", "text=kept")["execution_id"]
    eventually(lambda: redis_has(project, "kept"), "the first task")
    for component in ("temporal", "redis"):
        child_of(server, component).kill()
    eventually(lambda: finished(server, execution), "its end")
    components = project.json("status")["components"]
    # A port that is not free again at once takes another try.
    assert min(components[name]["details"]["restarts"] for name in ("temporal", "redis")) >= 1
    for name in ("temporal", "valkey"):
        assert f"{name} ended unexpectedly (exit code -9) and is started again" in server.errors.read_text()
    assert (server.stop(), server.has_ended()) == (0, True)
