"""The whole product in one process: what it says of itself, and what is left when it does not start."""

from __future__ import annotations

import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import compozy
from compozy.drivers.ports import free_port, listening
from compozy.errors import DriverError, PortBusyError
from compozy.server.stack import Stack


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack in memory mode that is not open yet, and ends with the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    settings = {"mode": "memory", "server.port": free_port("127.0.0.1")}
    lifecycle = compozy.load(directory=str(tmp_path), settings=settings)
    lifecycle.resolve()
    lifecycle.validate()
    made = Stack(lifecycle, notice=lambda text: None)
    yield made
    made.close(0)


def test_it_is_ready_only_while_the_worker_takes_work(stack: Stack) -> None:
    """Components that answer are not enough: without a worker executions hang."""
    health = stack.open(serve=False).health()
    assert (health["ready"], health["worker"]) == (True, {"healthy": True, "error": None})

    assert stack.workflows.worker is not None
    stack.runtime.loop.call(stack.workflows.worker.stop(0), 10)

    health = stack.health()
    assert (health["ready"], health["worker"]) == (False, {"healthy": False, "error": "it does not run"})
    assert {part["healthy"] for part in health["components"].values()} == {True}


def test_a_server_that_cannot_announce_itself_leaves_nothing(stack: Stack, tmp_path: Path) -> None:
    """Neither the port nor the import path is held, whatever was open by then."""
    (tmp_path / "runtime").write_text("in the way")
    path = list(sys.path)

    with pytest.raises(DriverError, match="cannot be used"):
        stack.open(serve=True)

    assert sys.path == path
    assert not listening("127.0.0.1", stack.resolved.get("server.port"))


def test_failed_start_takes_no_execution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers, which migrate the database first, start only when nothing can fail any more."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    kept = tmp_path / "kept.db"
    kept.touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = {"mode": "memory", "database.path": str(kept), "server.port": taken.getsockname()[1]}
        lifecycle = compozy.load(directory=str(tmp_path), settings=settings)
        lifecycle.resolve()
        lifecycle.validate()

        with pytest.raises(PortBusyError):
            Stack(lifecycle, notice=lambda text: None).open(serve=True)

    with closing(sqlite3.connect(kept)) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == []
