"""Collect the rows of one execution, the read model of its history, and hand them to the writer of the worker.

A short execution writes once, with its end. A longer one writes before its first pause or tool, and again before each
further pause; tools carry the tasks that are not written yet, for the worker that runs them long enough to matter.
While a history is replayed nothing is written: the rows were written when it happened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta

from temporalio import workflow

from compozy.store.records import RUNNING, Execution, TaskExecution, timestamp
from compozy.workflows.run import wire
from compozy.workflows.run.row_writer import RowWriter

# More rows are written at once, because the arguments of a tool stay in the history.
_MOST_UNWRITTEN = 10
# The resolution of the times in rows: within one workflow task `workflow.now` stands still.
_TICK = timedelta(microseconds=1)
_Key = tuple[str, int]


class RowRecorder:
    """The rows of one execution and of its tasks; lives in its workflow."""

    def __init__(self, run: wire.Run) -> None:
        self._run = run
        self._tasks: dict[_Key, TaskExecution] = {}
        self._unwritten: dict[_Key, None] = {}
        self._written = False
        self._latest: datetime | None = None

    def begin(self, path: str, kind: str, iteration: int = 0) -> _Key:
        """Record the start of a turn of a task and return its key; distinct start times keep the order of turns."""
        now = workflow.now()
        self._latest = now if self._latest is None else max(now, self._latest + _TICK)
        key = (path, iteration)
        name, started_at = workflow.info().workflow_id, timestamp(self._latest)
        self._note(key, TaskExecution(name, path, iteration, kind, RUNNING, started_at))
        return key

    def end(self, key: _Key, status: str, error: str | None = None) -> None:
        """Record the end of a turn."""
        task = self._tasks[key]
        # The start may lie ahead of `workflow.now` by the ticks that keep the order.
        finished_at = max(timestamp(workflow.now()), task.started_at)
        self._note(key, replace(task, status=status, finished_at=finished_at, error=error))

    def attempt(self, key: _Key, number: int) -> None:
        """Record the number of the present attempt."""
        self._note(key, replace(self._tasks[key], attempt=number))

    def pause(self) -> None:
        """Write the progress of the execution before a pause that may be long, without waiting for the write."""
        # Set before the write has ended: the writer repeats it, and a later write contains all rows again.
        self._written = True
        self._write(RowWriter.begin, self._row(RUNNING))

    def carried(self, key: _Key) -> list[dict[str, object]]:
        """Return the tasks to be written while the tool of `key` runs, its own as the last one.

        The first tool of an execution, and one that would carry many, writes them now.
        """
        if not self._written or len(self._unwritten) > _MOST_UNWRITTEN:
            self.pause()
        others = [one for one in self._unwritten if one != key]
        return [asdict(self._tasks[one]) for one in (*others, key)]

    def finish(self, status: str, *, output: object = None, error: str | None = None) -> None:
        """Write the end of the execution and its tasks; running tasks get the same end."""
        # A copy, because `end` assigns to the mapping.
        for key, task in list(self._tasks.items()):
            if task.status == RUNNING:
                self.end(key, status, error)
        self._write(RowWriter.finish, self._row(status, output=output, error=error))

    def _write(self, write: Callable[[RowWriter, Execution, list[TaskExecution]], None], row: Execution) -> None:
        self._unwritten.clear()
        # A replay repeats the code, not its effects: the rows were written at the first time.
        if not workflow.unsafe.is_replaying():
            write(workflow.extern_functions()[wire.ROWS](), row, list(self._tasks.values()))

    def _note(self, key: _Key, task: TaskExecution) -> None:
        self._tasks[key] = task
        self._unwritten[key] = None

    def _row(self, status: str, *, output: object = None, error: str | None = None) -> Execution:
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
