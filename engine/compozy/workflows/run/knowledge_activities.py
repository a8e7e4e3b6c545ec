"""The side effects of ingestions, and the queries of tasks, with JSON as input and output.

Each activity may run twice, also at the same time; the steps of an ingestion are made for that.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import activity

from compozy.errors import CompozyError, DriverError
from compozy.knowledge.ingestion import Ingestion
from compozy.knowledge.library import Library
from compozy.knowledge.search import Query, search
from compozy.store.knowledge_records import FAILED
from compozy.store.knowledge_rows import SupersededError
from compozy.workflows.run import wire
from compozy.workflows.run.activities import beat, benign
from compozy.workflows.tasks.knowledge import QUERY_KNOWLEDGE

THREADS = 4
_WAITING = 0.8
log = logging.getLogger("compozy.knowledge")
Outcome = TypeVar("Outcome")


class KnowledgeActivities:
    """The knowledge activities of one worker; `redact` removes secrets from a text."""

    def __init__(self, library: Library, redact: Callable[[str], str] = str) -> None:
        self._library = library
        self._redact = redact
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="compozy-knowledge")

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities, as a worker wants them."""
        return [self.begin, self.step, self.finish, self.query]

    def close(self) -> None:
        """Release the threads; idempotent."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @activity.defn(name=wire.INGESTION_BEGIN)
    async def begin(self, base: str, run: str, rebuild: bool) -> int:
        """Note which documents a base has; return how many."""
        documents = await self._in_thread(lambda _: Ingestion(self._library, base, run).begin(rebuild=rebuild))
        log.info("ingestion.started", extra={"base": base, "run": run, "documents": documents, "rebuild": rebuild})
        return documents

    @activity.defn(name=wire.INGESTION_STEP)
    async def step(self, base: str, run: str, seconds: float) -> int:
        """Ingest documents for about `seconds`; return how many are left, at most some dozens."""
        return await self._in_thread(lambda stop: Ingestion(self._library, base, run).step(seconds, stop.is_set))

    @activity.defn(name=wire.INGESTION_FINISH)
    async def finish(self, base: str, run: str, error: str | None) -> None:
        """Note how an ingestion ended."""
        await self._in_thread(lambda _: Ingestion(self._library, base, run).finish(error))
        if error is not None:
            log.warning("ingestion.failed", extra={"base": base, "run": run, "reason": error})
            return
        extent = await self._in_thread(lambda _: self._library.rows.extent(base))
        facts = {"documents": extent.documents, "chunks": extent.chunks, **extent.states}
        if FAILED in extent.states:
            log.warning("ingestion.incomplete", extra={"base": base, "run": run, **facts})
        else:
            log.info("ingestion.completed", extra={"base": base, "run": run, **facts})

    @activity.defn(name=QUERY_KNOWLEDGE)
    async def query(self, call: dict[str, Any], _tasks: list[dict[str, Any]]) -> dict[str, Any]:
        """Query a base for a task."""
        query = Query(call["query"], call["top_k"], call["min_score"], call["filter"] or {})
        timeout = activity.info().start_to_close_timeout or timedelta()
        # A part of the time remains for the query and for the reason of a failure.
        wait = self._library.first_ingestion(call["base"], timeout.total_seconds() * _WAITING)
        results = await self._in_thread(lambda _: search(self._library, call["base"], query), wait)
        output = {"base": call["base"], "results": [asdict(result) for result in results]}
        return {"output": output, "attempt": activity.info().attempt}

    async def _in_thread(
        self, work: Callable[[threading.Event], Outcome], first: Awaitable[None] | None = None
    ) -> Outcome:
        """Return what `work` returns, after `first`; its event is set when it should end early."""
        stop = threading.Event()
        aside = [asyncio.create_task(beat()), asyncio.create_task(_set_at_shutdown(stop))]
        try:
            # Not on a thread, of which the ingestion that is waited for needs one.
            if first is not None:
                await first
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, stop)
        except SupersededError as error:
            raise benign(
                "the base was deleted, or a newer ingestion replaced this one", "Superseded", final=True
            ) from error
        except CompozyError as error:
            # Only a service that does not answer may do so later; every other refusal would repeat.
            final = not isinstance(error, DriverError)
            text = error.message if error.hint is None else f"{error.message} (fix: {error.hint})"
            raise benign(self._redact(text), error.id, activity.info().attempt, final=final) from error
        finally:
            stop.set()
            for one in aside:
                one.cancel()


async def _set_at_shutdown(stop: threading.Event) -> None:
    await activity.wait_for_worker_shutdown()
    stop.set()
