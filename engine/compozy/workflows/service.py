"""Start, watch and steer executions: the one core that every caller uses, on one event loop.

An id is returned only when Temporal has accepted the execution; from then on it is durable and its row is listed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from temporalio.client import Client, WorkflowFailureError

from compozy.errors import CompozyError, NotFoundError, UsageError
from compozy.store import Execution, Pruned, Store, TaskExecution, UnavailableError
from compozy.store.records import STATUSES, Change, Position, timestamp
from compozy.workflows.catalogue import Catalogue, Imported, Listing, exported_definitions
from compozy.workflows.checks import Checks
from compozy.workflows.ends import ANNOUNCED_S, Ends, announced_or
from compozy.workflows.late_rows import LateRows
from compozy.workflows.model.definition import Definition
from compozy.workflows.model.plain import why_not_plain
from compozy.workflows.reconcile import Reconciler
from compozy.workflows.run import wire
from compozy.workflows.server_identity import TemporalIdentity
from compozy.workflows.starting import ConflictError, Starter
from compozy.workflows.temporal import UnreadablePayloadError, ask, result_of

READERS = 4
STARTS_AT_ONCE = 10
WAIT_PATIENCE_S = 5.0
# Longer than a writer waits for its turn, so that the error of the database itself comes first.
DATABASE_PATIENCE_S = 10.0
# Longer than an execution tries to write its last row.
CANCEL_PATIENCE_S = 30.0
TERMINATED = "terminated by request"
SIGNAL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z")

log = logging.getLogger("compozy.workflows")
Result = TypeVar("Result")


class Service:
    """The workflows of one project on one Temporal namespace; every coroutine runs on the client's loop."""

    def __init__(
        self, client: Client, store: Store, *, task_queue: str, directory: str, files: Sequence[str] = (),
        history_kept: bool = True, retention_s: float | None = None, patience_s: float = DATABASE_PATIENCE_S,
        cancel_patience_s: float = CANCEL_PATIENCE_S, ends: Ends | None = None, at_once: int = STARTS_AT_ONCE,
    ) -> None:  # fmt: skip
        """Prepare; `ends` announces the rows that a worker in this process writes, None without a worker.

        `at_once` bounds the executions that are started at once.
        """
        self._ends = ends
        self._client = client
        self._store = store
        self._task_queue = task_queue
        self._patience_s = patience_s
        self._retention_s = retention_s
        self._cancel_patience_s = cancel_patience_s
        self._cancelling: dict[str, asyncio.Task[None]] = {}
        self._catalogue = Catalogue(store, directory, files)
        self.checks = Checks()
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="compozy-store")
        self._identity = TemporalIdentity(client, fixed=history_kept)
        self._late = LateRows(store, self._in_thread)
        self._starter = Starter(client, store, task_queue, self._in_thread, self._identity, self._late, ends, at_once)
        self._reconciler = Reconciler(client, store, task_queue, self._in_thread, self._identity)

    def close(self) -> None:
        """Release the threads; idempotent."""
        self.checks.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def stop(self) -> None:
        """End what waits for answers to cancellations; idempotent."""
        # Replaced first, because each task removes itself from the mapping when it ends.
        waiting, self._cancelling = self._cancelling, {}
        for task in waiting.values():
            task.cancel()
        await asyncio.gather(*waiting.values(), return_exceptions=True)

    async def start(
        self,
        workflow: Definition | str,
        given: Mapping[str, object] | None = None,
        *,
        execution_id: str | None = None,
    ) -> str:
        """Start an execution of a definition or of a workflow's id, and return its id.

        Starting twice with the same `execution_id`, workflow and input is one execution.

        Raises:
            NotFoundError: the workflow does not exist.
            InputError: the workflow does not take the input.
            ConflictError: the id belongs to an execution of another workflow or with another input.
            UnavailableError: the database or Temporal does not answer; nothing was started.
        """
        return (await self._starter.start(await self._known(workflow), given, execution_id)).id

    async def wait(
        self, execution_id: str, timeout_s: float | None = None, stop: asyncio.Event | None = None
    ) -> Execution:
        """Wait until an execution has ended, at most `timeout_s` or until `stop` is set; return it as it is then.

        Raises:
            NotFoundError: the execution does not exist.
            UnavailableError: the database or Temporal does not answer.
        """
        # Before the row is read: an end between the reading and the waiting would be missed.
        announced = None if self._ends is None else self._ends.future(execution_id)
        row = await self.execution(execution_id)
        return row if row.finished else await self._wait(execution_id, announced, timeout_s, stop)

    async def run(
        self, workflow: Definition | str, given: Mapping[str, object] | None = None, *,
        execution_id: str | None = None, timeout_s: float | None = None, stop: asyncio.Event | None = None,
    ) -> Execution:  # fmt: skip
        """Start an execution and wait for it, see `start` and `wait`; a short one writes its row once, with its end."""
        started = await self._starter.run(await self._known(workflow), given, execution_id)
        row = started.row
        return row if row.finished else await self._wait(row.id, started.announced, timeout_s, stop)

    async def execution(self, execution_id: str) -> Execution:
        """Return one execution.

        Raises:
            NotFoundError: the execution does not exist.
            UnavailableError: the database does not answer.
        """
        found = await self._in_thread(self._store.execution, execution_id)
        if found is not None:
            # The row is in the database now, perhaps written by the execution itself.
            self._late.forget(execution_id)
            return found
        late = self._late.get(execution_id)
        if late is None:
            raise NotFoundError("execution", execution_id)
        return late

    async def tasks(self, execution_id: str) -> tuple[TaskExecution, ...]:
        """Return the tasks of an execution in the order in which they began; raises UnavailableError."""
        return await self._in_thread(self._store.tasks, execution_id)

    async def executions(
        self, *, limit: int = 100, workflow: str | None = None, status: str | None = None,
        before: Position | None = None,
    ) -> tuple[Execution, ...]:  # fmt: skip
        """Return the newest executions first; with `before` only those after this position.

        Raises:
            UsageError: the status does not exist.
            UnavailableError: the database does not answer.
        """
        if status is not None and status not in STATUSES:
            raise UsageError(f'unknown status "{status}"; statuses: {", ".join(STATUSES)}')
        return await self._in_thread(
            lambda: self._store.executions(limit=limit, workflow=workflow, status=status, before=before)
        )

    async def changes(self, since: str, ids: Collection[str]) -> tuple[Change, ...]:
        """Return the executions that run, started at `since` or later, or are in `ids`; see `Store.changes`."""
        return await self._in_thread(self._store.changes, since, ids)

    async def count_by_status(self) -> Mapping[str, int]:
        """Return how many executions have each status, every status named.

        Raises:
            UnavailableError: the database does not answer.
        """
        counted = await self._in_thread(self._store.count_by_status)
        return {status: counted.get(status, 0) for status in STATUSES}

    async def cancel(self, execution_id: str) -> Execution:
        """Ask an execution to end, and terminate it when it does not answer; one that has ended stays as it is.

        Raises:
            NotFoundError: the execution does not exist.
            UnavailableError: the database or Temporal does not answer.
        """
        row = await self.execution(execution_id)
        if row.finished:
            return row
        try:
            await ask(self._client, self._client.get_workflow_handle(execution_id).cancel(), execution_id)
        except NotFoundError:
            return await self._reconciler.update(row)
        # One task for each execution, however often it is cancelled.
        if execution_id not in self._cancelling:
            self._cancelling[execution_id] = asyncio.create_task(self._insist(execution_id), name="compozy cancel")
        return row

    async def _insist(self, execution_id: str) -> None:
        """Terminate an execution that does not answer its cancellation; correct the row of one that ended otherwise."""
        try:
            async with asyncio.timeout(self._cancel_patience_s):
                await self._ended(execution_id)
            await self._reconciler.confirm(await self.execution(execution_id))
        except TimeoutError:
            reason = f"it did not answer its cancellation within {self._cancel_patience_s:g} s"
            log.warning("execution.terminated", extra={"execution": execution_id, "reason": reason})
            await self.terminate(execution_id, reason)
        except CompozyError as error:
            log.warning("execution.not_terminated", extra={"execution": execution_id, "reason": error.message})
        finally:
            self._cancelling.pop(execution_id, None)

    async def terminate(self, execution_id: str, reason: str = TERMINATED) -> Execution:
        """End an execution at once, without letting it clean up; one that has ended stays as it is.

        Raises:
            NotFoundError: the execution does not exist.
            UnavailableError: the database or Temporal does not answer.
        """
        row = await self.execution(execution_id)
        if row.finished:
            return row
        handle = self._client.get_workflow_handle(execution_id)
        # It may have ended since its row was read; `update` then writes the real end.
        with contextlib.suppress(NotFoundError):
            await ask(self._client, handle.terminate(reason=reason), execution_id)
        return await self._reconciler.update(row)

    async def signal(self, execution_id: str, name: str, payload: object = None) -> None:
        """Send a signal to a running execution.

        Raises:
            NotFoundError: the execution does not exist.
            ConflictError: it has ended.
            UsageError: the name is not usable.
            UnavailableError: the database or Temporal does not answer.
        """
        if not SIGNAL_NAME.match(name):
            raise UsageError(f'signal name "{name}" must be letters, digits, _, . and -')
        reason = await self.checks.run(why_not_plain, payload)
        if reason is not None:
            raise UsageError(f'the payload of signal "{name}" cannot be sent: {reason}')
        row = await self.execution(execution_id)
        if row.finished:
            raise ConflictError(f"execution {execution_id} has ended ({row.status}); it accepts no signals")
        handle = self._client.get_workflow_handle(execution_id)
        try:
            await ask(self._client, handle.signal(wire.SIGNAL, args=[name, payload]), execution_id)
        except NotFoundError as error:
            raise ConflictError(f"execution {execution_id} has ended; it accepts no signals") from error

    async def state(self, execution_id: str) -> Mapping[str, object]:
        """Return the task at work, the finished tasks and the signals of an execution.

        Raises:
            NotFoundError: Temporal has no such execution.
            UnavailableError: Temporal does not answer.
        """
        handle = self._client.get_workflow_handle(execution_id)
        found: Mapping[str, object] = await ask(self._client, handle.query(wire.STATE_QUERY), execution_id)
        return found

    async def workflows(self) -> Listing:
        """Return the workflows of the project and the imported ones.

        Raises:
            UnavailableError: the database does not answer.
        """
        return await self._in_thread(self._catalogue.listing)

    async def definition(self, workflow_id: str) -> Definition:
        """Return one workflow.

        Raises:
            NotFoundError: no entry has that id.
            DefinitionError: its file is broken.
            UnavailableError: the database does not answer.
        """
        return await self._in_thread(self._catalogue.definition, workflow_id)

    async def _known(self, workflow: Definition | str) -> Definition:
        return await self.definition(workflow) if isinstance(workflow, str) else workflow

    async def delete_workflow(self, workflow_id: str) -> str | None:
        """Delete an imported workflow, of which the executions stay; return the file of the same id, or None.

        Raises:
            NotFoundError: no workflow has this id.
            UsageError: the workflow comes from a file.
            UnavailableError: the database does not answer.
        """
        return await self._in_thread(self._catalogue.remove, workflow_id)

    async def prune(self, older_than_s: float | None = None, *, dry_run: bool = False) -> Pruned:
        """Delete the rows of executions that ended longer ago; None is the retention, without which all are kept.

        Raises:
            UnavailableError: the database does not answer.
        """
        age_s = self._retention_s if older_than_s is None else older_than_s
        if age_s is None:
            return Pruned(0, None)
        before = timestamp(datetime.now(UTC) - timedelta(seconds=age_s))
        return Pruned(await self._in_thread(lambda: self._store.prune(before, dry_run=dry_run)), before)

    async def import_workflows(self, exported: object) -> Imported:
        """Import what `workflow list --format json` printed.

        Raises:
            DefinitionError: something in it is not a workflow; nothing was imported.
            UnavailableError: the database does not answer.
        """
        definitions = await self.checks.run(exported_definitions, exported)
        return await self._in_thread(self._catalogue.take, definitions)

    async def reconcile(self) -> tuple[str, ...]:
        """Correct the rows with status running whose execution does not run in Temporal; return their ids.

        Raises:
            UnavailableError: the database or Temporal does not answer.
        """
        await self._late.write()
        return await self._reconciler.reconcile()

    async def adopt(self) -> tuple[str, ...]:
        """Correct the rows of executions that were changed from outside; return their ids.

        Raises:
            UnavailableError: the database or Temporal does not answer.
        """
        return await self._reconciler.adopt()

    async def _in_thread(self, call: Callable[..., Result], *arguments: object) -> Result:
        """Ask the database; one that takes the question and stays silent is not available."""
        try:
            async with asyncio.timeout(self._patience_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)
        except TimeoutError as error:
            raise UnavailableError("database", f"no answer within {self._patience_s:g} s") from error

    async def _wait(
        self, execution_id: str, announced: asyncio.Future[Execution] | None, timeout_s: float | None,
        stop: asyncio.Event | None,
    ) -> Execution:  # fmt: skip
        patience_s = 0.0 if self._ends is None else self._ends.patience_s(ANNOUNCED_S)
        ending = asyncio.ensure_future(announced_or(announced, patience_s, lambda: self._ended(execution_id)))
        stopping = asyncio.ensure_future((stop or asyncio.Event()).wait())
        try:
            await asyncio.wait([ending, stopping], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                return await self.execution(execution_id)
            row = ending.result() or await self.execution(execution_id)
        finally:
            ending.cancel()
            stopping.cancel()
        return row if row.finished else await self._reconciler.update(row)

    async def _ended(self, execution_id: str) -> None:
        try:
            ending = result_of(self._client.get_workflow_handle(execution_id))
            await ask(self._client, ending, execution_id, WAIT_PATIENCE_S)
        except (WorkflowFailureError, NotFoundError, UnreadablePayloadError):
            return
