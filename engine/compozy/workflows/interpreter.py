"""The one generic Temporal workflow: it walks the tasks of a definition.

What comes in: a `Run` as JSON. What goes out: the outputs. Everything here is deterministic: templates are
pure, pauses are durable timers, tools and database rows are activities. It must not read clocks, files or
the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    TimeoutError,
    TimeoutType,
    is_cancelled_exception,
)

from compozy.store.records import RUNNING, Execution, timestamp
from compozy.workflows import wire
from compozy.workflows.definition import Definition, Task
from compozy.workflows.plain import clean_reason, why_not_plain
from compozy.workflows.templates import TemplateProblem, render

HEARTBEAT_TIMEOUT = timedelta(seconds=10)
_ROW_TIMEOUT = timedelta(seconds=30)
_ROW_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=100),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=2),
)


class TaskFailure(Exception):
    """A task, or the outputs, that cannot go on: where in the file, and why."""

    def __init__(self, task: str | None, place: str, reason: str) -> None:
        subject = f'task "{task}"' if task else "outputs"
        super().__init__(clean_reason(f"{place}: {subject}: {reason}"))
        self.task = task
        self.place = place
        self.reason = reason


@workflow.defn(name=wire.WORKFLOW_TYPE, sandboxed=False)
class Interpreter:
    """One execution of one definition."""

    def __init__(self) -> None:
        self._outputs: dict[str, dict[str, Any]] = {}
        self._signals: list[dict[str, Any]] = []
        self._task: str | None = None
        self._started: workflow.ActivityHandle[Any] | None = None

    @workflow.run
    async def run(self, payload: dict[str, Any]) -> Any:
        """Run the tasks in order; record how it ended, then end that way."""
        run = wire.decode_run(payload)
        try:
            output = await self._perform(run)
        except TaskFailure as failure:
            await self._finish(run, "failed", error=str(failure))
            details = {"task": failure.task, "place": failure.place, "reason": failure.reason}
            raise ApplicationError(str(failure), details, type=wire.FAILED, non_retryable=True) from None
        except (asyncio.CancelledError, FailureError) as error:
            if is_cancelled_exception(error):
                where = f' while at task "{self._task}"' if self._task else ""
                await self._finish(run, "canceled", error=f"canceled{where}")
            raise
        await self._finish(run, "completed", output=output)
        return output

    @workflow.signal(name=wire.SIGNAL)
    def signal(self, name: str, payload: Any) -> None:
        """Keep a signal, in the order of arrival."""
        self._signals.append({"name": name, "payload": payload})

    @workflow.query(name=wire.STATE_QUERY)
    def state(self) -> dict[str, Any]:
        """Return the task at work, the finished ones and the signals so far."""
        return {"task": self._task, "done": list(self._outputs), "signals": self._signals}

    async def _perform(self, run: wire.Run) -> Any:
        for task in run.definition.tasks:
            self._task = task.id
            if task.sleep_s > 0:
                self._record_started(run)
                await workflow.sleep(timedelta(seconds=task.sleep_s))
            self._outputs[task.id] = {"output": await self._output(run, task)}
        self._task = None
        return _render(run.definition, None, run.definition.outputs, "outputs", self._scope(run))

    async def _output(self, run: wire.Run, task: Task) -> Any:
        key, template = ("output", task.output) if task.type == "aggregate" else ("with", task.arguments)
        value = _render(run.definition, task.id, template, f"tasks.{task.id}.{key}", self._scope(run))
        if task.type == "aggregate":
            return value
        self._record_started(run)
        return await _call_tool(run.definition, task, value)

    def _scope(self, run: wire.Run) -> Mapping[str, Any]:
        about = {
            "id": run.definition.id,
            "version": run.definition.version,
            "execution_id": workflow.info().workflow_id,
            "input": run.input,
        }
        return {"workflow": about, "tasks": self._outputs}

    def _record_started(self, run: wire.Run) -> None:
        """Begin to write the row, once, before the first pause or tool; the tasks need not wait for it."""
        if self._started is None:
            self._started = _record(wire.RECORD_STARTED, _row(run, RUNNING))

    async def _finish(self, run: wire.Run, status: str, *, output: Any = None, error: str | None = None) -> None:
        if self._started is not None:
            await _settled(self._started)
        await _settled(_record(wire.RECORD_FINISHED, _row(run, status, output=output, error=error)))


def _row(run: wire.Run, status: str, *, output: Any = None, error: str | None = None) -> Execution:
    return Execution(
        id=workflow.info().workflow_id,
        workflow=run.definition.id,
        version=run.definition.version,
        status=status,
        input=run.input,
        started_at=timestamp(workflow.info().start_time),
        output=output,
        error=error,
    )


def _record(activity: str, row: Execution) -> workflow.ActivityHandle[Any]:
    return workflow.start_local_activity(
        activity, row.to_json(), start_to_close_timeout=_ROW_TIMEOUT, retry_policy=_ROW_RETRY
    )


async def _settled(recording: workflow.ActivityHandle[Any]) -> None:
    """Wait for a row to be written, also while the execution is being canceled."""
    while not recording.done():
        try:
            await asyncio.shield(recording)
        except asyncio.CancelledError:
            if recording.done():
                raise


async def _call_tool(definition: Definition, task: Task, arguments: Mapping[str, Any]) -> Any:
    retry = task.retry
    try:
        return await workflow.execute_activity(
            wire.CALL_TOOL,
            {"tool": task.tool, "arguments": arguments, "task": task.id},
            activity_id=task.id,
            start_to_close_timeout=timedelta(seconds=task.timeout_s),
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=retry.initial_interval_s),
                backoff_coefficient=retry.backoff,
                maximum_interval=timedelta(seconds=max(retry.max_interval_s, retry.initial_interval_s)),
                maximum_attempts=retry.max_attempts,
            ),
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        reason = f"tool {task.tool} failed: {_reason(error, task)}"
        raise TaskFailure(task.id, definition.place(f"tasks.{task.id}"), reason) from error


def _reason(error: ActivityError, task: Task) -> str:
    cause = error.cause
    if isinstance(cause, TimeoutError):
        if cause.type == TimeoutType.HEARTBEAT:
            return "its worker went away"
        return f"it took longer than its timeout of {task.timeout_s:g} s"
    if isinstance(cause, ApplicationError):
        return cause.message if cause.type is None else f"{cause.type}: {cause.message}"
    return str(cause or error)


def _render(definition: Definition, task: str | None, value: Any, path: str, scope: Mapping[str, Any]) -> Any:
    try:
        rendered = render(value, scope, path)
    except TemplateProblem as problem:
        raise TaskFailure(task, definition.place(problem.path), problem.reason) from problem
    reason = why_not_plain(rendered)
    if reason is not None:
        raise TaskFailure(task, definition.place(path), f"the value cannot be kept: {reason}")
    return rendered
