"""The whole product in one process: its status and documentation, and the cleanup of a failed start."""

from __future__ import annotations

import logging
import socket
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.polling import eventually, eventually_healthy

import compozy
from compozy.client.answers import WorkerHealth
from compozy.drivers.ports import free_port, listening
from compozy.errors import DriverError, PortBusyError
from compozy.server.stack import Stack, server_port
from compozy.state.presence import find_server
from compozy.store.schema_version import HISTORY_TABLE
from compozy.store.unavailable import SchemaError


def stack_of(directory: Path, settings: Mapping[str, object]) -> Stack:
    """Return a stack in memory mode that is not open yet."""
    lifecycle = compozy.load(directory=str(directory), settings={"mode": "memory", **settings})
    lifecycle.resolve()
    lifecycle.validate()
    return Stack(lifecycle, notice=lambda text: None)


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack in memory mode that is not open yet, and ends with the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    made = stack_of(tmp_path, {"server.port": free_port("127.0.0.1")})
    yield made
    made.close(0)


def test_it_is_ready_only_while_the_worker_takes_work(stack: Stack) -> None:
    """Components that answer are not enough: without a worker executions hang."""
    stack.open(serve=False)
    eventually(lambda: stack.health().ready, "readiness")
    assert stack.health().worker == WorkerHealth(healthy=True)

    assert stack.workflows.worker is not None
    stack.runtime.loop.call(stack.workflows.worker.stop(0), 10)

    health = stack.health()
    assert (health.ready, health.worker) == (False, WorkerHealth(healthy=False, error="it does not run"))
    eventually_healthy(lambda: stack.health().components)


def test_failed_announcement_of_the_server_leaves_nothing(stack: Stack, tmp_path: Path) -> None:
    """Port and import path are released, for every part that was open at that time."""
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
        stack = stack_of(tmp_path, {"database.path": str(kept), "server.port": taken.getsockname()[1]})
        with pytest.raises(PortBusyError):
            stack.open(serve=True)

    with closing(sqlite3.connect(kept)) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == []


def test_requests_are_accepted_after_the_workers_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The workers fail at a database of a newer version; the listening socket has answered no request by then."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    kept = tmp_path / "kept.db"
    with closing(sqlite3.connect(kept)) as database:
        database.executescript(
            f"CREATE TABLE {HISTORY_TABLE} (id, name, applied); "
            f"INSERT INTO {HISTORY_TABLE} VALUES (1, '9999_later', '');"
        )
    stack = stack_of(tmp_path, {"database.path": str(kept), "server.port": free_port("127.0.0.1")})
    with caplog.at_level(logging.INFO, "uvicorn"), pytest.raises(SchemaError, match="9999_later"):
        stack.open(serve=True)

    assert [record.message for record in caplog.records if record.name.startswith("uvicorn")] == []


def test_record_of_a_server_holds_its_random_key_and_no_written_one(stack: Stack, tmp_path: Path) -> None:
    """The record is private; `repr` shows no key."""
    stack.open(serve=True)
    found = find_server(str(tmp_path))
    assert found is not None
    assert found.api_key is not None
    assert found.api_key not in repr(found)
    (record,) = (tmp_path / "runtime" / "compozy").iterdir()
    assert record.stat().st_mode & 0o777 == 0o600
    assert record.parent.stat().st_mode & 0o777 == 0o700
    assert found.api_key not in stack.browser_link()
    stack.close(0)

    written = {"mode": "memory", "server.port": free_port("127.0.0.1"), "server.api_key": "a-key-of-sixteen-characters"}
    lifecycle = compozy.load(directory=str(tmp_path), settings=written)
    lifecycle.resolve()
    lifecycle.validate()
    other = Stack(lifecycle, notice=lambda text: None)
    try:
        other.open(serve=True)
        found = find_server(str(tmp_path))
        assert found is not None
        assert found.api_key is None
    finally:
        other.close(0)


@pytest.mark.parametrize(
    ("settings", "explicit"),
    [
        pytest.param({}, False, id="loopback"),
        pytest.param({"server.port": 9000}, True, id="chosen"),
        pytest.param({"server.host": "0.0.0.0", "server.api_key": "a-key-of-sixteen-characters"}, True, id="open"),
    ],
)
def test_busy_default_port_moves_on_loopback_only(tmp_path: Path, settings: dict[str, object], explicit: bool) -> None:
    """Other machines were given a port that must not change."""
    lifecycle = compozy.load(directory=str(tmp_path), settings={"mode": "memory", **settings}, environment={})
    assert server_port(lifecycle.resolve()).explicit == explicit
