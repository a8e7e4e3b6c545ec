"""Bring rows of the store up to date with Temporal, which knows better.

An execution that was terminated, timed out, reset or lost with its history cannot write its own row; this does, and is
safe to repeat and to run in several processes. An execution whose workflow task keeps deadlocking is terminated.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from temporalio.api.common.v1 import WorkflowExecution as WorkflowExecutionName
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from temporalio.converter import WorkflowSerializationContext
from temporalio.exceptions import ApplicationError, FailureError

from compozy.errors import CompozyError, NotFoundError
from compozy.store import Execution, Store, UnavailableError
from compozy.store.records import LOST, RUNNING, RowState, timestamp
from compozy.store.store import MAX_LIMIT
from compozy.workflows.model.plain import clean_reason
from compozy.workflows.run import wire
from compozy.workflows.server_identity import TemporalIdentity
from compozy.workflows.temporal import UnreadablePayloadError, ask

FEW = 20
MAX_LISTED = 10_000
CHUNK = 500
_STATUSES = {
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.CANCELED: "canceled",
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.TIMED_OUT: "timed_out",
}
_OURS = f'WorkflowType = "{wire.WORKFLOW_TYPE}" AND TaskQueue = '
_OPEN = ' AND ExecutionStatus = "Running"'
_PROBLEMS = "TemporalReportedProblems"
# How far back the first look at ended executions goes; each later one goes back a little behind the one before.
_FIRST_LOOK = timedelta(days=1)
_OVERLAP = timedelta(minutes=1)
STUCK_ATTEMPTS = 4
_DEADLOCK = "TMPRL1101"

# What converters and `decode_run` raise for a payload that Compozy did not write.
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

    def __init__(
        self, client: Client, store: Store, task_queue: str, in_thread: InThread, identity: TemporalIdentity
    ) -> None:
        self._client = client
        self._ours = _OURS + json.dumps(task_queue)
        self._store = store
        self._in_thread = in_thread
        self._identity = identity
        self._looked_at: datetime | None = None
        self._foreign: set[str] = set()

    async def reconcile(self) -> tuple[str, ...]:
        """Correct the rows with status running whose execution does not run in Temporal; return their ids.

        Raises:
            UnavailableError: the database or Temporal does not answer.
        """
        await self._identity.check()
        corrected: list[str] = []
        last: Execution | None = None
        while True:
            rows: tuple[Execution, ...] = await self._in_thread(self._running_rows, last)
            # Pages by position, because corrected rows leave the listing and would shift an offset.
            corrected += await self._corrected(rows)
            if len(rows) < MAX_LIMIT:
                return tuple(corrected)
            last = rows[-1]

    async def adopt(self) -> tuple[str, ...]:
        """Correct the rows of executions that were changed from outside; return their ids.

        These are executions that run without a row, or in another run than that of their row (after a reset, or
        continued as new), and executions whose final status differs from that of their row.

        Raises:
            UnavailableError: the database or Temporal does not answer.
        """
        await self._identity.check()
        # Taken before the listing, so that an execution that ends during it is seen by the next look.
        now = datetime.now(UTC)
        # The index of executions in Temporal lags behind; the overlap covers that and clocks that differ a little.
        since = (self._looked_at or now - _FIRST_LOOK) - _OVERLAP
        closed = await self._listed(f' AND ExecutionStatus != "Running" AND CloseTime > "{since.isoformat()}"')
        latest = {found.id: found for found in sorted(closed, key=lambda found: found.close_time or now)}
        # An open run replaces the closed ones of its id: after a reset or continue-as-new it is the present one.
        latest |= {found.id: found for found in await self._listed(_OPEN)}
        # The listing only suggests candidates; each is described and compared again before its row is written.
        corrected = [name for name in await self._different(latest) if await _apart(name, self._adopt(name))]
        # Only after success: a round that failed is repeated over the same period.
        self._looked_at = now
        return tuple(corrected)

    async def update(self, row: Execution) -> Execution:
        """Return `row` as Temporal knows it, and write it when it has ended.

        Raises:
            UnavailableError: the database or Temporal does not answer.
        """
        try:
            description = await ask(self._client, self._client.get_workflow_handle(row.id).describe(), row.id)
        except NotFoundError:
            await self._identity.check()
            # Unknown to a Temporal whose identity was just checked, so that a fresh or another server never ends all
            # rows.
            ended = replace(row, status="terminated", error=LOST, finished_at=max(row.started_at, timestamp()))
        else:
            if description.status not in _STATUSES:
                return await self._unstuck(row, description)
            ended = await self._ended(row, description)
        await self._in_thread(self._store.record_finished, ended)
        # The execution or another process may have written an end meanwhile, which the store keeps; that one counts.
        written: Execution | None = await self._in_thread(self._store.execution, row.id)
        return written or ended

    async def confirm(self, row: Execution) -> None:
        """Correct the row of an execution that has ended, when Temporal knows another end.

        Raises:
            UnavailableError: the database or Temporal does not answer.
        """
        await (self._adopt(row.id) if row.finished else self.update(row))

    async def _corrected(self, rows: Sequence[Execution]) -> list[str]:
        # A few are described one by one; for many, one listing decides most of them.
        still_open = await self._open_ids() if len(rows) > FEW else set()
        stale = [row for row in rows if row.id not in still_open]
        known = [(row.id, await _apart(row.id, self.update(row))) for row in stale]
        return [name for name, row in known if row is not None and row.finished]

    def _running_rows(self, before: Execution | None) -> tuple[Execution, ...]:
        position = None if before is None else before.position
        return self._store.executions(status=RUNNING, limit=MAX_LIMIT, before=position)

    async def _open_ids(self) -> set[str]:
        """Return what runs, but for executions whose workflow task keeps failing."""
        return {found.id for found in await self._listed(_OPEN) if _PROBLEMS not in found.search_attributes}

    async def _listed(self, which: str) -> list[WorkflowExecution]:
        async def listed() -> list[WorkflowExecution]:
            return [found async for found in self._client.list_workflows(self._ours + which, limit=MAX_LISTED)]

        return await ask(self._client, listed(), "list")

    async def _different(self, latest: Mapping[str, WorkflowExecution]) -> list[str]:
        # Foreign executions are skipped from now on, because their history would be read again in every round.
        names = sorted(set(latest) - self._foreign)
        different: list[str] = []
        for first in range(0, len(names), CHUNK):
            chunk = names[first : first + CHUNK]
            rows: Mapping[str, RowState] = await self._in_thread(self._store.states, chunk)
            different += [name for name in chunk if _differs(rows.get(name), latest[name])]
        return different

    async def _adopt(self, name: str) -> bool:
        """Write the present state in Temporal, unless the row has it already."""
        described = await ask(self._client, self._client.get_workflow_handle(name).describe(), name)
        rows: Mapping[str, RowState] = await self._in_thread(self._store.states, [name])
        if not _differs(rows.get(name), described):
            return False
        row = replace(await self._begun(name), run_id=described.run_id)
        # Between listing and writing the execution may end and write its own row, so the description is the fresher
        # source.
        running = described.status == WorkflowExecutionStatus.RUNNING
        # An execution without a row may end meanwhile and write its final row, which must stay.
        write = self._store.record_started if running and name not in rows else self._store.correct
        await self._in_thread(write, row if running else await self._ended(row, described))
        return True

    async def _unstuck(self, row: Execution, description: WorkflowExecutionDescription) -> Execution:
        """Terminate an execution whose workflow task has deadlocked several times; it would do so for ever."""
        attempts = description.raw_description.pending_workflow_task.attempt
        # A deadlock may come from a busy machine, so that a few attempts are awaited; other failures may heal by a new
        # version.
        if attempts <= STUCK_ATTEMPTS or _DEADLOCK not in (failure := await self._last_failure(row.id)):
            return row
        reason = f"its workflow task failed {attempts - 1} times: {clean_reason(failure)}"
        log.error("execution.terminated", extra={"execution": row.id, "reason": reason})
        await ask(self._client, self._client.get_workflow_handle(row.id).terminate(reason=reason), row.id)
        return await self.update(row)

    async def _last_failure(self, name: str) -> str:
        request = GetWorkflowExecutionHistoryReverseRequest(
            namespace=self._client.namespace, execution=WorkflowExecutionName(workflow_id=name), maximum_page_size=1
        )
        answer = await ask(
            self._client, self._client.workflow_service.get_workflow_execution_history_reverse(request), name
        )
        return "".join(event.workflow_task_failed_event_attributes.failure.message for event in answer.history.events)

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
            self._foreign.add(name)
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
        except UnreadablePayloadError as failure:
            status, error = "failed", failure.reason
        return replace(
            row,
            status=status,
            output=output,
            error=error,
            finished_at=max(row.started_at, timestamp(description.close_time)),
            run_id=description.run_id,
        )


async def _apart(name: str, work: Coroutine[object, object, Result]) -> Result | None:
    """Return the result for one execution, or log the error, so that the other executions are still reconciled.

    Raises:
        UnavailableError: the database or Temporal does not answer, which concerns all of them.
    """
    outcomes: tuple[Result | BaseException] = await asyncio.gather(work, return_exceptions=True)
    outcome = outcomes[0]
    # Further calls would only repeat the outage for each of the other executions.
    if isinstance(outcome, UnavailableError):
        raise outcome
    if isinstance(outcome, CompozyError):
        log.warning("row.not_reconciled", extra={"execution": name, "reason": outcome.message})
    elif isinstance(outcome, BaseException):
        log.error("row.not_reconciled", extra={"execution": name}, exc_info=outcome)
    else:
        return outcome
    return None


def _differs(row: RowState | None, found: WorkflowExecution) -> bool:
    """Return True if a row differs from the state in Temporal; a running row is not compared with an ended run.

    An execution writes its last row before it ends, so that a finished row of the run that is still open is right.
    """
    running = found.status == WorkflowExecutionStatus.RUNNING
    # A row that retention has removed must not return with an ended execution.
    if row is None:
        return running
    other_run = row.run_id not in (None, found.run_id)
    if running:
        return row.error == LOST or other_run
    ended = _STATUSES.get(found.status or WorkflowExecutionStatus.RUNNING, row.status)
    return row.finished and (row.error == LOST or other_run or row.status != ended)


async def _first(events: AsyncIterator[HistoryEvent]) -> HistoryEvent:
    return await anext(events)


def _reason(failure: WorkflowFailureError) -> str:
    cause = failure.cause
    if isinstance(cause, (ApplicationError, FailureError)):
        return cause.message
    return str(cause)
