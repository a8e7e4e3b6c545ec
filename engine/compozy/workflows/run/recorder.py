"""Write the rows of one execution, the read model of its history, as local activities of its workflow.

A short execution writes once, with its end. A longer one writes before its first pause or tool, and again before each
further pause; tools carry the tasks that are not written yet, for the worker that runs them long enough to matter.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError

from compozy.store.records import RUNNING, Execution, TaskExecution, timestamp
from compozy.workflows.run import wire

# Temporal wants a timeout. It is longer than any process lives: the timer of a local activity whose worker was stopped
# stays, and the library's core panics when it goes off. The activities bound themselves.
LOCAL_TIMEOUT = timedelta(days=365)
_ROW_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=100),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=2),
    maximum_attempts=6,
)
_MOST_UNWRITTEN = 10
_TICK = timedelta(microseconds=1)
_Key = tuple[str, int]


class RowRecorder:
    """The rows of one execution and of its tasks; lives in its workflow."""

    def __init__(self, run: wire.Run) -> None:
        self._run = run
        self._tasks: dict[_Key, TaskExecution] = {}
        self._unwritten: dict[_Key, None] = {}
        self._writes: list[workflow.ActivityHandle[Any]] = []
        self._written = False
        self._latest: datetime | None = None

    def begin(self, path: str, kind: str, iteration: int = 0) -> _Key:
        """Note that a turn of a task begins; return its key. No two begin at the same time, which keeps their order."""
        now = workflow.now()
        self._latest = now if self._latest is None else max(now, self._latest + _TICK)
        key = (path, iteration)
        name, started_at = workflow.info().workflow_id, timestamp(self._latest)
        self._note(key, TaskExecution(name, path, iteration, kind, RUNNING, started_at))
        return key

    def end(self, key: _Key, status: str, error: str | None = None) -> None:
        """Note how a turn ended."""
        task = self._tasks[key]
        finished_at = max(timestamp(workflow.now()), task.started_at)
        self._note(key, replace(task, status=status, finished_at=finished_at, error=error))

    def attempt(self, key: _Key, number: int) -> None:
        """Note at which attempt a turn is."""
        self._note(key, replace(self._tasks[key], attempt=number))

    def pause(self) -> None:
        """Write how far the execution is, before a pause that may be long; the tasks need not wait for it."""
        row, self._written = self._row(RUNNING), True
        self._writes = [write for write in self._writes if not write.done()]
        self._writes.append(_local(wire.RECORD_STARTED, row.to_json(), self._rows()))

    def carried(self, key: _Key) -> list[dict[str, Any]]:
        """Return the tasks to be written while the tool of `key` runs, its own as the last one.

        The first tool of an execution, and one that would carry many, writes them now.
        """
        if not self._written or len(self._unwritten) > _MOST_UNWRITTEN:
            self.pause()
        others = [one for one in self._unwritten if one != key]
        return [asdict(self._tasks[one]) for one in (*others, key)]

    async def finish(self, status: str, *, output: Any = None, error: str | None = None) -> None:
        """Write how the execution ended, and its tasks; those that run end alike."""
        for key, task in list(self._tasks.items()):
            if task.status == RUNNING:
                self.end(key, status, error)
        for write in self._writes:
            await _settled(write)
        row = self._row(status, output=output, error=error)
        await _settled(_local(wire.RECORD_FINISHED, row.to_json(), self._rows()))

    def _note(self, key: _Key, task: TaskExecution) -> None:
        self._tasks[key] = task
        self._unwritten[key] = None

    def _rows(self) -> list[dict[str, Any]]:
        self._unwritten.clear()
        return [asdict(task) for task in self._tasks.values()]

    def _row(self, status: str, *, output: Any = None, error: str | None = None) -> Execution:
        run, info = self._run, workflow.info()
        return Execution(
            id=info.workflow_id,
            workflow=run.definition.id,
            version=run.definition.version,
            status=status,
            input=run.input,
            started_at=run.started_at or timestamp(info.start_time),
            output=output,
            error=error,
            run_id=info.run_id,
        )


def _local(activity: str, *arguments: Any) -> workflow.ActivityHandle[Any]:
    return workflow.start_local_activity(
        activity, args=arguments, start_to_close_timeout=LOCAL_TIMEOUT, retry_policy=_ROW_RETRY
    )


async def _settled(recording: workflow.ActivityHandle[Any]) -> None:
    """Wait until a row is written or given up; a cancellation that arrives meanwhile is too late.

    An execution does not wait longer for the database: reconciliation writes the row from Temporal's history.
    """
    while not recording.done():
        with contextlib.suppress(asyncio.CancelledError, FailureError):
            await asyncio.shield(recording)
