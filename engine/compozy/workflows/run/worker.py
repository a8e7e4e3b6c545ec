"""The worker: it takes executions and tool calls from a task queue and runs them.

It stops in order: no new work, running work may end within the grace, then everything that it opened is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from compozy import __version__
from compozy.knowledge.library import Library
from compozy.store import Store, UnavailableError
from compozy.workflows.ends import Ends
from compozy.workflows.run.activities import HEARTBEAT_S, Activities
from compozy.workflows.run.ingestion_workflow import IngestionWorkflow
from compozy.workflows.run.interpreter import Interpreter
from compozy.workflows.run.knowledge_activities import KnowledgeActivities
from compozy.workflows.run.memory_activities import MemoryActivities
from compozy.workflows.run.restart import USUAL, Health, Pace, Restarted
from compozy.workflows.run.row_writer import RowWriter
from compozy.workflows.run.tool_loader import NO_OFFER, ToolOffer, Tools

UNBOUNDED = 1000
# A slot is also held by each poll, and by each task until Temporal has taken its result. Without a free slot, Temporal
# does not send the first task of an execution with the answer to its start, which doubles its requests.
_SPARE_SLOTS = 40
RENDERERS = 2
# How long Temporal waits for a worker that was killed before it gives its executions to another one.
STICKY_TIMEOUT = timedelta(seconds=2)
START_TIMEOUT_S = 20.0
# Part of the time of each start, so it is short; it ends as soon as the worker polls.
_POLL_S = 0.005
_FATAL = (RuntimeError, ValueError, RPCError, OSError)


class WorkerHost:
    """A worker that is restarted when it fails; lives on one event loop."""

    def __init__(
        self,
        client: Client,
        store: Store,
        *,
        task_queue: str,
        directory: str,
        max_concurrent_workflows: int = 0,
        grace_s: float = 10.0,
        writers: int = 1,
        library: Library | None = None,
        offer: ToolOffer = NO_OFFER,
        ends: Ends | None = None,
        pace: Pace = USUAL,
    ) -> None:
        """Prepare a worker.

        `max_concurrent_workflows` is how many executions are started at once, 0 is unbounded; `grace_s` is
        how long tools may run after `stop`; `writers` threads write rows; `library` has the knowledge bases; `offer` is
        what tools get; `ends` is informed of final rows; `pace` is how patient to be with a worker that fails.
        """
        self._client = client
        self._task_queue = task_queue
        self._slots = (max_concurrent_workflows or UNBOUNDED) + _SPARE_SLOTS
        self._grace_s = grace_s
        self._tools = Tools(directory, offer)
        self._rows = RowWriter(store, ends or Ends(), writers)
        self._renderers = ThreadPoolExecutor(RENDERERS, thread_name_prefix="compozy-render")
        self._activities = Activities(self._tools, self._rows, self._renderers)
        self._memory = MemoryActivities(offer.memories, offer.redact)
        self._knowledge = None if library is None else KnowledgeActivities(library, offer.redact)
        self._worker: Worker | None = None
        self._running: asyncio.Task[None] | None = None
        self._restarted = Restarted(self._work, self._takes_work, _FATAL, pace)

    @property
    def health(self) -> Health:
        """Return whether the worker takes work; a restart is given a moment. Callable from any thread."""
        return Health(False, "it does not run") if self._running is None else self._restarted.health

    async def start(self) -> None:
        """Begin to take work; returns when the worker polls.

        Raises:
            UnavailableError: Temporal refused or does not answer.
        """
        self._tools.open()
        self._rows.open()
        self._running = asyncio.create_task(self._restarted.run(), name="compozy worker")
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        # A worker that cannot poll shows it a moment later, so that a start returns only when work is really taken.
        while not self._takes_work():
            error = self._restarted.error
            if error is not None or asyncio.get_running_loop().time() > deadline:
                reason = error or f"the worker did not start within {START_TIMEOUT_S:g} s"
                await self.stop(0)
                raise UnavailableError("temporal", reason)
            await asyncio.sleep(_POLL_S)

    async def stop(self, grace_s: float | None = None) -> None:
        """Stop taking work and wait for what runs, at most `grace_s` (0: not at all); idempotent."""
        # In the order of dependence: tools and workflows end before the threads and modules that they use.
        running, self._running = self._running, None
        if running is not None:
            await self._drain(running, self._grace_s if grace_s is None else grace_s)
        self._rows.close()
        self._renderers.shutdown(wait=False, cancel_futures=True)
        self._memory.close()
        if self._knowledge is not None:
            self._knowledge.close()
        self._tools.close()

    async def _drain(self, running: asyncio.Task[None], grace_s: float) -> None:
        self._restarted.end()
        worker, self._worker = self._worker, None
        if worker is not None and worker.is_running:
            with contextlib.suppress(TimeoutError):
                # The library waits for the grace itself; the second more is for its own shutdown.
                await asyncio.wait_for(worker.shutdown(), grace_s + 1.0 if grace_s else 0.1)
        running.cancel()
        await asyncio.wait([running], timeout=1.0 if grace_s else 0.1)

    def _takes_work(self) -> bool:
        return self._worker is not None and self._worker.is_running

    async def _work(self) -> None:
        self._worker = self._build()
        await self._worker.run()

    def _parts(self) -> list[Activities | MemoryActivities | KnowledgeActivities]:
        knowledge = [] if self._knowledge is None else [self._knowledge]
        return [self._activities, self._memory, *knowledge]

    def _build(self) -> Worker:
        options: dict[str, Any] = {
            "task_queue": self._task_queue,
            "workflows": [Interpreter, IngestionWorkflow],
            "activities": [
                *self._activities.all(),
                *self._memory.all(),
                *(self._knowledge.all() if self._knowledge else ()),
            ],
            # The interpreter is the only workflow code and deterministic by construction; the sandbox would import
            # every module again for each execution.
            "workflow_runner": UnsandboxedWorkflowRunner(),
            "interceptors": [self._rows],
            # Named, because the default is a hash over all loaded code, which takes 60 ms.
            "build_id": f"compozy-{__version__}",
            "max_concurrent_workflow_tasks": self._slots,
            "graceful_shutdown_timeout": timedelta(seconds=self._grace_s),
            "sticky_queue_schedule_to_start_timeout": STICKY_TIMEOUT,
            # A cancellation reaches a tool with the answer to its next heartbeat.
            "max_heartbeat_throttle_interval": timedelta(seconds=HEARTBEAT_S),
        }
        return Worker(self._client, **options)
