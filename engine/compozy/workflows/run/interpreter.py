"""The one generic Temporal workflow: it walks the tasks of a definition.

What comes in: a `Run` as JSON. What goes out: the outputs. Everything here is deterministic: templates are
pure, pauses are durable timers, tools and database rows are activities. It must not read clocks, files or
the database.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from compozy.workflows.budget import Budget
from compozy.workflows.model.definition import Definition, Task
from compozy.workflows.model.plain import clean_reason
from compozy.workflows.model.tool_secrets import Places, split_secrets
from compozy.workflows.run import wire
from compozy.workflows.run.rendering import INLINE_WORK, MAX_INLINE_WORK, Rendering, handed_over
from compozy.workflows.templates import TemplateProblem, WorkExceededError

HEARTBEAT_TIMEOUT = timedelta(seconds=10)
# Temporal wants a timeout. It is longer than any process lives: the timer of a local activity whose worker was stopped
# stays, and the library's core panics when it goes off. The activities bound themselves.
_LOCAL_TIMEOUT = timedelta(days=365)
_RENDER_RETRY = RetryPolicy(maximum_attempts=3)
_ROW_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=100),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=2),
    maximum_attempts=6,
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
        self._budget = Budget(INLINE_WORK)
        self._inline_work = 0
        self._apart = 0
        self._started: workflow.ActivityHandle[Any] | None = None

    @workflow.run
    async def run(self, payload: dict[str, Any] | None = None) -> Any:
        """Run the tasks in order; record how it ended, then end that way.

        An execution of a foreign client may have no `payload`.
        """
        run = _decoded(payload)
        try:
            output = await self._perform(run)
        except TaskFailure as failure:
            raise await self._failed(run, failure) from None
        except (asyncio.CancelledError, FailureError) as error:
            if not is_cancelled_exception(error):
                raise await self._failed(run, self._unexpected(run, error)) from None
            where = f' while at task "{self._task}"' if self._task else ""
            await self._finish(run, "canceled", error=f"canceled{where}")
            raise
        except Exception as error:  # noqa: BLE001 - Temporal would repeat the workflow task for ever
            raise await self._failed(run, self._unexpected(run, error)) from None
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

    def _unexpected(self, run: wire.Run, error: BaseException) -> TaskFailure:
        workflow.logger.error("execution.failed_unexpectedly", exc_info=error)
        place = run.definition.place(f"tasks.{self._task}" if self._task else "outputs")
        return TaskFailure(self._task, place, f"unexpected {type(error).__name__}: {error}")

    async def _failed(self, run: wire.Run, failure: TaskFailure) -> ApplicationError:
        """Record the failure; return it in the form that ends the execution."""
        await self._finish(run, "failed", error=str(failure))
        details = {"task": failure.task, "place": failure.place, "reason": failure.reason}
        return ApplicationError(str(failure), details, type=wire.FAILED, non_retryable=True)

    async def _perform(self, run: wire.Run) -> Any:
        for task in run.definition.tasks:
            self._task = task.id
            if task.sleep_s > 0:
                self._record_started(run)
                await workflow.sleep(timedelta(seconds=task.sleep_s))
                self._renew_budget()
            self._outputs[task.id] = {"output": await self._output(run, task)}
        self._task = None
        return await self._rendered(run, None, run.definition.outputs, "outputs")

    async def _output(self, run: wire.Run, task: Task) -> Any:
        if task.type == "aggregate":
            return await self._rendered(run, task.id, task.output, f"tasks.{task.id}.output")
        template, secrets = split_secrets(task.arguments)
        arguments = await self._rendered(run, task.id, template, f"tasks.{task.id}.with")
        self._record_started(run)
        result = await _call_tool(run.definition, task, arguments, secrets)
        self._renew_budget()
        return result

    async def _rendered(self, run: wire.Run, task: str | None, value: Any, path: str) -> Any:
        """Render at once what takes little work, and everything else in an activity."""
        rendering = Rendering(value, self._scope(run), path)
        try:
            if self._inline_work < MAX_INLINE_WORK:
                with contextlib.suppress(WorkExceededError):
                    return rendering.render(self._budget)
            return await self._rendered_apart(rendering)
        except TemplateProblem as problem:
            raise TaskFailure(task, run.definition.place(problem.path), problem.reason) from problem

    async def _rendered_apart(self, rendering: Rendering) -> Any:
        self._apart += 1
        key = f"{workflow.info().run_id}/{self._apart}"
        with handed_over(key, rendering):
            try:
                value = await workflow.execute_local_activity(
                    wire.RENDER, key, start_to_close_timeout=_LOCAL_TIMEOUT, retry_policy=_RENDER_RETRY
                )
            except FailureError as error:
                # A local activity's failure comes without the ActivityError of other ones.
                cause = error.cause if isinstance(error, ActivityError) else error
                if isinstance(cause, ApplicationError) and cause.type == wire.TEMPLATE_FAILED:
                    raise TemplateProblem(cause.message, *cause.details) from error
                raise
        self._renew_budget()
        return value

    def _renew_budget(self) -> None:
        self._inline_work += min(self._budget.spent, INLINE_WORK)
        self._budget = Budget(INLINE_WORK)

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


def _decoded(payload: Any) -> wire.Run:
    try:
        return wire.decode_run(payload)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        text = "the execution was not started by Compozy: its argument cannot be read"
        raise ApplicationError(text, type=wire.FAILED, non_retryable=True) from error


def _row(run: wire.Run, status: str, *, output: Any = None, error: str | None = None) -> Execution:
    return Execution(
        id=workflow.info().workflow_id,
        workflow=run.definition.id,
        version=run.definition.version,
        status=status,
        input=run.input,
        started_at=run.started_at or timestamp(workflow.info().start_time),
        output=output,
        error=error,
        run_id=workflow.info().run_id,
    )


def _record(activity: str, row: Execution) -> workflow.ActivityHandle[Any]:
    return workflow.start_local_activity(
        activity, row.to_json(), start_to_close_timeout=_LOCAL_TIMEOUT, retry_policy=_ROW_RETRY
    )


async def _settled(recording: workflow.ActivityHandle[Any]) -> None:
    """Wait until a row is written or given up; a cancellation that arrives meanwhile is too late.

    An execution does not wait longer for the database: reconciliation writes the row from Temporal's history.
    """
    while not recording.done():
        with contextlib.suppress(asyncio.CancelledError, FailureError):
            await asyncio.shield(recording)


async def _call_tool(definition: Definition, task: Task, arguments: Mapping[str, Any], secrets: Places) -> Any:
    retry = task.retry
    try:
        return await workflow.execute_activity(
            wire.CALL_TOOL,
            {
                "tool": task.tool,
                "arguments": arguments,
                "task": task.id,
                "secrets": secrets,
                "isolation": task.isolation,
            },
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
            return "its worker ended"
        return f"it took longer than its timeout of {task.timeout_s:g} s"
    if isinstance(cause, ApplicationError):
        return cause.message if cause.type is None else f"{cause.type}: {cause.message}"
    return str(cause or error)
