"""Run workflows while the clock jumps to the next timer whenever nothing else is to be done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compozy.store import Execution
from compozy.testing.time_skipping import TimeSkipping
from compozy.workflows.facade import Workflows, WorkflowSettings
from compozy.workflows.model.definition import Definition
from compozy.workflows.run.tool_loader import ToolOffer


class SkippedTimeWorkflows(Workflows):
    """Workflows of a project on a time-skipping Temporal: waiting for an execution takes no time for its timers."""

    def __init__(self, time: TimeSkipping, database: Any, settings: WorkflowSettings, offer: ToolOffer) -> None:
        super().__init__(time.client, database, time.loop, settings, offer)
        self.time = time

    def run(
        self,
        workflow: Definition | str,
        given: Mapping[str, Any] | None = None,
        *,
        execution_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Execution:
        """Start an execution and wait for it; see `Workflows.run`."""
        with self.time.unlocked():
            return super().run(workflow, given, execution_id=execution_id, timeout_s=timeout_s)

    def wait(self, execution_id: str, timeout_s: float | None = None) -> Execution:
        """Wait for the end of an execution; see `Workflows.wait`."""
        with self.time.unlocked():
            return super().wait(execution_id, timeout_s)
