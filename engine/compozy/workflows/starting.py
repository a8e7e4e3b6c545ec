"""Start executions: an id counts when Temporal has accepted it, and is listed when its row is written.

A short execution writes its row once, with its end; until then a caller of the same process sees it among late rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from compozy.base.record import dataclass
from compozy.errors import UsageError
from compozy.store import Execution, Store, UnavailableError
from compozy.store.records import RUNNING, timestamp
from compozy.workflows.ends import Ends
from compozy.workflows.late_rows import LateRows
from compozy.workflows.model.definition import Definition
from compozy.workflows.model.execution_id import checked_execution_id, new_execution_id
from compozy.workflows.model.inputs import complete_input
from compozy.workflows.reconcile import InThread
from compozy.workflows.run import wire
from compozy.workflows.server_identity import TemporalIdentity
from compozy.workflows.start_places import StartPlaces
from compozy.workflows.temporal import ask

# How long a worker that was killed holds up the step that it was at; a living one sends heartbeats.
TASK_TIMEOUT = timedelta(seconds=3)
# An execution that takes longer has a row while it runs; in a burst all of them take longer.
SHOWN_AFTER_S, SHOWN_AT_LATEST_S = 0.1, 1.0
# A burst of starts asks once; shorter than the time in which an outage is noticed anyway.
WRITABLE_S = 0.05

log = logging.getLogger("compozy.workflows")


class ConflictError(UsageError):
    """A request that does not fit the state that an execution is in."""

    id = "execution.conflict"


@dataclass(frozen=True, slots=True)
class Started:
    """An execution that Temporal has accepted.

    If this process runs a worker, `first` gets the row that it writes first, and `announced` the final one.
    """

    row: Execution
    first: asyncio.Future[Execution] | None
    announced: asyncio.Future[Execution] | None


class Starter:
    """Starts executions on one task queue; lives on the client's loop."""

    def __init__(
        self, client: Client, store: Store, task_queue: str, in_thread: InThread, identity: TemporalIdentity,
        late: LateRows, ends: Ends | None, at_once: int,
    ) -> None:  # fmt: skip
        # More at once would only wait in Temporal, where each costs more, instead of here.
        self._places = StartPlaces(at_once)
        self._client = client
        self._store = store
        self._task_queue = task_queue
        self._in_thread = in_thread
        self._identity = identity
        self._late = late
        self._ends = ends
        self._writable_until = 0.0

    async def start(
        self, definition: Definition, given: Mapping[str, object] | None, execution_id: str | None
    ) -> Execution:
        """Start an execution and write its row; see `Service.start`."""
        async with self._places.place():
            started = await self._begin(definition, given, execution_id)
        await self.show(started.row)
        return started.row

    async def run(
        self, definition: Definition, given: Mapping[str, object] | None, execution_id: str | None
    ) -> Started:
        """Start an execution, and wait a moment for its end or its first pause; see `Service.run`."""
        async with self._places.place():
            started = await self._begin(definition, given, execution_id)
            return replace(started, row=await self._first_row(started))

    async def _begin(
        self, definition: Definition, given: Mapping[str, object] | None, execution_id: str | None
    ) -> Started:
        run = wire.Run(definition, complete_input(definition, given or {}), timestamp())
        name = new_execution_id(definition.id) if execution_id is None else checked_execution_id(execution_id)
        row = Execution(name, definition.id, definition.version, RUNNING, run.input, str(run.started_at))
        # These three checks come before Temporal accepts the execution: afterwards a refusal would be wrong.
        self._late.require_room()
        await self._require_writable()
        await self._identity.require_own()
        # Before the start, because a short execution ends before `start_workflow` returns.
        first, announced = (None, None) if self._ends is None else (self._ends.first(name), self._ends.future(name))
        try:
            started = await self._start_workflow(name, run)
        except WorkflowAlreadyStartedError as error:
            return Started(await self._same(row, error), first, announced)
        log.info("execution.started", extra={"execution": name, "workflow": definition.id})
        return Started(replace(row, run_id=started.result_run_id), first, announced)

    async def _require_writable(self) -> None:
        """Refuse to start what could not be recorded; the last answer counts for `WRITABLE_S`."""
        now = asyncio.get_running_loop().time()
        if now >= self._writable_until:
            await self._in_thread(self._store.require_writable)
            self._writable_until = now + WRITABLE_S

    async def _first_row(self, started: Started) -> Execution:
        """Return the row that the worker of this process soon writes; else write and return a row."""
        row, first = started.row, started.first
        if row.finished:
            return row
        # While its row is not written, a request for the execution in this process must find it.
        with self._late.starting(row):
            if first is not None and self._ends is not None:
                patience_s = min(self._ends.patience_s(SHOWN_AFTER_S), SHOWN_AT_LATEST_S)
                await asyncio.wait([first], timeout=patience_s)
                if first.done():
                    return first.result()
            await self.show(row)
        return row

    async def _start_workflow(self, name: str, run: wire.Run) -> WorkflowHandle[object, object]:
        starting = self._client.start_workflow(
            wire.WORKFLOW_TYPE,
            run.to_json(),
            id=name,
            task_queue=self._task_queue,
            # An id is used once, which makes the request idempotent.
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            memo={"workflow": run.definition.id, "version": run.definition.version},
            # A worker of this process gets the first task with the answer, which saves a round trip.
            request_eager_start=True,
            task_timeout=TASK_TIMEOUT,
        )
        return await ask(self._client, starting, name)

    async def show(self, row: Execution) -> None:
        """Make the execution visible; when the database cannot be written, the execution does it itself."""
        try:
            await self._in_thread(self._store.record_started, row)
        except UnavailableError as error:
            self._late.add(row)
            # The next start asks the database again instead of trusting the earlier answer.
            self._writable_until = 0.0
            log.warning("execution.row_late", extra={"execution": row.id, "reason": error.detail})

    async def _same(self, row: Execution, error: WorkflowAlreadyStartedError) -> Execution:
        description = await ask(self._client, self._client.get_workflow_handle(row.id).describe(), row.id)
        # The same id and input is a repetition of the request, whose answer was lost; anything else is a conflict.
        if (await description.memo()).get("workflow") != row.workflow:
            raise ConflictError(f"execution {row.id} exists and is of another workflow") from error
        await self.show(replace(row, run_id=description.run_id))
        known = await self._in_thread(self._store.execution, row.id) or row
        if known.input != row.input:
            raise ConflictError(f"execution {row.id} exists and has another input") from error
        return known
