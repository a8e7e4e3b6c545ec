"""Records of knowledge bases: what a database keeps of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from compozy.base.record import dataclass

INGESTING, READY, FAILED = "ingesting", "ready", "failed"
PENDING, ADDED, UPDATED, UNCHANGED = "pending", "added", "updated", "unchanged"


@dataclass(frozen=True, slots=True)
class StoredBase:
    """A base and its last ingestion: `run` identifies it, `status` is `INGESTING`, `READY` or `FAILED`.

    `embedder` and `store` are those of its vectors, empty for a base without vectors; `removed` counts documents.
    """

    id: str
    embedder: str
    store: str
    run: str
    status: str
    started_at: str
    finished_at: str | None = None
    error: str | None = None
    removed: int = 0


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document; `recipe` is how its present chunks were made, `version` that of the file they were made of.

    `sha256` is that of its present content, empty before its first ingestion; `state` is how its last one ended.
    """

    source: str
    version: str = ""
    sha256: str = ""
    recipe: str = ""
    state: str = PENDING
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk of a document, as queries return it."""

    id: str
    source: str
    ordinal: int
    text: str
    place: str
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DocumentContent:
    """The present content of a document, in chunks."""

    source: str
    version: str
    sha256: str
    recipe: str
    passages: Sequence[Passage]


@dataclass(frozen=True, slots=True)
class Extent:
    """The numbers of documents with content, of documents in each state, and of chunks of a base."""

    documents: int
    states: Mapping[str, int]
    chunks: int
