"""Write the rows of executions, the read model of their histories, on threads of one worker.

Rows are written beside the execution and leave nothing in its history: an activity would cost Temporal an event and a
payload for each. A write that the database refuses is repeated for a while; after that, and after a crash,
reconciliation writes the row from the history.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace

from temporalio.worker import Interceptor, WorkflowInboundInterceptor, WorkflowInterceptorClassInput

from compozy.store import Execution, Store, TaskExecution, UnavailableError
from compozy.store.records import timestamp
from compozy.workflows.ends import Ends
from compozy.workflows.run import wire

# An execution waits this long for its last row, so that an ended execution has one; less than the 2 s after which
# Temporal's library takes its workflow task for deadlocked.
PATIENCE_S = 1.0
REPEATED_S = 8.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
log = logging.getLogger("compozy.workflows")


class RowWriter(Interceptor):
    """The threads that write, reachable from the workflows of the worker that it intercepts."""

    def __init__(self, store: Store, ends: Ends, threads: int) -> None:
        """Prepare; written rows of executions are announced in `ends`, on the loop that `open` was called on."""
        self._store = store
        self._ends = ends
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="compozy-rows")
        self._closed = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Announce rows on the running event loop from now on."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Repeat no write any more, and drop those that have not begun; idempotent."""
        # Waiting writes end now instead of keeping the shutdown for `REPEATED_S`; reconciliation writes their rows
        # later.
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        """Return the interceptor class that passes this writer to the workflows."""
        # An external function: workflows are created by the library and cannot be given an object otherwise.
        input.unsafe_extern_functions[wire.ROWS] = lambda: self
        return None

    def begin(self, row: Execution, tasks: Sequence[TaskExecution]) -> None:
        """Write that an execution runs, and how far its tasks are, and announce it; without waiting for the write."""
        self._submit(lambda: self._begin(row, tasks))

    def finish(self, row: Execution, tasks: Sequence[TaskExecution]) -> None:
        """Write how an execution and its tasks ended, and announce it; wait for that at most `PATIENCE_S`."""
        try:
            # The thread of the workflow is blocked here, on purpose: a client that sees the end in Temporal finds the
            # row.
            self._submit(lambda: self._finish(row, tasks)).result(PATIENCE_S)
        except (FutureTimeout, UnavailableError) as error:
            log.warning("execution.row_late", extra={"execution": row.id, "reason": str(error) or "no answer in time"})

    async def show(self, tasks: Sequence[TaskExecution]) -> None:
        """Write how far some tasks are.

        Raises:
            UnavailableError: the database does not answer, or refuses.
        """
        await asyncio.wrap_future(self._submit(lambda: self._store.record_tasks(tasks)))

    def _begin(self, row: Execution, tasks: Sequence[TaskExecution]) -> None:
        self._store.record_started(row, tasks)
        self._announce(row)

    def _finish(self, row: Execution, tasks: Sequence[TaskExecution]) -> None:
        # The clock may have been set back since the start.
        ended = replace(row, finished_at=max(timestamp(), row.started_at))
        self._store.record_finished(ended, tasks)
        _log_end(ended)
        self._announce(ended)

    def _announce(self, row: Execution) -> None:
        """Announce a row; only after it is written, so that a request woken by this reads it."""
        # After `close` the loop may be closed as well, and would raise in this thread.
        if self._loop is not None and not self._closed.is_set():
            self._loop.call_soon_threadsafe(self._ends.announce, row)

    def _submit(self, write: Callable[[], None]) -> Future[None]:
        # Counted from the submission: writes that wait for a thread during an outage do not extend it.
        until = time.monotonic() + REPEATED_S
        return self._threads.submit(self._repeat, write, until)

    def _repeat(self, write: Callable[[], None], until: float) -> None:
        """Write, again after a growing pause while the database is not available, until `until` at the latest."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return write()
            except UnavailableError:
                if time.monotonic() + pause_s > until or self._closed.wait(pause_s):
                    raise
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _log_end(row: Execution) -> None:
    facts: dict[str, object] = {"execution": row.id, "workflow": row.workflow}
    if row.status == "completed":
        log.info("execution.completed", extra=facts)
    else:
        log.info("execution.failed", extra={**facts, "status": row.status, "reason": row.error})
