"""Typed records of the requests and responses of the HTTP interface about knowledge bases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from compozy.client.answers import Answer

Text: TypeAlias = Annotated[str, Meta(description="The text to find passages for.")]


class DocumentFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A document, or a source of documents, that could not be ingested."""

    source: str
    error: str


class BaseSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A declared base; `status` is `empty`, `ingesting`, `ready` or `failed`."""

    id: str
    status: str
    documents: int
    chunks: int
    failed: Annotated[int, Meta(description="Documents that could not be ingested.")]
    finished_at: str | None = None


class KnowledgeList(Answer, frozen=True, kw_only=True):
    """The declared bases."""

    bases: Sequence[BaseSummary]


class BaseAnswer(Answer, frozen=True, kw_only=True):
    """A base, its last ingestion, and the first documents that could not be ingested.

    `pending` documents wait for their ingestion, `added`, `updated`, `unchanged`, `failed` and `removed` are counts of
    the last ingestion. `joined` is whether the ingestion ran before it was asked for.
    """

    id: str
    status: str
    documents: int
    chunks: int
    pending: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    failed: int = 0
    removed: int = 0
    embedder: str | None = None
    store: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    error: str | None = None
    joined: bool = False
    failures: Sequence[DocumentFailure] = ()

    def progress(self) -> str | None:
        """Return how far an ingestion is in one line, None where that is not known."""
        done = self.added + self.updated + self.unchanged + self.failed
        return f"{self.id}: {done} of {done + self.pending} documents" if done and self.pending else None

    def failure(self) -> str | None:
        """Return why an ingestion that was waited for has no result, None if it has one."""
        if self.status == "empty":
            return "the base was deleted meanwhile"
        return self.error if self.status == "failed" else None

    def outcome(self) -> str:
        """Return the result of an ingestion in one line."""
        if self.status == "ingesting":
            return f"{self.id} is being ingested; compozy knowledge show {self.id} shows its progress"
        counts = {name: getattr(self, name) for name in ("added", "updated", "unchanged", "removed", "failed")}
        changes = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no documents"
        joined = " (joined the ingestion that was running)" if self.joined else ""
        return f"{self.id}: {changes}; {self.documents} documents in {self.chunks} chunks{joined}"


class IngestRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ingest the documents of a base; with `rebuild` all of them are embedded again."""

    rebuild: bool = False


class QueryRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Find the passages of a base that answer `query`."""

    query: Text
    top_k: Annotated[int, Meta(ge=1, le=100, description="How many results there are at most.")] = 5
    min_score: Annotated[float | None, Meta(description="The lowest score of a result.")] = None
    filter: Annotated[Mapping[str, Any], Meta(description="Metadata that results have.")] = {}


class PassageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A passage; `score` is the cosine similarity to the query, or the share of its words in a base without vectors."""

    text: str
    score: float
    source: str
    place: str
    metadata: Mapping[str, Any]


class QueryAnswer(Answer, frozen=True, kw_only=True):
    """The passages that answer a query, the best first."""

    base: str
    results: Sequence[PassageAnswer]


class BaseDeletion(Answer, frozen=True, kw_only=True):
    """The base whose documents were deleted."""

    deleted: str
    documents: int
