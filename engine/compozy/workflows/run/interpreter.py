"""The one generic Temporal workflow: it walks the tasks of a definition.

Everything here is deterministic: templates are pure, pauses are durable timers, tools are activities.
It must not read clocks, files or the database; rows are written without effect on it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

from compozy.workflows.model.definition import Task
from compozy.workflows.model.plain import clean_reason
from compozy.workflows.model.scope import Scope
from compozy.workflows.run import wire
from compozy.workflows.run.recorder import RowRecorder
from compozy.workflows.run.temporal_engine import Renderer, TemporalEngine
from compozy.workflows.tasks.engine import TaskError
from compozy.workflows.tasks.task_type import TYPES

log = logging.getLogger("compozy.workflows")


class TaskFailure(Exception):
    """A task, or the outputs, that failed: the place in the file, and the reason."""

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
        self._scope = Scope({})
        self._signals: list[dict[str, Any]] = []
        self._task: str | None = None
        self._renderer = Renderer()

    @workflow.run
    async def run(self, payload: dict[str, Any] | None = None) -> Any:
        """Run the tasks in order; record how it ended, then end that way.

        An execution of a foreign client may have no `payload`.
        """
        run = _decoded(payload)
        recorder, self._renderer = RowRecorder(run), Renderer(run.limits)
        try:
            output = await self._perform(run, recorder)
        except TaskFailure as failure:
            raise _failed(recorder, failure) from None
        except (asyncio.CancelledError, FailureError) as error:
            # Temporal's library raises a cancellation as either kind, depending on what the execution waits for.
            if not is_cancelled_exception(error):
                raise _failed(recorder, self._unexpected(run, error)) from None
            where = f' while at task "{self._task}"' if self._task else ""
            # Before the exception ends the workflow: after it no code of the execution runs any more.
            recorder.finish("canceled", error=f"canceled{where}")
            raise
        except Exception as error:  # noqa: BLE001 - Temporal would repeat the workflow task for ever
            raise _failed(recorder, self._unexpected(run, error)) from None
        recorder.finish("completed", output=output)
        return output

    @workflow.signal(name=wire.SIGNAL)
    def signal(self, name: str, payload: Any) -> None:
        """Keep a signal, in the order of arrival."""
        self._signals.append({"name": name, "payload": payload})

    @workflow.query(name=wire.STATE_QUERY)
    def state(self) -> dict[str, Any]:
        """Return the task at work, the finished ones and the signals that no task has taken."""
        return {"task": self._task, "done": list(self._scope.tasks), "signals": self._signals}

    async def _perform(self, run: wire.Run, recorder: RowRecorder) -> Any:
        self._scope = _scope(run)
        for task in run.definition.tasks:
            # Kept as state, because a query and the text of a cancellation need the task at work.
            self._task = task.id
            await self._perform_task(run, recorder, task)
        self._task = None
        try:
            return await self._renderer.render(run.definition.outputs, self._scope, "outputs")
        except TaskError as error:
            raise TaskFailure(None, run.definition.place(error.path), error.reason) from error

    async def _perform_task(self, run: wire.Run, recorder: RowRecorder, task: Task) -> None:
        key = recorder.begin(task.id, task.type)
        engine = TemporalEngine(recorder, self._renderer, self._signals, key)
        output, status = None, "skipped"
        try:
            if not task.condition or await engine.evaluate(
                task.condition, self._scope, f"{task.path}.condition", expression=True
            ):
                await engine.sleep(task.sleep_s)
                output, status = await TYPES[task.type].run(task, engine, self._scope), "completed"
        except TaskError as error:
            recorder.end(key, "failed", clean_reason(error.reason))
            raise TaskFailure(task.id, run.definition.place(error.path or task.path), error.reason) from error
        self._scope.finish(task.id, output)
        recorder.end(key, status)

    def _unexpected(self, run: wire.Run, error: BaseException) -> TaskFailure:
        workflow.logger.error("execution.failed_unexpectedly", exc_info=error)
        place = run.definition.place(f"tasks.{self._task}" if self._task else "outputs")
        return TaskFailure(self._task, place, f"unexpected {type(error).__name__}: {error}")


def _failed(recorder: RowRecorder, failure: TaskFailure) -> ApplicationError:
    """Record the failure; return it in the form that ends the execution."""
    recorder.finish("failed", error=str(failure))
    details = {"task": failure.task, "place": failure.place, "reason": failure.reason}
    return ApplicationError(str(failure), details, type=wire.FAILED, non_retryable=True)


def _scope(run: wire.Run) -> Scope:
    about = {
        "id": run.definition.id,
        "version": run.definition.version,
        "execution_id": workflow.info().workflow_id,
        "input": run.input,
    }
    return Scope(about)


def _decoded(payload: Any) -> wire.Run:
    """Read the payload. A newer one fails the workflow task, so that a newer worker takes the execution over."""
    try:
        run = wire.decode_run(payload)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        text = "the execution was not started by Compozy: its argument cannot be read"
        raise ApplicationError(text, type=wire.FAILED, non_retryable=True) from error
    # Another version may render another text. Then a replay can diverge, and this line names the cause.
    if run.jinja2 not in ("", wire.jinja2_version()):
        facts = {"execution": workflow.info().workflow_id, "began": run.jinja2, "present": wire.jinja2_version()}
        log.warning("execution.jinja2_changed", extra=facts)
    return run
