"""Ingest, query and delete knowledge bases: what every caller uses, on the event loop of the Temporal client.

One ingestion of a base runs at a time, because its id in Temporal is that of the base; a second start joins it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import WorkflowAlreadyStartedError

from compozy.base.record import dataclass
from compozy.errors import NotFoundError
from compozy.knowledge.library import BaseState, Library
from compozy.knowledge.search import Query, Result, search
from compozy.store.knowledge_records import INGESTING
from compozy.workflows.run import wire
from compozy.workflows.starting import ConflictError
from compozy.workflows.temporal import ask, result_of

THREADS = 4
DAY_S = 86400.0
FIRST_INGESTION_S = 20.0  # that a query waits for, within the time of a client of the server
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class IngestionState:
    """A base, whether an ingestion of it runs, and whether it ran before it was asked for."""

    state: BaseState
    running: bool
    joined: bool = False


class KnowledgeService:
    """The bases of a project on one Temporal namespace."""

    def __init__(self, client: Client, library: Library, task_queue: str) -> None:
        self._client = client
        self.library = library
        self._task_queue = task_queue
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="compozy-bases")

    def close(self) -> None:
        """Release the threads and the embedders; idempotent."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.library.close()

    def require(self, base: str) -> None:
        """Refuse a base that is not declared; raises NotFoundError."""
        self.library.base(base)

    async def states(self) -> list[BaseState]:
        """Return the declared bases; raises UnavailableError."""
        return await self._in_thread(self.library.states)

    async def state(self, base: str, wait_s: float | None = None) -> IngestionState:
        """Return a base; with `wait_s` once its ingestion has ended, or as it is then.

        Raises:
            NotFoundError: the configuration declares no base of this id.
            UnavailableError: the database or Temporal does not answer.
        """
        self.library.base(base)
        running = wait_s is not None and not await self._ended(base, wait_s)
        return IngestionState(await self._in_thread(lambda: self.library.state(base)), running)

    async def ingest(self, base: str, *, rebuild: bool = False, wait_s: float = 0.0) -> IngestionState:
        """Start an ingestion, or join the one that runs, and wait for its end.

        Raises:
            NotFoundError: the configuration declares no base of this id.
            AnotherEmbedderError: it was ingested with another embedder, and `rebuild` is False.
            ConflictError: it is being ingested, and `rebuild` is True.
            UnavailableError: the database or Temporal does not answer.
        """
        await self._in_thread(lambda: self.library.require_ingestible(base, rebuild=rebuild))
        joined = False
        starting = self._client.start_workflow(
            wire.INGESTION_TYPE, {"base": base, "rebuild": rebuild}, id=self._id(base), task_queue=self._task_queue
        )
        try:
            await ask(self._client, starting, base)
        except WorkflowAlreadyStartedError as error:
            if rebuild:
                hint = "wait for its end, then rebuild it"
                raise ConflictError(f'knowledge base "{base}" is being ingested', hint=hint) from error
            joined = True
        running = not await self._ended(base, wait_s)
        return IngestionState(await self._in_thread(lambda: self.library.state(base)), running, joined)

    async def ingesting(self) -> Mapping[str, bool]:
        """Return whether an ingestion of each declared base runs; raises UnavailableError."""
        stored = await self._in_thread(self.library.rows.bases)
        return {base: base in stored and stored[base].status == INGESTING for base in self.library.bases}

    async def is_empty(self, base: str) -> bool:
        """Return True if a base was never ingested; raises UnavailableError."""
        return await self._in_thread(lambda: self.library.rows.base(base)) is None

    async def query(self, base: str, query: Query) -> list[Result]:
        """Return the passages that answer a query; see `search` and `Library.first_ingestion`."""
        await self.library.first_ingestion(base, FIRST_INGESTION_S)
        return await self._in_thread(lambda: search(self.library, base, query))

    async def delete(self, base: str) -> int:
        """Delete what a base holds, after its ingestion was ended; return how many documents it had.

        Raises:
            NotFoundError: the configuration declares no base of this id.
            UnavailableError: the database, the vector store or Temporal does not answer.
        """
        self.library.base(base)
        handle = self._client.get_workflow_handle(self._id(base))
        # No ingestion of the base runs.
        with contextlib.suppress(NotFoundError):
            # A step that still runs fails at its next write, because the base has another run now.
            await ask(self._client, handle.terminate(reason="the base was deleted"), base)
        return await self._in_thread(lambda: self.library.delete(base))

    async def _ended(self, base: str, wait_s: float) -> bool:
        """Return True if no ingestion of a base runs, at the latest after `wait_s`."""
        handle = self._client.get_workflow_handle(self._id(base))
        try:
            async with asyncio.timeout(wait_s):
                await ask(self._client, result_of(handle), base)
        except TimeoutError:
            return False
        # No ingestion, or one that has failed: either way none runs any more.
        except (NotFoundError, WorkflowFailureError):
            pass
        return True

    def _id(self, base: str) -> str:
        return f"compozy-knowledge/{self._task_queue}/{base}"

    async def _in_thread(self, call: Callable[[], Outcome]) -> Outcome:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)
