"""Persistent mode in an empty directory: what is kept, who owns it, and what is never overwritten."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from .conftest import COMPOZY, DEADLINE_S, Shell, environment, eventually

pytestmark = pytest.mark.e2e
MODE = ("--mode", "persistent", "--set", "temporal.standalone.enable_ui=false")
HELLO = str(Path(__file__).parent.parent.parent / "examples" / "hello-world.yaml")
KEPT = {"compozy.db", "redis", "temporal.db"}

REMEMBER = """
id: remember
input: {text: nothing, pause: 0s}
tasks:
  - {id: write, type: basic, tool: "notes:write", with: {text: "{{ workflow.input.text }}"}}
  - {id: read, type: basic, sleep: "{{ workflow.input.pause }}", tool: "notes:read"}
outputs: {remembered: "{{ tasks.read.output }}"}
"""
NOTES = """
from compozy.tools import component

def write(text):
    component("redis").rpush("notes", text)

def read():
    return [text.decode() for text in component("redis").lrange("notes", 0, -1)]
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


def test_everything_survives_kill_minus_nine(project: Shell) -> None:
    """A workflow killed in its sleep finishes, earlier executions are listed, the Redis keys are there."""
    server = project.start(*MODE)
    first = project.json("workflow", "run", "remember", "--param", "text=first")
    second = project.json("workflow", "run", "remember", "--detach", "--param", "text=second", "--param", "pause=2s")
    key = f"/api/v0/executions/{second['execution_id']}"
    eventually(lambda: has_written(project, server.ready["url"], key), "the first task")
    server.kill()
    eventually(server.gone, "the end of every child", 5)
    assert {path.name for path in state(project).iterdir()} >= KEPT

    again = project.start(*MODE)
    eventually(lambda: project.json("workflow", "show", second["execution_id"])["status"] == "completed", "its end")
    rows = {row["id"]: row for row in project.json("workflow", "list")["executions"]}
    assert {id_: row["status"] for id_, row in rows.items()} == {
        first["execution_id"]: "completed", second["execution_id"]: "completed",
    }  # fmt: skip
    assert rows[second["execution_id"]]["output"] == {"remembered": ["first", "second"]}
    assert again.stop() == 0
    assert (again.gone(), again.errors.read_text()) == (True, "")
