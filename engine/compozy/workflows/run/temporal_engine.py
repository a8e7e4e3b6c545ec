"""The engine of task types on Temporal: activities, durable timers, signals, and templates with a bound on their work.

Everything here is deterministic; it must not read clocks, files or the database.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import timedelta

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

from compozy.workflows.expressions.bounds import LIMITS, Budget, TemplateLimits
from compozy.workflows.expressions.templates import TemplateProblem, WorkExceededError
from compozy.workflows.model.scope import Scope
from compozy.workflows.run import wire
from compozy.workflows.run.recorder import RowRecorder
from compozy.workflows.run.rendering import Rendering, handed_over
from compozy.workflows.tasks.engine import Block, Call, CallError, TaskError, run_concurrently

HEARTBEAT_TIMEOUT = timedelta(seconds=10)
# Few: rendering is deterministic, so that a further attempt helps only after a failure around it.
_RENDER_RETRY = RetryPolicy(maximum_attempts=3)
# Temporal wants a timeout. It is longer than any process lives: the timer of a local activity whose worker was stopped
# stays, and the library's core panics when it goes off. The activity bounds itself.
LOCAL_TIMEOUT = timedelta(days=365)


class Renderer:
    """Render templates for one execution: at once what takes little work, and everything else in an activity."""

    def __init__(self, limits: TemplateLimits = LIMITS) -> None:
        self._limits = limits
        self._budget = Budget(limits.inline_steps, limits)
        self._inline_steps = 0
        self._apart = 0

    async def render(self, value: object, scope: Scope, path: str, *, expression: bool = False) -> object:
        """Return the rendered value, or that of an expression without braces.

        Raises:
            TaskError: a template fails.
        """
        rendering = Rendering(value, scope.names(), path, self._limits, expression)
        try:
            if self._inline_steps < self._limits.inline_steps_total:
                # A workflow task must answer within two seconds. Work is counted in steps, not in time, so that a
                # replay on any machine makes the same choice between rendering here and in an activity.
                with contextlib.suppress(WorkExceededError):
                    return rendering.render(self._budget)
            return await self._render_apart(rendering)
        except TemplateProblem as problem:
            raise TaskError(problem.reason, problem.path) from problem

    def renew_budget(self) -> None:
        """Allow more work at once, in the next workflow task."""
        # A bound on the sum as well: a replay does all the work of the execution at once.
        self._inline_steps += min(self._budget.spent, self._limits.inline_steps)
        self._budget = Budget(self._limits.inline_steps, self._limits)

    async def _render_apart(self, rendering: Rendering) -> object:
        self._apart += 1
        # The value and its names stay in this process and out of the history; the activity finds them by this key.
        key = f"{workflow.info().run_id}/{self._apart}"
        with handed_over(key, rendering):
            try:
                value = await workflow.execute_local_activity(
                    wire.RENDER, key, start_to_close_timeout=LOCAL_TIMEOUT, retry_policy=_RENDER_RETRY
                )
            except FailureError as error:
                # A local activity's failure comes without the ActivityError of other ones.
                cause = error.cause if isinstance(error, ActivityError) else error
                if isinstance(cause, ApplicationError) and cause.type == wire.TEMPLATE_FAILED:
                    raise TemplateProblem(cause.message, *cause.details) from error
                raise
        self.renew_budget()
        return value


class TemporalEngine:
    """The engine of one turn of a task, `key` of the recorder; see `compozy.workflows.tasks.engine.Engine`."""

    def __init__(
        self, recorder: RowRecorder, renderer: Renderer, signals: list[dict[str, object]], key: tuple[str, int]
    ) -> None:
        self._recorder = recorder
        self._renderer = renderer
        self._signals = signals
        self._key = key

    async def call(self, call: Call) -> object:
        """Run an activity, whose answer contains the attempt at which it succeeded."""
        self._recorder.attempt(self._key, 1)
        retry = call.retry
        try:
            answer = await workflow.execute_activity(
                call.activity,
                args=[call.argument, self._recorder.carried(self._key)],
                # Derived from the task and not generated, so that reconciliation and users find it in the history.
                activity_id=_activity_id(*self._key),
                start_to_close_timeout=timedelta(seconds=call.timeout_s),
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=RetryPolicy(
                    initial_interval=timedelta(seconds=retry.initial_interval_s),
                    backoff_coefficient=retry.backoff,
                    maximum_interval=timedelta(seconds=max(retry.max_interval_s, retry.initial_interval_s)),
                    maximum_attempts=retry.max_attempts,
                ),
            )
        except ActivityError as error:
            # A cancellation of the execution is no failure of the task: it ends the execution where it is.
            if is_cancelled_exception(error):
                raise
            self._recorder.attempt(self._key, _attempts(error, call))
            raise CallError(_reason(error, call)) from error
        self._recorder.attempt(self._key, answer["attempt"])
        self._renderer.renew_budget()
        return answer["output"]

    async def sleep(self, seconds: float) -> None:
        """Set a durable timer."""
        if seconds > 0:
            self._recorder.pause()
            await workflow.sleep(timedelta(seconds=seconds))
            self._renderer.renew_budget()

    async def wait_signal(self, name: str, timeout_s: float | None = None) -> object:
        """Wait for a signal, or take one that arrived before."""
        # A signal may come before the task that waits for it; it was kept in the order of arrival.
        if not any(signal["name"] == name for signal in self._signals):
            self._recorder.pause()
            await workflow.wait_condition(
                lambda: any(signal["name"] == name for signal in self._signals), timeout=timeout_s
            )
            self._renderer.renew_budget()
        # The oldest one of this name; `wait_condition` has returned because one is there.
        found = next(signal for signal in self._signals if signal["name"] == name)
        self._signals.remove(found)
        return found["payload"]

    async def concurrently(self, blocks: Sequence[Block], most: int) -> list[object]:
        """Run blocks on the workflow's event loop, which is deterministic."""
        return await run_concurrently(blocks, most)

    async def evaluate(self, value: object, scope: Scope, path: str, *, expression: bool = False) -> object:
        """Render the templates of a value, or evaluate an expression."""
        return await self._renderer.render(value, scope, path, expression=expression)


def _activity_id(path: str, iteration: int) -> str:
    return f"{path}/{iteration}" if iteration else path


def _attempts(error: ActivityError, call: Call) -> int:
    """Return the number of the last attempt, which a failure carries; one that took too long had all of them."""
    # `benign` puts the number of the attempt into the details of the failure.
    details = error.cause.details if isinstance(error.cause, ApplicationError) else ()
    return details[0] if details and isinstance(details[0], int) else call.retry.max_attempts


def _reason(error: ActivityError, call: Call) -> str:
    cause = error.cause
    if isinstance(cause, TimeoutError):
        if cause.type == TimeoutType.HEARTBEAT:
            return "its worker ended"
        return f"it took longer than its timeout of {call.timeout_s:g} s"
    if isinstance(cause, ApplicationError):
        return cause.message if cause.type is None else f"{cause.type}: {cause.message}"
    return str(cause or error)
