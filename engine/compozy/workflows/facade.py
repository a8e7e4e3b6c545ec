"""The workflows of a provisioned runtime for callers on other threads: command line, library, tests.

It owns the service, the worker and the upkeep that reconciles rows with Temporal; closing it ends only these three.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Mapping
from typing import TypeVar

import peewee
from temporalio.client import Client

from compozy.base.record import dataclass
from compozy.drivers.protocol import LoopThread
from compozy.knowledge.library import Library, make_library
from compozy.store import Execution, Pruned, Store, TaskExecution
from compozy.tools import no_components
from compozy.workflows.base_handle import BaseHandle
from compozy.workflows.catalogue import Imported, Listing
from compozy.workflows.ends import Ends
from compozy.workflows.knowledge_service import KnowledgeService
from compozy.workflows.model.definition import Definition
from compozy.workflows.run.restart import Health
from compozy.workflows.run.tool_loader import NO_OFFER, ToolOffer
from compozy.workflows.run.worker import UNBOUNDED, WorkerHost
from compozy.workflows.service import Service
from compozy.workflows.start_ingestions import StartIngestions
from compozy.workflows.upkeep import Upkeep

CALL_TIMEOUT_S = 30.0
WAIT_MARGIN_S = 10.0
DAY_S = 86400.0
log = logging.getLogger("compozy.workflows")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class WorkflowSettings:
    """The settings of workflows.

    `directory` is the project (absolute), `files` the further workflow files of `workflows[]`,
    `max_concurrent_workflows` is 0 for unbounded, `history_kept` is False when a restart of Temporal forgets
    executions, `retention_s` is how long ended ones are kept (None: for ever), `grace_s` how long tools may
    continue while stopping.
    """

    directory: str
    task_queue: str = "compozy"
    files: tuple[str, ...] = ()
    max_concurrent_workflows: int = 0
    auto_migrate: bool = True
    worker: bool = True
    database_kept: bool = True
    history_kept: bool = True
    retention_s: float | None = None
    grace_s: float = 10.0


class Workflows:
    """Start, watch and steer executions, blocking; `service` is the same for coroutines on the loop."""

    def __init__(
        self,
        client: Client,
        database: peewee.Database,
        loop: LoopThread,
        settings: WorkflowSettings,
        offer: ToolOffer = NO_OFFER,
        library: Library | None = None,
    ) -> None:
        """Prepare; `open` makes it work.

        `client` must live on `loop`; `offer` is what tools get; `library` holds the knowledge bases.
        """
        self.store = Store(database)
        library = library or make_library(database, {}, no_components)
        self.knowledge = KnowledgeService(client, library, settings.task_queue)
        self.memories = offer.memories
        self._start_ingestions = StartIngestions(self.knowledge)
        ends = Ends()
        self._loop = loop
        self._settings = settings
        self.service = Service(
            client,
            self.store,
            task_queue=settings.task_queue,
            directory=settings.directory,
            files=settings.files,
            history_kept=settings.history_kept,
            retention_s=settings.retention_s,
            ends=ends if settings.worker else None,
            at_once=settings.max_concurrent_workflows or UNBOUNDED,
        )
        self.worker = _worker(client, self.store, database, settings, offer, ends, library) if settings.worker else None
        self._upkeep = Upkeep(self.service)

    def open(self) -> Workflows:
        """Migrate the database or require its schema, start the worker and the upkeep of rows.

        Raises:
            UnavailableError: the database or Temporal does not answer; nothing is left running.
            SchemaError: the tables are not of this version, and `auto_migrate` is off or cannot change that.
        """
        try:
            if self._settings.auto_migrate:
                self.store.migrate()
            else:
                self.store.require_schema(kept=self._settings.database_kept)
            # After the schema: the worker may take executions at once, and they write rows.
            self._loop.call(self._open(), CALL_TIMEOUT_S)
        except BaseException:
            self.close(0)
            raise
        return self

    def close(self, grace_s: float | None = None) -> None:
        """Stop taking work, let what runs end within `grace_s` (0: at once); idempotent."""
        grace = self._settings.grace_s if grace_s is None else grace_s
        log.info("workflows.closing", extra={"grace_s": grace})
        self._loop.call(self._close(grace), grace + WAIT_MARGIN_S)
        self.service.close()
        self.knowledge.close()

    def worker_health(self) -> Health:
        """Return the health of the worker; healthy if this process runs none."""
        return Health(True) if self.worker is None else self.worker.health

    def __enter__(self) -> Workflows:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(
        self,
        workflow: Definition | str,
        given: Mapping[str, object] | None = None,
        *,
        execution_id: str | None = None,
    ) -> str:
        """Start an execution and return its id; see `Service.start`."""
        return self._call(self.service.start(workflow, given, execution_id=execution_id))

    def wait(self, execution_id: str, timeout_s: float | None = None) -> Execution:
        """Wait for the end of an execution; see `Service.wait`."""
        return self._call(self.service.wait(execution_id, timeout_s), timeout_s)

    def run(
        self,
        workflow: Definition | str,
        given: Mapping[str, object] | None = None,
        *,
        execution_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Execution:
        """Start an execution and wait for it; see `Service.start` and `Service.wait`."""
        running = self.service.run(workflow, given, execution_id=execution_id, timeout_s=timeout_s)
        return self._call(running, timeout_s)

    def execution(self, execution_id: str) -> Execution:
        """Return one execution; see `Service.execution`."""
        return self._call(self.service.execution(execution_id))

    def tasks(self, execution_id: str) -> tuple[TaskExecution, ...]:
        """Return the tasks of an execution; see `Service.tasks`."""
        return self._call(self.service.tasks(execution_id))

    def executions(
        self, *, limit: int = 100, workflow: str | None = None, status: str | None = None
    ) -> tuple[Execution, ...]:
        """Return the newest executions first; see `Service.executions`."""
        return self._call(self.service.executions(limit=limit, workflow=workflow, status=status))

    def cancel(self, execution_id: str) -> Execution:
        """Ask an execution to end; see `Service.cancel`."""
        return self._call(self.service.cancel(execution_id))

    def terminate(self, execution_id: str) -> Execution:
        """End an execution at once; see `Service.terminate`."""
        return self._call(self.service.terminate(execution_id))

    def signal(self, execution_id: str, name: str, payload: object = None) -> None:
        """Send a signal; see `Service.signal`."""
        self._call(self.service.signal(execution_id, name, payload))

    def workflows(self) -> Listing:
        """Return the workflows that can be run; see `Service.workflows`."""
        return self._call(self.service.workflows())

    def workflow(self, workflow_id: str) -> Definition:
        """Return one workflow; see `Service.definition`."""
        return self._call(self.service.definition(workflow_id))

    def delete_workflow(self, workflow_id: str) -> str | None:
        """Delete an imported workflow; see `Service.delete_workflow`."""
        return self._call(self.service.delete_workflow(workflow_id))

    def prune(self, older_than_s: float | None = None, *, dry_run: bool = False) -> Pruned:
        """Delete old executions; see `Service.prune`."""
        return self._call(self.service.prune(older_than_s, dry_run=dry_run))

    def import_workflows(self, exported: object) -> Imported:
        """Import the JSON of `workflow list`; see `Service.import_workflows`."""
        return self._call(self.service.import_workflows(exported))

    def base(self, base: str) -> BaseHandle:
        """Return a knowledge base; raises NotFoundError if the configuration declares none of this id."""
        return BaseHandle(base, self.knowledge, self._call)

    def ingest_at_start(self) -> None:
        """Begin to ingest, in the background, the bases that each start ingests."""
        bases = [base.id for base in self.knowledge.library.bases.values() if base.at_start]

        async def begin() -> None:
            self._start_ingestions.begin(bases)

        self._call(begin())

    def reconcile(self) -> tuple[str, ...]:
        """Correct rows that are behind Temporal; see `Service.reconcile`."""
        return self._call(self.service.reconcile())

    def _call(self, coroutine: Coroutine[object, object, Result], timeout_s: float | None = CALL_TIMEOUT_S) -> Result:
        return self._loop.call(coroutine, DAY_S if timeout_s is None else timeout_s + WAIT_MARGIN_S)

    async def _open(self) -> None:
        if self.worker is not None:
            await self.worker.start()
        self._upkeep.start()

    async def _close(self, grace_s: float) -> None:
        # Corrections first, then waiting requests, then the worker: each uses what comes after it.
        await self._start_ingestions.stop()
        await self._upkeep.stop()
        await self.service.stop()
        if self.worker is not None:
            await self.worker.stop(grace_s)


def _worker(
    client: Client,
    store: Store,
    database: peewee.Database,
    settings: WorkflowSettings,
    offer: ToolOffer,
    ends: Ends,
    library: Library,
) -> WorkerHost:
    """Build the worker; SQLite takes one writer at a time, so one thread writes."""
    return WorkerHost(
        client,
        store,
        task_queue=settings.task_queue,
        directory=settings.directory,
        max_concurrent_workflows=settings.max_concurrent_workflows,
        grace_s=settings.grace_s,
        writers=1 if isinstance(database, peewee.SqliteDatabase) else 4,
        offer=offer,
        ends=ends,
        library=library,
    )
