"""Ingest the knowledge bases that each start ingests; queries of a base that holds nothing yet wait for its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from compozy.errors import CompozyError
from compozy.workflows.knowledge_service import DAY_S, KnowledgeService

log = logging.getLogger("compozy.knowledge")


class StartIngestions:
    """The ingestions that a server begins by itself; lives on the loop of the Temporal client."""

    def __init__(self, service: KnowledgeService) -> None:
        self._service = service
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, bases: Iterable[str]) -> None:
        """Ingest bases in the background."""
        for base in bases:
            self._service.library.awaited.add(base)
            task = asyncio.create_task(self._ingest(base), name=f"compozy ingestion of {base}")
            # The loop holds tasks weakly.
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def stop(self) -> None:
        """End the waiting; the ingestions continue where Temporal is kept; idempotent."""
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _ingest(self, base: str) -> None:
        library = self._service.library
        try:
            # What an earlier ingestion left is good for queries meanwhile.
            if not await self._service.is_empty(base):
                library.awaited.discard(base)
            await self._service.ingest(base, wait_s=DAY_S)
        except CompozyError as error:
            # A source, a store or an embedder that fails must not stop the server.
            reason = error.message if error.hint is None else f"{error.message} (fix: {error.hint})"
            log.warning("ingestion.failed", extra={"base": base, "reason": reason})
        finally:
            library.awaited.discard(base)
