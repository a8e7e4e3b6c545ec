"""Executions on the real development server: they survive their worker and its server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import peewee
import pytest
from playhouse.pool import PooledPostgresqlDatabase
from temporalio.client import Client, WorkflowExecutionStatus
from tests.support.polling import eventually

from compozy.drivers.protocol import LoopThread
from compozy.store import UnavailableError
from compozy.testing.postgres_server import PostgresServer
from compozy.testing.servers import TemporalServer
from compozy.workflows.facade import Workflows, WorkflowSettings
from compozy.workflows.model.definition import Definition
from compozy.workflows.read.loader import definition_from_json, load_definition
from compozy.workflows.temporal import ask

POOL: Any = PooledPostgresqlDatabase
EXAMPLES = Path(__file__).parents[2] / "examples"


def flow(*tasks: dict[str, object]) -> Definition:
    """Return a definition of these tasks."""
    return definition_from_json({"id": "flow", "tasks": list(tasks)}, "flow")


def connect(loop: LoopThread, server: TemporalServer) -> Client:
    """Return a client of the server."""
    return loop.call(Client.connect(server.address, identity="test"), 30)


@pytest.fixture(scope="module")
def server() -> Iterator[TemporalServer]:
    """A server of this module's own: workers that were left alone here keep asking it."""
    with TemporalServer() as running:
        yield running


@pytest.fixture
def client(loop: LoopThread, server: TemporalServer) -> Client:
    """A client; each test has a task queue of its own."""
    return connect(loop, server)


def settings(directory: Path, grace_s: float = 5.0) -> WorkflowSettings:
    """Return settings for a project."""
    return WorkflowSettings(directory=str(directory), task_queue=directory.name, grace_s=grace_s)


def test_an_execution_outlives_its_worker(
    loop: LoopThread, client: Client, database: peewee.SqliteDatabase, tmp_path: Path
) -> None:
    """A worker that comes later continues where the earlier one stopped, tools are not called again."""
    (tmp_path / "mod_count.py").write_text(
        "import pathlib\ndef once():\n    f = pathlib.Path(__file__).with_suffix('.calls')\n"
        "    f.write_text((f.read_text() if f.exists() else '') + 'x')\n    return f.read_text()\n"
    )
    slow = flow(
        {"id": "call", "type": "basic", "tool": "mod_count:once"},
        {"id": "after", "type": "aggregate", "sleep": "1s", "output": "{{ tasks.call.output }}"},
    )
    with Workflows(client, database, loop, settings(tmp_path)) as first:
        name = first.start(slow)
        eventually(lambda: loop.call(first.service.state(name), 10)["task"] == "after")

    with Workflows(client, database, loop, settings(tmp_path)) as second:
        ended = second.wait(name, 20)

    assert ended.status == "completed"
    assert (tmp_path / "mod_count.calls").read_text() == "x"


def test_stopping_lets_a_running_tool_end(
    loop: LoopThread, client: Client, database: peewee.SqliteDatabase, tmp_path: Path
) -> None:
    """Within the grace a tool finishes, and its result is kept; its sleep is the work that the end waits for."""
    (tmp_path / "mod_slow.py").write_text(
        "import pathlib, time\ndef work():\n    here = pathlib.Path(__file__)\n"
        "    here.with_suffix('.began').touch()\n    time.sleep(0.3)\n    return 'done'\n"
    )
    with Workflows(client, database, loop, settings(tmp_path)) as first:
        name = first.start(flow({"id": "work", "type": "basic", "tool": "mod_slow:work"}))
        eventually((tmp_path / "mod_slow.began").exists)
        (tmp_path / "mod_slow.py").unlink()

    with Workflows(client, database, loop, settings(tmp_path)) as second:
        assert second.wait(name, 20).status == "completed"


def test_stopping_at_once_does_not_wait_for_a_tool(
    loop: LoopThread, client: Client, database: peewee.SqliteDatabase, tmp_path: Path
) -> None:
    """Without grace nothing waits, not even for a tool that never ends."""
    (tmp_path / "mod_hangs.py").write_text(
        "import pathlib, threading\ndef work():\n"
        "    pathlib.Path(__file__).with_suffix('.began').touch()\n    threading.Event().wait(3600)\n"
    )
    workflows = Workflows(client, database, loop, settings(tmp_path, grace_s=3600.0)).open()
    workflows.start(flow({"id": "work", "type": "basic", "tool": "mod_hangs:work"}))
    eventually((tmp_path / "mod_hangs.began").exists)

    workflows.close(0)
    workflows.close(0)


def test_outage_of_temporal_is_reported_and_survived(
    loop: LoopThread, database: peewee.SqliteDatabase, tmp_path: Path
) -> None:
    """While the server is unavailable nothing is started; after its return the same worker continues."""
    hello = load_definition(EXAMPLES / "hello-world.yaml")
    nap = flow({"id": "nap", "type": "aggregate", "sleep": "1s", "output": 1})
    with TemporalServer() as own:
        workflows = Workflows(connect(loop, own), database, loop, settings(tmp_path)).open()
        name = workflows.start(nap)
        assert workflows.run(hello).status == "completed"

        own.stop()
        with pytest.raises(UnavailableError, match="temporal is not available"):
            workflows.start(hello, execution_id="refused")

        own.start()
        assert workflows.wait(name, 30).status == "completed"
        assert workflows.run(hello, execution_id="refused", timeout_s=30).status == "completed"
        workflows.close()


def test_executions_without_a_row_are_shown(
    loop: LoopThread, client: Client, database: peewee.SqliteDatabase, tmp_path: Path
) -> None:
    """A database that was lost is filled again with what runs in Temporal."""
    nap = flow({"id": "nap", "type": "aggregate", "sleep": "1h", "output": "{{ workflow.input.n }}"})
    with Workflows(client, database, loop, settings(tmp_path)) as workflows:
        name = workflows.start(nap, {"n": 1}, execution_id="kept")
        row = workflows.execution(name)
        with database.connection_context():
            peewee.Table("executions").delete().execute(database)

        eventually(lambda: bool(loop.call(workflows.service.adopt(), 10) or workflows.executions()))

        assert replace(workflows.execution(name), started_at=row.started_at) == row


@pytest.mark.distributed
def test_an_outage_of_the_database_loses_and_doubles_nothing(loop: LoopThread, client: Client, tmp_path: Path) -> None:
    """Executions continue without PostgreSQL and are recorded after its return; new ones are rejected meanwhile."""
    nap = flow({"id": "nap", "type": "aggregate", "sleep": "1s", "output": 1})
    with PostgresServer() as server, server.database() as url:
        pool = POOL(url, max_connections=20, timeout=5)
        with Workflows(client, pool, loop, settings(tmp_path)) as workflows:
            began = [workflows.start(nap) for _ in range(10)]
            names = {*began}
            server.stop()

            def refused() -> bool:
                try:
                    # A check of the database counts for a moment: such a start is accepted and recorded later.
                    names.add(workflows.start(nap))
                except UnavailableError as error:
                    return "database is not available" in str(error)
                return False

            def has_ended(name: str) -> bool:
                found = loop.call(client.get_workflow_handle(name).describe(), 10)
                return found.status == WorkflowExecutionStatus.COMPLETED

            eventually(refused)
            # Of the executions that began before the outage; of one that it caught at its start only the row counts.
            eventually(lambda: all(map(has_ended, began)))
            server.start()

            ended = [workflows.wait(name, 30) for name in names]

            assert {row.status for row in ended} == {"completed"}
            assert {row.id for row in workflows.executions()} == names
        pool.close_all()


def test_missing_namespace_is_an_outage_and_no_missing_execution(loop: LoopThread, server: TemporalServer) -> None:
    """The namespace was deleted."""
    client = loop.call(Client.connect(server.address, namespace="deleted"), 30)

    with pytest.raises(UnavailableError, match="Namespace deleted is not found"):
        loop.call(ask(client, client.get_workflow_handle("x").describe(), "x"), 30)


def test_burst_of_starts_gets_first_tasks_with_the_answers(
    loop: LoopThread, client: Client, database: peewee.SqliteDatabase, tmp_path: Path
) -> None:
    """More starts than the worker has slots wait in this process; in Temporal each would take twice the requests."""
    chosen = replace(settings(tmp_path), max_concurrent_workflows=2)
    short = flow({"id": "a", "type": "aggregate", "output": 1})

    async def eager(execution_id: str) -> bool:
        history = await client.get_workflow_handle(execution_id).fetch_history()
        return history.events[0].workflow_execution_started_event_attributes.eager_execution_accepted

    with Workflows(client, database, loop, chosen) as workflows, ThreadPoolExecutor(100) as pool:
        rows = list(pool.map(lambda number: workflows.run(short), range(100)))

    async def accepted() -> list[bool]:
        return await asyncio.gather(*(eager(row.id) for row in rows))

    assert all(loop.call(accepted(), 30))
