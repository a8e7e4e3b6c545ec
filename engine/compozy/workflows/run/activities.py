"""The side effects of an execution: database rows and tool calls.

What comes in: JSON from the interpreter. What goes out: JSON. Each may run twice: rows are idempotent
upserts, tools are the project's own business.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from compozy.store import Execution, Store, UnavailableError
from compozy.store.records import timestamp
from compozy.workflows.budget import Budget
from compozy.workflows.ends import Ends
from compozy.workflows.model.plain import clean_reason
from compozy.workflows.model.tool_secrets import fill_secrets
from compozy.workflows.run import wire
from compozy.workflows.run.rendering import rendering_of
from compozy.workflows.run.tool_loader import ToolFailure, Tools
from compozy.workflows.templates import TemplateProblem

HEARTBEAT_S = 2.0
WRITE_TIMEOUT_S = 10.0
FRAMES = 5

log = logging.getLogger("compozy.workflows")


class Activities:
    """What one worker can do; rows are written on the threads of `writers`, long renderings run on `renderers`."""

    def __init__(
        self, store: Store, tools: Tools, ends: Ends, writers: ThreadPoolExecutor, renderers: ThreadPoolExecutor
    ) -> None:
        self._store = store
        self._ends = ends
        self._tools = tools
        self._writers = writers
        self._renderers = renderers
        self._redact = tools.offer.redact

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities, as a worker wants them."""
        return [self.record_started, self.record_finished, self.call_tool, self.render]

    @activity.defn(name=wire.RECORD_STARTED)
    async def record_started(self, row: dict[str, Any]) -> None:
        """Write that an execution runs."""
        await self._write(self._store.record_started, Execution(**row))

    @activity.defn(name=wire.RECORD_FINISHED)
    async def record_finished(self, row: dict[str, Any]) -> None:
        """Write how an execution ended; the row's time is the one of the first write."""
        # The clock may have been set back in between.
        finished_at = max(timestamp(), row["started_at"])
        await self._write(self._store.record_finished, Execution(**{**row, "finished_at": finished_at}))
        self._ends.announce(row["id"])
        _log_end(row)

    @activity.defn(name=wire.RENDER)
    async def render(self, key: str) -> Any:
        """Render a value that takes longer than a workflow task may; a cancellation ends it at its next step."""
        budget = Budget()
        rendering = asyncio.get_running_loop().run_in_executor(self._renderers, rendering_of(key).render, budget)
        try:
            return await rendering
        except asyncio.CancelledError:
            budget.stop()
            raise
        except TemplateProblem as problem:
            category = ApplicationErrorCategory.BENIGN
            kind = wire.TEMPLATE_FAILED
            raise ApplicationError(
                problem.reason, problem.path, type=kind, non_retryable=True, category=category
            ) from None

    @activity.defn(name=wire.CALL_TOOL)
    async def call_tool(self, call: dict[str, Any]) -> Any:
        """Call a tool of the project; heartbeats tell Temporal that this worker is alive."""
        beating = asyncio.create_task(_beat())
        try:
            arguments = dict(call["arguments"])
            fill_secrets(arguments, call.get("secrets") or [], self._tools.offer.secrets)
            apart = call.get("isolation") == "process"
            return await (self._tools.call_apart if apart else self._tools.call)(call["tool"], arguments)
        except ToolFailure as failure:
            reason = self._redact(failure.reason)
            self._log_failure(call, failure, reason)
            # Not chained: the error of a tool may hold what Temporal cannot carry.
            raise _benign(reason, failure.kind, final=failure.final) from None
        finally:
            beating.cancel()

    def _log_failure(self, call: Mapping[str, Any], failure: ToolFailure, reason: str) -> None:
        cause = failure.__cause__
        trace = "" if cause is None else clean_reason("".join(traceback.format_exception(cause, limit=-FRAMES)))
        facts = {"tool": call["tool"], "task": call["task"], "attempt": activity.info().attempt}
        log.warning("tool.failed", extra={**facts, "reason": reason, "traceback": self._redact(trace)})

    async def _write(self, write: Callable[[Execution], None], row: Execution) -> None:
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await asyncio.get_running_loop().run_in_executor(self._writers, write, row)
        except TimeoutError as error:
            raise _benign(f"the row was not written within {WRITE_TIMEOUT_S:g} s", UnavailableError.id) from error
        except UnavailableError as error:
            raise _benign(error.message, error.id) from error


def _log_end(row: Mapping[str, Any]) -> None:
    facts = {"execution": row["id"], "workflow": row["workflow"]}
    if row["status"] == "completed":
        log.info("execution.completed", extra=facts)
    else:
        log.info("execution.failed", extra={**facts, "status": row["status"], "reason": row["error"]})


def _benign(reason: str, kind: str, *, final: bool = False) -> ApplicationError:
    """Return a failure that Temporal's library does not log once more."""
    return ApplicationError(reason, type=kind, non_retryable=final, category=ApplicationErrorCategory.BENIGN)


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_S)
