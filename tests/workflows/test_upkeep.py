"""The upkeep of rows: nothing that goes wrong once ends it, and one bad row spoils no other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import peewee
import pytest
from temporalio.client import Client
from tests.polling import eventually

from compozy.drivers.driver import LoopThread
from compozy.errors import NotFoundError, UsageError
from compozy.store import LOST, Execution, Store, UnavailableError
from compozy.store.records import RUNNING
from compozy.testing.servers import TemporalServer
from compozy.workflows import wire
from compozy.workflows.definition import definition_from_json
from compozy.workflows.reconcile import FEW
from compozy.workflows.service import Service
from compozy.workflows.upkeep import Upkeep

PAGE = FEW + 10
NAP = definition_from_json(
    {"id": "nap", "tasks": [{"id": "nap", "type": "aggregate", "sleep": "1000h", "output": 1}]}, "nap"
)


class FailingRows:
    """Rows that cannot be corrected the first time."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure
        self.reconciled = 0
        self.adopted = 0

    async def reconcile(self) -> tuple[str, ...]:
        self.reconciled += 1
        if self.reconciled == 1:
            raise self.failure
        return ()

    async def adopt(self) -> tuple[str, ...]:
        self.adopted += 1
        if self.adopted == 1:
            raise self.failure
        return ()


@pytest.fixture(scope="module")
def server() -> Iterator[TemporalServer]:
    """A server that can list executions."""
    with TemporalServer() as running:
        yield running


@pytest.fixture
def client(loop: LoopThread, server: TemporalServer) -> Client:
    """A client; each test has a task queue of its own."""
    return loop.call(Client.connect(server.address, identity="test"), 30)


@pytest.fixture
def service(client: Client, store: Store, tmp_path: Path) -> Iterator[Service]:
    """A service whose executions nobody works at."""
    made = Service(client, store, task_queue=tmp_path.name, directory=str(tmp_path))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("failure", "level"),
    [
        pytest.param(UnavailableError("temporal", "away"), logging.WARNING, id="unavailable"),
        pytest.param(NotFoundError("running execution", "x"), logging.WARNING, id="not-found"),
        pytest.param(UsageError("refused"), logging.WARNING, id="refused"),
        pytest.param(KeyError("definition"), logging.ERROR, id="bug"),
    ],
)
def test_a_failure_is_logged_and_the_upkeep_goes_on(
    loop: LoopThread, caplog: pytest.LogCaptureFixture, failure: Exception, level: int
) -> None:
    """Both kinds of correction are tried again; a bug has its traceback in the log."""
    rows = FailingRows(failure)
    upkeep = Upkeep(rows, interval_s=0.001, adoption_delay_s=0)

    async def start() -> None:
        upkeep.start()

    loop.call(start(), 10)
    eventually(lambda: rows.reconciled >= 4 and rows.adopted == 2)
    loop.call(upkeep.stop(), 10)

    assert [record.levelno for record in caplog.records] == [level, level]
    assert [record.exc_info is not None for record in caplog.records] == [level == logging.ERROR] * 2


def test_the_upkeep_ends_when_it_is_stopped(loop: LoopThread) -> None:
    """Nothing is corrected after the end, and stopping twice is stopping once."""
    rows = FailingRows(UsageError("refused"))
    upkeep = Upkeep(rows, interval_s=0.001, adoption_delay_s=0)

    async def live() -> None:
        upkeep.start()
        await asyncio.sleep(0.01)
        await upkeep.stop()
        await upkeep.stop()

    loop.call(live(), 10)
    seen = rows.reconciled
    loop.call(asyncio.sleep(0.02), 10)

    assert rows.reconciled == seen


@pytest.mark.parametrize(
    "argument", ["text", {"format": 1}, {"definition": [], "file": "f", "places": {}, "input": {}}]
)
def test_a_foreign_execution_spoils_no_other(
    loop: LoopThread, client: Client, service: Service, database: peewee.Database, caplog: pytest.LogCaptureFixture,
    tmp_path: Path, argument: object,
) -> None:  # fmt: skip
    """What runs on the task queue with an argument that is not ours is logged; the others are shown."""
    foreign = client.start_workflow(wire.WORKFLOW_TYPE, argument, id=f"a-{tmp_path.name}", task_queue=tmp_path.name)
    loop.call(foreign, 10)
    name = loop.call(service.start(NAP, execution_id=f"b-{tmp_path.name}"), 10)
    with database.connection_context():
        peewee.Table("executions").delete().execute(database)

    shown: list[str] = []
    eventually(lambda: shown.extend(loop.call(service.adopt(), 10)) or name in shown)

    assert shown == [name]
    assert {record.getMessage() for record in caplog.records} == {"row.not_reconciled"}
    assert "was not started by Compozy" in str(vars(caplog.records[0])["reason"])


def test_a_row_that_cannot_be_asked_for_spoils_no_other(
    loop: LoopThread, service: Service, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """An id that Temporal refuses stays as it is, the others are corrected."""
    for number, name in enumerate(("lost", "", "gone")):
        store.record_started(Execution(name, "w", "1", RUNNING, {}, f"2025-01-01T00:00:0{number}.000000Z"))

    assert loop.call(service.reconcile(), 10) == ("gone", "lost")

    assert [row.error for row in store.executions(status="terminated")] == [LOST, LOST]
    assert [vars(record)["execution"] for record in caplog.records] == [""]


def test_every_row_is_corrected(
    loop: LoopThread, service: Service, store: Store, database: peewee.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost row that is older than as many running executions as one query gives."""
    monkeypatch.setattr("compozy.workflows.reconcile.MAX_LIMIT", PAGE)
    row = Execution("e", "w", "1", RUNNING, {}, "2025-01-01T00:00:00.000000Z").to_json() | {"input": "{}"}
    rows = [{**row, "id": f"e{number:04}"} for number in range(PAGE + FEW)]
    with database.connection_context():
        peewee.Table("executions", tuple(row)).insert(rows).execute(database)

    async def start_all_but_the_oldest() -> None:
        for row in rows[FEW:]:
            await service.start(NAP, execution_id=row["id"])

    loop.call(start_all_but_the_oldest(), 60)
    eventually(lambda: len(loop.call(service.reconcile(), 60)) == FEW)

    assert store.count_by_status() == {"running": PAGE, "terminated": FEW}
