"""Bring rows of the store up to date with Temporal, which knows better.

What comes in: a Temporal client and a store. What goes out: corrected rows. An execution that was
terminated, timed out or lost with its history cannot write its own end; this does, and is safe to repeat
and to run in several processes.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any, TypeVar

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from temporalio.converter import WorkflowSerializationContext
from temporalio.exceptions import ApplicationError, FailureError

from compozy.errors import CompozyError, NotFoundError
from compozy.store import Execution, Store, UnavailableError
from compozy.store.records import LOST, RUNNING, timestamp
from compozy.store.store import MAX_LIMIT
from compozy.workflows import wire
from compozy.workflows.plain import clean_reason
from compozy.workflows.temporal import UnreadableError, ask

FEW = 20
_STATUSES = {
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.CANCELED: "canceled",
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.TIMED_OUT: "timed_out",
}
_OPEN = f'WorkflowType = "{wire.WORKFLOW_TYPE}" AND ExecutionStatus = "Running" AND TaskQueue = '

_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ApplicationError)

InThread = Callable[..., Awaitable[Any]]
Result = TypeVar("Result")
log = logging.getLogger("compozy.workflows")


class ForeignExecutionError(CompozyError):
    """An execution on the task queue that no version of Compozy started."""

    id = "execution.foreign"
    exit_code = 5

    def __init__(self, execution: str) -> None:
        super().__init__(f"execution {execution} was not started by Compozy: its argument cannot be read")


class Reconciler:
    """Compare rows with Temporal; `in_thread` runs a store call off the event loop."""

    def __init__(self, client: Client, store: Store, task_queue: str, in_thread: InThread) -> None:
        self._client = client
        self._open = _OPEN + json.dumps(task_queue)
        self._store = store
        self._in_thread = in_thread

    async def reconcile(self) -> tuple[str, ...]:
        """Correct the rows that say running while Temporal says otherwise; return their ids.

        Raises:
            UnavailableError: the database or Temporal does not answer.
        """
        corrected: list[str] = []
        last: Execution | None = None
        while True:
            rows: tuple[Execution, ...] = await self._in_thread(self._running_rows, last)
            corrected += await self._corrected(rows)
            if len(rows) < MAX_LIMIT:
                return tuple(corrected)
            last = rows[-1]

    async def adopt(self) -> tuple[str, ...]:
        """Show the executions that run without a row, or whose row was taken for lost; return their ids.

        Raises:
            UnavailableError: the database or Temporal does not answer.
        """
        unseen = await self._in_thread(self._unseen, await self._open_ids())
        return tuple([name for name in unseen if await _apart(name, self._show(name))])

    async def update(self, row: Execution) -> Execution:
        """Return `row` as Temporal knows it, and write it when it has ended.

        Raises:
            UnavailableError: the database or Temporal does not answer.
        """
        try:
            description = await ask(self._client, self._client.get_workflow_handle(row.id).describe(), row.id)
        except NotFoundError:
            ended = replace(row, status="terminated", error=LOST, finished_at=max(row.started_at, timestamp()))
        else:
            if description.status not in _STATUSES:
                return row
            ended = await self._ended(row, description)
        await self._in_thread(self._store.record_finished, ended)
        written: Execution | None = await self._in_thread(self._store.execution, row.id)
        return written or ended

    async def _corrected(self, rows: Sequence[Execution]) -> list[str]:
        # A few are asked one by one; for many, one listing tells most of them apart.
        still_open = await self._open_ids() if len(rows) > FEW else set()
        stale = [row for row in rows if row.id not in still_open]
        known = [(row.id, await _apart(row.id, self.update(row))) for row in stale]
        return [name for name, row in known if row is not None and row.finished]

    def _running_rows(self, before: Execution | None) -> tuple[Execution, ...]:
        return self._store.executions(status=RUNNING, limit=MAX_LIMIT, before=before)

    async def _open_ids(self) -> set[str]:
        async def listed() -> set[str]:
            return {execution.id async for execution in self._client.list_workflows(self._open)}

        return await ask(self._client, listed(), "list")

    def _unseen(self, names: set[str]) -> list[str]:
        rows = ((name, self._store.execution(name)) for name in sorted(names))
        return [name for name, row in rows if row is None or row.error == LOST]

    async def _show(self, name: str) -> bool:
        await self._in_thread(self._store.record_started, await self._begun(name))
        return True

    async def _begun(self, name: str) -> Execution:
        """Read from its history how an execution began."""
        events = self._client.get_workflow_handle(name).fetch_history_events(page_size=1)
        event = await ask(self._client, _first(events), name)
        begun = event.workflow_execution_started_event_attributes
        try:
            context = WorkflowSerializationContext(self._client.namespace, name)
            (payload,) = await self._client.data_converter.with_context(context).decode(begun.input.payloads)
            run = wire.decode_run(payload)
        except _UNREADABLE as error:
            raise ForeignExecutionError(name) from error
        started_at = run.started_at or timestamp(event.event_time.ToDatetime(UTC))
        return Execution(name, run.definition.id, run.definition.version, RUNNING, run.input, started_at)

    async def _ended(self, row: Execution, description: WorkflowExecutionDescription) -> Execution:
        status = _STATUSES[description.status or WorkflowExecutionStatus.TERMINATED]
        output, error = None, None
        try:
            output = await ask(self._client, self._client.get_workflow_handle(row.id).result(), row.id)
        except WorkflowFailureError as failure:
            error = clean_reason(_reason(failure))
        except UnreadableError as failure:
            status, error = "failed", failure.reason
        return replace(
            row,
            status=status,
            output=output,
            error=error,
            finished_at=max(row.started_at, timestamp(description.close_time)),
        )


async def _apart(name: str, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Return the result for one execution, or log why there is none, so that the others do not suffer from it.

    Raises:
        UnavailableError: the database or Temporal does not answer, which concerns all of them.
    """
    outcomes: tuple[Result | BaseException] = await asyncio.gather(work, return_exceptions=True)
    outcome = outcomes[0]
    if isinstance(outcome, UnavailableError):
        raise outcome
    if isinstance(outcome, CompozyError):
        log.warning("row.not_reconciled", extra={"execution": name, "reason": outcome.message})
    elif isinstance(outcome, BaseException):
        log.error("row.not_reconciled", extra={"execution": name}, exc_info=outcome)
    else:
        return outcome
    return None


async def _first(events: AsyncIterator[HistoryEvent]) -> HistoryEvent:
    return await anext(events)


def _reason(failure: WorkflowFailureError) -> str:
    cause = failure.cause
    if isinstance(cause, (ApplicationError, FailureError)):
        return cause.message
    return str(cause)
