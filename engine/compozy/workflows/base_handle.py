"""A knowledge base for callers on other threads than the event loop."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Protocol, TypeVar

from compozy.knowledge.library import BaseState
from compozy.knowledge.search import TOP_K, Query, Result
from compozy.vector.metadata_filter import Condition
from compozy.workflows.knowledge_service import IngestionState, KnowledgeService

DAY_S = 86400.0
Outcome = TypeVar("Outcome")


class BlockingCall(Protocol):
    """Waits for a coroutine on the loop."""

    def __call__(self, coroutine: Coroutine[object, object, Outcome], timeout_s: float | None = ...) -> Outcome:
        """Return the result of the coroutine."""


class BaseHandle:
    """One declared base: query it, ingest its documents, delete what it holds; blocking."""

    def __init__(self, base: str, service: KnowledgeService, call: BlockingCall) -> None:
        service.require(base)
        self.id = base
        self._service = service
        self._call = call

    def query(
        self, text: str, *, top_k: int = TOP_K, min_score: float | None = None,
        filter: Mapping[str, Condition] | None = None,  # noqa: A002 - the name of the option everywhere
    ) -> list[Result]:  # fmt: skip
        """Return at most `top_k` passages that answer a query, the best first; see `search`."""
        return self.ask(Query(text, top_k, min_score, filter or {}))

    def ask(self, query: Query) -> list[Result]:
        """Return the passages that answer a query; see `search`."""
        found: list[Result] = self._call(self._service.query(self.id, query))
        return found

    def ingest(self, *, rebuild: bool = False, timeout_s: float = DAY_S) -> IngestionState:
        """Ingest the documents and wait for the end, at most `timeout_s`; see `KnowledgeService.ingest`."""
        found: IngestionState = self._call(self._service.ingest(self.id, rebuild=rebuild, wait_s=timeout_s), timeout_s)
        return found

    def follow(self, wait_s: float) -> IngestionState:
        """Return the base once its ingestion has ended, or as it is after `wait_s`."""
        found: IngestionState = self._call(self._service.state(self.id, wait_s))
        return found

    def state(self) -> BaseState:
        """Return the last ingestion and how much the base holds."""
        found: IngestionState = self._call(self._service.state(self.id))
        return found.state

    def delete(self) -> int:
        """Delete the documents of the base; return how many there were."""
        count: int = self._call(self._service.delete(self.id))
        return count
