"""The knowledge bases of a project without a server.

A query provisions the database and what holds the vectors of the base; an ingestion provisions everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from compozy.client.knowledge_answers import (
    BaseAnswer,
    BaseDeletion,
    BaseSummary,
    DocumentFailure,
    KnowledgeList,
    PassageAnswer,
    QueryAnswer,
    QueryRequest,
)
from compozy.client.knowledge_client import POLL_S, Progress
from compozy.errors import UsageError
from compozy.knowledge.library import IngestionError
from compozy.knowledge.search import Query, Result, search
from compozy.store.knowledge_records import ADDED, FAILED, INGESTING, PENDING, UNCHANGED, UPDATED, StoredBase

if TYPE_CHECKING:
    from compozy.knowledge.library import BaseState, Library
    from compozy.workflows.base_handle import BaseHandle
    from compozy.workflows.facade import Workflows
    from compozy.workflows.knowledge_service import IngestionState

Note = Callable[[str], None]


class LocalKnowledge:
    """The bases of a project; `library` opens what a base needs, None for the database alone."""

    def __init__(
        self, library: Callable[[str | None], Library], workflows: Callable[[], Workflows], mode: str, *, kept: bool,
        note: Note = lambda line: None,
    ) -> None:  # fmt: skip
        """Prepare; `workflows` provisions everything, `kept` is whether the database outlives this process."""
        self._library = library
        self._workflows = workflows
        self._mode = mode
        self._kept = kept
        self._note = note
        self._ingested: set[str] = set()

    def bases(self) -> KnowledgeList:
        """Return the declared bases."""
        return knowledge_list(self._library(None).states())

    def base(self, base: str) -> BaseAnswer:
        """Return a base and its last ingestion."""
        return base_answer(self._library(None).state(base))

    def ingest(self, base: str, *, rebuild: bool, wait: bool, progress: Progress) -> BaseAnswer:
        """Ingest the documents of a base."""
        if not wait:
            raise UsageError("--detach needs a running server", hint="start one with compozy start")
        self._require_kept()
        return ingested(self._workflows().base(base), progress, rebuild=rebuild)

    def query(self, base: str, request: QueryRequest) -> QueryAnswer:
        """Return the passages that answer a query; what is not kept is ingested before the first one."""
        question = asked(request)
        if self._kept:
            return query_answer(base, search(self._library(base), base, question))
        handle = self._workflows().base(base)
        if base not in self._ingested:
            fill(handle, self._note)
            self._ingested.add(base)
        return query_answer(base, handle.ask(question))

    def delete(self, base: str) -> BaseDeletion:
        """Delete the documents of a base."""
        self._require_kept()
        return BaseDeletion(deleted=base, documents=self._workflows().base(base).delete())

    def _require_kept(self) -> None:
        if not self._kept:
            raise UsageError(
                f"no server is running, and mode {self._mode} keeps no documents",
                hint="start one with compozy start, or use --mode persistent",
            )


def ingested(handle: BaseHandle, progress: Progress, *, rebuild: bool = False) -> BaseAnswer:
    """Ingest the documents of a base, and report its progress, until the end."""
    # A timeout of 0 only starts the ingestion, so that its progress can be reported.
    first = found = handle.ingest(rebuild=rebuild, timeout_s=0)
    while found.running:
        progress(ingestion_answer(found))
        found = handle.follow(POLL_S)
    return ingestion_answer(found, joined=first.joined)


def fill(handle: BaseHandle, note: Note) -> None:
    """Ingest a base that a following query needs; `note` gets progress and outcome.

    Raises:
        IngestionError: the ingestion failed.
    """
    note(f"ingesting the documents of {handle.id}")

    def progress(state: BaseAnswer) -> None:
        if line := state.progress():
            note(line)

    found = ingested(handle, progress)
    if (reason := found.failure()) is not None:
        raise IngestionError(found.id, reason)
    for failure in found.failures:
        note(f"{failure.source} was not ingested: {failure.error}")
    note(found.outcome())


def asked(request: QueryRequest) -> Query:
    """Return the query of a request; raises UsageError where it is out of bounds."""
    return Query(request.query, request.top_k, request.min_score, request.filter)


def knowledge_list(states: Sequence[BaseState]) -> KnowledgeList:
    """Return bases as lists print them."""
    return KnowledgeList(bases=[_summary(state) for state in states])


def _summary(state: BaseState) -> BaseSummary:
    stored, extent = _stored(state), state.extent
    return BaseSummary(
        id=state.base.id, status=stored.status, documents=extent.documents, chunks=extent.chunks,
        failed=extent.states.get(FAILED, 0), finished_at=stored.finished_at,
    )  # fmt: skip


def ingestion_answer(found: IngestionState, *, joined: bool | None = None) -> BaseAnswer:
    """Return a base of which an ingestion may run."""
    was_joined = found.joined if joined is None else joined
    return base_answer(found.state, status=INGESTING if found.running else None, joined=was_joined)


def base_answer(state: BaseState, *, status: str | None = None, joined: bool = False) -> BaseAnswer:
    """Return a base and its last ingestion."""
    stored, extent, states = _stored(state), state.extent, state.extent.states
    return BaseAnswer(
        id=state.base.id, status=status or stored.status, documents=extent.documents, chunks=extent.chunks,
        pending=states.get(PENDING, 0), added=states.get(ADDED, 0), updated=states.get(UPDATED, 0),
        unchanged=states.get(UNCHANGED, 0), failed=states.get(FAILED, 0), removed=stored.removed,
        embedder=stored.embedder or None, store=stored.store or None, started_at=stored.started_at or None,
        finished_at=stored.finished_at, error=stored.error, joined=joined,
        failures=[DocumentFailure(source=one.source, error=one.error or "") for one in state.failures],
    )  # fmt: skip


def query_answer(base: str, results: Sequence[Result]) -> QueryAnswer:
    """Return the passages that answer a query."""
    found = [
        PassageAnswer(text=one.text, score=one.score, source=one.source, place=one.place, metadata=one.metadata)
        for one in results
    ]
    return QueryAnswer(base=base, results=found)


def _stored(state: BaseState) -> StoredBase:
    """Return the last ingestion; before the first one the base is `empty`."""
    return state.stored or StoredBase(state.base.id, "", "", "", "empty", "")
