"""The Temporal workflow of ingestions: begin, step by step until no document is pending, finish.

Payloads hold the id of a base and counts, never texts. Everything here is deterministic.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from compozy.workflows.run import wire

STEP_S = 5.0
# For one step: a large document is embedded as a whole. The heartbeat notices a dead worker much earlier.
_LONGEST = timedelta(hours=6)
_HEARTBEAT = timedelta(seconds=10)
_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=30),
    maximum_attempts=6,
)  # fmt: skip
# Without a number of attempts: a base must not stay in the status `ingesting` for ever.
_UNTIL_WRITTEN = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))


@workflow.defn(name=wire.INGESTION_TYPE, sandboxed=False)
class IngestionWorkflow:
    """One ingestion of one base."""

    @workflow.run
    async def run(self, payload: dict[str, Any]) -> None:
        """Ingest the documents of a base; a long ingestion is continued by a further execution of the same id."""
        # The first run id stays the identity of the ingestion when further executions continue it.
        base, run = payload["base"], payload.get("run") or workflow.info().run_id
        try:
            if not payload.get("run"):
                await _perform(wire.INGESTION_BEGIN, base, run, payload.get("rebuild", False))
            while await _perform(wire.INGESTION_STEP, base, run, STEP_S):
                # Each step adds events, and Temporal terminates an execution whose history becomes too long.
                if workflow.info().is_continue_as_new_suggested():
                    workflow.continue_as_new({"base": base, "run": run})
            await _perform(wire.INGESTION_FINISH, base, run, None)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            reason = error.cause.message if isinstance(error.cause, ApplicationError) else str(error.cause or error)
            await _perform(wire.INGESTION_FINISH, base, run, reason, retry=_UNTIL_WRITTEN)
            raise ApplicationError(reason, type=wire.FAILED, non_retryable=True) from error


async def _perform(activity: str, *arguments: Any, retry: RetryPolicy = _RETRY) -> Any:
    return await workflow.execute_activity(
        activity, args=arguments, start_to_close_timeout=_LONGEST, heartbeat_timeout=_HEARTBEAT, retry_policy=retry
    )
