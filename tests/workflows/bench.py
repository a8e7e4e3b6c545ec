"""Fixtures for everything that runs workflows: a loop, a Temporal that skips time, a project, a store."""

from __future__ import annotations

import secrets
import sqlite3
import sys
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import peewee
import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from compozy.drivers.protocol import LoopThread
from compozy.knowledge.library import Library
from compozy.store import Store
from compozy.workflows.facade import Workflows, WorkflowSettings
from compozy.workflows.run.tool_loader import NO_OFFER, ToolOffer

BIN = Path(sys.executable).parent
TEMPORAL_TEST_SERVER = BIN / "temporal-test-server"
CALL_TIMEOUT_S = 60.0


@pytest.fixture(scope="session")
def loop() -> Iterator[LoopThread]:
    """Run one event loop in a thread of its own."""
    thread = LoopThread()
    yield thread
    thread.close()


@contextmanager
def time_skipping(loop: LoopThread) -> Iterator[WorkflowEnvironment]:
    """Run a test server of Temporal, which skips timers on request."""
    environment = loop.call(
        WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(TEMPORAL_TEST_SERVER)),
        CALL_TIMEOUT_S,
    )
    try:
        yield environment
    finally:
        loop.call(environment.shutdown(), CALL_TIMEOUT_S)


@pytest.fixture(scope="session")
def skipping(loop: LoopThread) -> Iterator[WorkflowEnvironment]:
    """Share one test server of Temporal."""
    with time_skipping(loop) as environment:
        yield environment


@pytest.fixture
def database() -> Iterator[peewee.SqliteDatabase]:
    """Return an in-memory SQLite that all threads share, as long as the test runs."""
    name = f"file:/{secrets.token_hex(8)}?vfs=memdb"
    with closing(sqlite3.connect(name, uri=True)):
        yield peewee.SqliteDatabase(name, uri=True, timeout=5)


@pytest.fixture
def store(database: peewee.SqliteDatabase) -> Store:
    """Return a store with its tables."""
    made = Store(database)
    made.migrate()
    return made


@dataclass
class Bench:
    """A project directory with workflows on a real Temporal; `open` gives the facade."""

    directory: Path
    environment: WorkflowEnvironment
    database: peewee.Database
    loop: LoopThread
    task_queue: str = field(default_factory=lambda: secrets.token_hex(8))
    opened: ExitStack = field(default_factory=ExitStack)
    offer: ToolOffer = NO_OFFER

    @property
    def client(self) -> Client:
        """Return the client, which lives on the loop."""
        return self.environment.client

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def open(self, library: Library | None = None, **settings: Any) -> Workflows:
        """Open the workflows of the project; they are closed at the end of the test."""
        usual = {"directory": str(self.directory), "task_queue": self.task_queue, "grace_s": 1.0}
        chosen = WorkflowSettings(**{**usual, **settings})
        made = Workflows(self.client, self.database, self.loop, chosen, self.offer, library)
        return self.opened.enter_context(made)

    def skip(self, hours: float) -> None:
        """Skip time on the test server of Temporal."""
        self.call(self.environment.sleep(timedelta(hours=hours)))

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the loop of the client."""
        return self.loop.call(coroutine, CALL_TIMEOUT_S)


@pytest.fixture
def bench(
    tmp_path: Path, skipping: WorkflowEnvironment, database: peewee.SqliteDatabase, loop: LoopThread
) -> Iterator[Bench]:
    """Return a project on the test server of Temporal."""
    made = Bench(tmp_path, skipping, database, loop)
    with made.opened:
        yield made


@pytest.fixture
def timed(tmp_path: Path, database: peewee.SqliteDatabase, loop: LoopThread) -> Iterator[Bench]:
    """Return a project on a test server of its own, with a clock that no other test uses."""
    with time_skipping(loop) as environment:
        made = Bench(tmp_path, environment, database, loop)
        with made.opened:
            yield made
