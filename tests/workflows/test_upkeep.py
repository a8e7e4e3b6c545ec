"""The upkeep of rows: nothing that goes wrong once ends it, and one bad row spoils no other."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import peewee
import pytest
from temporalio.api.command.v1 import Command, ContinueAsNewWorkflowExecutionCommandAttributes
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import CommandType, WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.namespace.v1 import NamespaceInfo
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DeleteWorkflowExecutionRequest,
    DescribeNamespaceResponse,
    PollWorkflowTaskQueueRequest,
    PollWorkflowTaskQueueResponse,
    ResetWorkflowExecutionRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskFailedRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from tests.support.polling import eventually

from compozy.drivers.protocol import LoopThread, StartContext
from compozy.drivers.temporal_remote import TemporalRemoteDriver
from compozy.errors import DriverError, NotFoundError, UsageError
from compozy.settings.keyring import random_key
from compozy.store import LOST, Execution, Pruned, Store, UnavailableError
from compozy.store.records import RUNNING, timestamp
from compozy.testing.servers import TemporalServer
from compozy.workflows.read.loader import definition_from_json
from compozy.workflows.reconcile import FEW, STUCK_ATTEMPTS
from compozy.workflows.run import wire
from compozy.workflows.server_identity import TemporalIdentity
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

    async def prune(self) -> Pruned:
        return Pruned(0, None)

    async def adopt(self) -> tuple[str, ...]:
        self.adopted += 1
        if self.adopted == 1:
            raise self.failure
        return ()


class EmptyTemporal(TemporalServer):
    """A Temporal without any execution, on a given port."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port


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
    """Return a service whose executions have no worker."""
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
def test_upkeep_logs_a_failure_and_continues(
    loop: LoopThread, caplog: pytest.LogCaptureFixture, failure: Exception, level: int
) -> None:
    """Both kinds of correction are tried again; a bug has its traceback in the log."""
    rows = FailingRows(failure)
    upkeep = Upkeep(rows, interval_s=0.001, adoption_delay_s=0)

    async def start() -> None:
        upkeep.start()

    loop.call(start(), 10)
    eventually(lambda: rows.reconciled >= 4 and rows.adopted >= 4)
    loop.call(upkeep.stop(), 10)

    assert [record.levelno for record in caplog.records] == [level, level]
    assert [record.exc_info is not None for record in caplog.records] == [level == logging.ERROR] * 2


def test_upkeep_ends_when_it_is_stopped(loop: LoopThread) -> None:
    """No row is corrected while another upkeep has several rounds, and a second stop has no effect."""
    stopped, other = (FailingRows(UsageError("refused")) for _ in range(2))
    upkeeps = [Upkeep(rows, interval_s=0.001, adoption_delay_s=0) for rows in (stopped, other)]

    async def start(upkeep: Upkeep) -> None:
        upkeep.start()

    loop.call(start(upkeeps[0]), 10)
    eventually(lambda: stopped.reconciled)
    loop.call(upkeeps[0].stop(), 10)
    loop.call(upkeeps[0].stop(), 10)
    seen = stopped.reconciled
    loop.call(start(upkeeps[1]), 10)
    eventually(lambda: other.reconciled >= 10)
    loop.call(upkeeps[1].stop(), 10)

    assert stopped.reconciled == seen


@pytest.mark.parametrize(
    "argument", ["text", {"format": 1}, {"definition": [], "file": "f", "places": {}, "input": {}}]
)
def test_a_foreign_execution_spoils_no_other(
    loop: LoopThread, client: Client, service: Service, database: peewee.Database, caplog: pytest.LogCaptureFixture,
    tmp_path: Path, argument: object,
) -> None:  # fmt: skip
    """A foreign execution on the task queue is logged; the others are shown."""
    foreign = client.start_workflow(wire.WORKFLOW_TYPE, argument, id=f"a-{tmp_path.name}", task_queue=tmp_path.name)
    loop.call(foreign, 10)
    name = loop.call(service.start(NAP, execution_id=f"b-{tmp_path.name}"), 10)
    with database.connection_context():
        peewee.Table("executions").delete().execute(database)

    shown: list[str] = []

    def adopted() -> bool:
        shown.extend(loop.call(service.adopt(), 10))
        return name in shown

    eventually(adopted)

    assert shown == [name]
    assert {record.getMessage() for record in caplog.records} == {"row.not_reconciled"}
    assert "was not started by Compozy" in str(vars(caplog.records[0])["reason"])


def test_invalid_id_of_a_row_does_not_affect_others(
    loop: LoopThread, service: Service, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """An id that Temporal refuses stays as it is, the others are corrected."""
    for number, name in enumerate(("lost", "", "ended")):
        store.record_started(Execution(name, "w", "1", RUNNING, {}, f"2025-01-01T00:00:0{number}.000000Z"))

    assert loop.call(service.reconcile(), 10) == ("ended", "lost")

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
            await service.start(NAP, execution_id=str(row["id"]))

    loop.call(start_all_but_the_oldest(), 60)
    eventually(lambda: len(loop.call(service.reconcile(), 60)) == FEW)

    assert store.count_by_status() == {"running": PAGE, "terminated": FEW}


def started(loop: LoopThread, service: Service, name: str) -> str:
    """Start an execution without a worker."""
    return loop.call(service.start(NAP, execution_id=name), 10)


def adopted(loop: LoopThread, service: Service, name: str) -> Execution:
    """Correct rows until this one is corrected; return it."""
    eventually(lambda: name in loop.call(service.adopt(), 10))
    return loop.call(service.execution(name), 10)


def poll(loop: LoopThread, client: Client, queue: str) -> PollWorkflowTaskQueueResponse:
    """Poll a workflow task as a worker does."""
    request = PollWorkflowTaskQueueRequest(namespace="default", task_queue=TaskQueue(name=queue))
    return loop.call(client.workflow_service.poll_workflow_task_queue(request, timeout=timedelta(seconds=60)), 60)


def test_a_reset_execution_runs_again(loop: LoopThread, client: Client, service: Service, tmp_path: Path) -> None:
    """A reset from outside shows as running, and the end of the new run replaces the old one."""
    name = started(loop, service, f"reset-{tmp_path.name}")
    task = poll(loop, client, tmp_path.name)
    loop.call(client.workflow_service.respond_workflow_task_completed(
        RespondWorkflowTaskCompletedRequest(task_token=task.task_token, namespace="default")
    ), 10)  # fmt: skip
    first = loop.call(service.terminate(name), 10)
    loop.call(client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace="default", workflow_execution=WorkflowExecution(workflow_id=name, run_id=first.run_id or ""),
            workflow_task_finish_event_id=4, request_id=name,
        )
    ), 10)  # fmt: skip

    again = adopted(loop, service, name)
    assert (again.status, again.error, again.started_at) == (RUNNING, None, first.started_at)
    assert again.run_id not in (None, first.run_id)

    loop.call(client.get_workflow_handle(name).terminate(reason="second"), 10)
    loop.call(service.reconcile(), 10)
    ended = loop.call(service.execution(name), 10)
    assert (ended.status, ended.error, ended.run_id) == ("terminated", "second", again.run_id)
    assert loop.call(service.adopt(), 10) == ()


def test_continued_execution_keeps_one_row(loop: LoopThread, client: Client, service: Service, tmp_path: Path) -> None:
    """Another worker may continue an execution in a new run; the row follows it, running and ended."""
    name = started(loop, service, f"continued-{tmp_path.name}")
    first = loop.call(service.execution(name), 10)
    task = poll(loop, client, tmp_path.name)
    begun = task.history.events[0].workflow_execution_started_event_attributes
    command = Command(
        command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
        continue_as_new_workflow_execution_command_attributes=ContinueAsNewWorkflowExecutionCommandAttributes(
            workflow_type=begun.workflow_type, task_queue=begun.task_queue, input=begun.input
        ),
    )
    loop.call(client.workflow_service.respond_workflow_task_completed(
        RespondWorkflowTaskCompletedRequest(task_token=task.task_token, namespace="default", commands=[command])
    ), 10)  # fmt: skip

    assert loop.call(service.reconcile(), 10) == ()
    again = adopted(loop, service, name)
    assert again == replace(first, run_id=again.run_id)
    assert again.run_id not in (None, first.run_id)

    loop.call(client.get_workflow_handle(name).terminate(reason="second"), 10)
    loop.call(service.reconcile(), 10)
    ended = loop.call(service.execution(name), 10)
    assert (ended.status, ended.error, ended.run_id) == ("terminated", "second", again.run_id)
    assert [row.id for row in loop.call(service.executions(), 10)] == [name]


def test_row_with_a_different_end_is_corrected(
    loop: LoopThread, client: Client, service: Service, store: Store, tmp_path: Path
) -> None:
    """A termination that came after the row was written is found out."""
    name = started(loop, service, f"race-{tmp_path.name}")
    row = loop.call(service.execution(name), 10)
    store.record_finished(replace(row, status="completed", output={"x": 1}, finished_at=timestamp()))
    assert loop.call(service.adopt(), 10) == ()

    loop.call(client.get_workflow_handle(name).terminate(reason="late"), 10)

    ended = adopted(loop, service, name)
    assert (ended.status, ended.output, ended.error) == ("terminated", None, "late")


def test_deleted_execution_keeps_its_known_end(
    loop: LoopThread, client: Client, service: Service, tmp_path: Path
) -> None:
    """A history that is deleted from outside ends a running row, and leaves an ended one as it is."""
    ended = loop.call(service.terminate(started(loop, service, f"kept-{tmp_path.name}")), 10)
    running = started(loop, service, f"missing-{tmp_path.name}")
    for name in (ended.id, running):
        request = DeleteWorkflowExecutionRequest(
            namespace="default", workflow_execution=WorkflowExecution(workflow_id=name)
        )
        loop.call(client.workflow_service.delete_workflow_execution(request), 10)

    eventually(lambda: bool(loop.call(service.reconcile(), 10)))

    assert loop.call(service.execution(ended.id), 10) == ended
    assert loop.call(service.execution(running), 10).status == "terminated"


def test_deadlocking_execution_is_terminated(
    loop: LoopThread, client: Client, service: Service, tmp_path: Path
) -> None:
    """A workflow task that deadlocks is tried a few times; then the execution ends with the reason."""
    name = started(loop, service, f"stuck-{tmp_path.name}")
    cause = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
    for _ in range(STUCK_ATTEMPTS):
        assert loop.call(service.reconcile(), 10) == ()
        request = RespondWorkflowTaskFailedRequest(
            task_token=poll(loop, client, tmp_path.name).task_token, namespace="default", cause=cause,
            failure=Failure(message="[TMPRL1101] Potential deadlock detected"),
        )  # fmt: skip
        loop.call(client.workflow_service.respond_workflow_task_failed(request), 10)

    assert loop.call(service.reconcile(), 10) == (name,)

    reason = "its workflow task failed 4 times: [TMPRL1101] Potential deadlock detected"
    ended = loop.call(service.execution(name), 10)
    assert (ended.status, ended.error) == ("terminated", reason)


def test_another_temporal_at_the_address_changes_no_row(loop: LoopThread, store: Store, tmp_path: Path) -> None:
    """Executions stay as they are while an empty Temporal answers, and none is started there."""
    with TemporalServer() as own, closing(LoopThread()) as asking:
        driver = TemporalRemoteDriver(host_port=own.address, encryption_key=random_key())
        driver.start(StartContext(asking, lambda line: None, time.monotonic() + 30))
        client = loop.call(Client.connect(own.address, identity="test"), 30)
        service = Service(client, store, task_queue=tmp_path.name, directory=str(tmp_path))
        name = started(loop, service, "stays")
        assert loop.call(service.reconcile(), 10) == ()
        own.stop()
        with EmptyTemporal(own.port):
            for correct in (service.reconcile, service.adopt):
                with pytest.raises(UnavailableError, match="another Temporal answers at its address"):
                    loop.call(correct(), 30)
            for use in (service.cancel(name), service.start(NAP)):
                with pytest.raises(UnavailableError, match="another Temporal answers at its address"):
                    loop.call(use, 30)
            with pytest.raises(DriverError, match="another Temporal answers at 127.0.0.1"):
                driver.ping()
        own.start()
        driver.ping()

        assert loop.call(service.start(NAP, execution_id="again"), 30) == "again"
        assert loop.call(service.reconcile(), 30) == ()
        assert loop.call(service.execution(name), 10).status == RUNNING
        service.close()


def test_a_lost_row_of_a_running_execution_is_restored(
    loop: LoopThread, service: Service, store: Store, tmp_path: Path
) -> None:
    """A row that was taken for lost runs again as soon as its execution is seen, in every round."""
    name = started(loop, service, f"found-{tmp_path.name}")
    for _ in range(2):
        row = loop.call(service.execution(name), 10)
        store.correct(replace(row, status="terminated", error=LOST, finished_at=timestamp()))

        assert adopted(loop, service, name) == row


@pytest.mark.parametrize("status", [RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.PERMISSION_DENIED])
def test_server_with_hidden_identity_is_accepted(loop: LoopThread, status: RPCStatusCode) -> None:
    """If a call is unavailable or forbidden, the rest of the identity counts."""

    class Hiding:
        """A service that does not return the cluster."""

        async def get_cluster_info(self, _request: object) -> object:
            raise RPCError("refused", status, b"")

        async def describe_namespace(self, _request: object) -> DescribeNamespaceResponse:
            return DescribeNamespaceResponse(namespace_info=NamespaceInfo(id=self.namespace_id))

        namespace_id = "one"

    service = Hiding()
    identity = TemporalIdentity(SimpleNamespace(workflow_service=service, namespace="n"), fixed=True)  # type: ignore[arg-type]
    loop.call(identity.check(), 10)
    loop.call(identity.check(), 10)

    service.namespace_id = "two"
    with pytest.raises(UnavailableError, match="namespace two instead of one"):
        loop.call(identity.check(), 10)


def test_adopted_execution_keeps_the_final_row_written_meanwhile(
    loop: LoopThread, service: Service, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An execution without a row ends between the look at the rows and the correction."""
    name = started(loop, service, f"c-{tmp_path.name}")
    row = loop.call(service.execution(name), 10)
    store.record_finished(replace(row, status="completed", finished_at=timestamp()))
    monkeypatch.setattr(store, "states", lambda ids: {})
    assert name in loop.call(service.adopt(), 10)
    assert loop.call(service.execution(name), 10).status == "completed"
