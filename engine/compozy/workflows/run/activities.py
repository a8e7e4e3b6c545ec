"""The side effects of an execution: tool calls, and renderings that take long, with JSON as input and output.

Each activity may run twice; the project makes its tools idempotent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from compozy.store import TaskExecution, UnavailableError
from compozy.workflows.expressions.bounds import Budget
from compozy.workflows.expressions.templates import TemplateProblem
from compozy.workflows.model.plain import clean_reason
from compozy.workflows.model.tool_failure import ToolFailure
from compozy.workflows.model.tool_secrets import fill_secrets
from compozy.workflows.run import wire
from compozy.workflows.run.rendering import rendering_of
from compozy.workflows.run.row_writer import RowWriter
from compozy.workflows.run.tool_loader import Tools
from compozy.workflows.tasks.basic import CALL_TOOL

HEARTBEAT_S = 2.0
# A tool that takes longer gets a row while it runs.
SHOWN_AFTER_S = 1.0
FRAMES = 5

log = logging.getLogger("compozy.workflows")


class Activities:
    """The activities of one worker; long renderings run on the threads of `renderers`."""

    def __init__(self, tools: Tools, rows: RowWriter, renderers: ThreadPoolExecutor) -> None:
        self._tools = tools
        self._rows = rows
        self._renderers = renderers
        self._redact = tools.offer.redact

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities, as a worker wants them."""
        return [self.call_tool, self.render]

    @activity.defn(name=wire.RENDER)
    async def render(self, key: str) -> Any:
        """Render a value that takes longer than a workflow task may; a cancellation ends it at its next step."""
        rendering = rendering_of(key)
        budget = Budget(limits=rendering.limits)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._renderers, rendering.render, budget)
        except asyncio.CancelledError:
            budget.stop()
            raise
        except TemplateProblem as problem:
            category = ApplicationErrorCategory.BENIGN
            kind = wire.TEMPLATE_FAILED
            raise ApplicationError(
                problem.reason, problem.path, type=kind, non_retryable=True, category=category
            ) from None

    @activity.defn(name=CALL_TOOL)
    async def call_tool(self, call: dict[str, Any], tasks: list[dict[str, Any]]) -> Any:
        """Call a tool of the project; heartbeats show Temporal that this worker is alive.

        `tasks` are the rows that are written if the tool takes longer; the last one is that of this call.
        """
        attempt = activity.info().attempt
        # Beside the tool, which may block: heartbeats come from the loop, so that a tool without end is not lost by
        # Temporal.
        aside = [asyncio.create_task(beat()), asyncio.create_task(self._show(tasks, attempt))]
        try:
            arguments = dict(call["arguments"])
            # Only now, so that secrets are in neither the history nor the arguments that Temporal stores.
            fill_secrets(arguments, call.get("secrets") or [], self._tools.offer.secrets)
            apart = call.get("isolation") == "process"
            output = await (self._tools.call_apart if apart else self._tools.call)(call["tool"], arguments)
        except ToolFailure as failure:
            reason = self._redact(failure.reason)
            self._log_failure(call, failure, reason)
            # Not chained: the error of a tool may hold what Temporal cannot carry.
            raise benign(reason, failure.kind, attempt, final=failure.final) from None
        finally:
            for one in aside:
                one.cancel()
        return {"output": output, "attempt": attempt}

    async def _show(self, tasks: list[dict[str, Any]], attempt: int) -> None:
        """Write the rows of a tool that takes longer, and at once those of one that is tried again."""
        # A short tool needs no row of its own: its execution writes it with the next pause or its end.
        *others, own = tasks
        await asyncio.sleep(0 if attempt > 1 else SHOWN_AFTER_S)
        with contextlib.suppress(UnavailableError):
            await self._rows.show([TaskExecution(**task) for task in [*others, {**own, "attempt": attempt}]])

    def _log_failure(self, call: Mapping[str, Any], failure: ToolFailure, reason: str) -> None:
        cause = failure.__cause__
        trace = "" if cause is None else clean_reason("".join(traceback.format_exception(cause, limit=-FRAMES)))
        facts = {"tool": call["tool"], "task": call["task"], "attempt": activity.info().attempt}
        log.warning("tool.failed", extra={**facts, "reason": reason, "traceback": self._redact(trace)})


def benign(reason: str, kind: str, *details: Any, final: bool = False) -> ApplicationError:
    """Return a failure that Temporal's library does not log once more."""
    return ApplicationError(reason, *details, type=kind, non_retryable=final, category=ApplicationErrorCategory.BENIGN)


async def beat() -> None:
    """Send heartbeats, until it is cancelled."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_S)
