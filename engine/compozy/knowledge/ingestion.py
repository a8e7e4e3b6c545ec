"""Ingest a base in steps, each of which may be killed and repeated at any point.

Documents that wait for their ingestion are rows of the database, so that a step needs nothing from the one before.
New chunks have new ids, are written before the old ones are removed, and become visible together.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import field
from hashlib import sha256

from compozy.base.record import dataclass
from compozy.errors import CompozyError
from compozy.knowledge.chunks import split
from compozy.knowledge.document_sources import find_documents, read_document
from compozy.knowledge.documents import DocumentFault, Reference
from compozy.knowledge.library import Library, Vectors
from compozy.store.knowledge_records import (
    FAILED,
    INGESTING,
    PENDING,
    READY,
    DocumentContent,
    Passage,
    StoredBase,
    StoredDocument,
)
from compozy.store.knowledge_rows import SupersededError
from compozy.store.records import timestamp
from compozy.vector.vector_store import VectorRecord

# To be raised when the same document and settings give other chunks than before: then all are ingested anew.
RECIPE = "1"
_DOCUMENTS = 64  # of one read of the database
_CHUNKS = 256  # of one write
log = logging.getLogger("compozy.knowledge")


@dataclass(slots=True)
class Batch:
    """Documents that were read and are not written yet."""

    contents: list[DocumentContent] = field(default_factory=list)
    unchanged: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        """Return True if it is time to write."""
        return sum(len(content.passages) for content in self.contents) >= _CHUNKS


class Ingestion:
    """One ingestion, `run`, of a base."""

    def __init__(self, library: Library, base_id: str, run: str) -> None:
        """Prepare; raises NotFoundError if the configuration declares no base of this id."""
        self._library = library
        self._rows = library.rows
        self._base = library.base(base_id)
        self._run = run

    def begin(self, *, rebuild: bool = False) -> int:
        """Note which documents there are; return how many. With `rebuild` all of them are embedded again.

        Raises:
            AnotherEmbedderError: the base was ingested with another embedder, and `rebuild` is False.
        """
        base, vectors = self._base, self._library.vectors(self._base)
        if rebuild:
            if vectors is not None:
                vectors.store.delete(where={"base": base.id})
            self._rows.forget_recipes(base.id)
        else:
            self._library.require_same(base, self._rows.base(base.id), vectors)
            if vectors is not None and not vectors.store.count({"base": base.id}):
                # The store has lost its vectors, or never had any: unchanged documents are embedded again as well.
                self._rows.forget_recipes(base.id)
        found = list(find_documents(base))
        sources = [one.source for one in found if isinstance(one, Reference)]
        faults = {one.source: _text(one) for one in found if isinstance(one, DocumentFault)}
        embedder, store = (vectors.embedder.identity, vectors.store_id) if vectors else ("", "")
        row = StoredBase(base.id, embedder, store, self._run, INGESTING, timestamp())
        self._rows.begin(row, sources, faults)
        self._library.documents.add(base.id, "failed", count=len(faults))
        return len(sources)

    def step(self, seconds: float, stopped: Callable[[], bool] = lambda: False) -> int:
        """Ingest pending documents for about `seconds`; return how many are left, at most some dozens.

        Raises:
            SupersededError: the base was deleted, or is ingested anew.
        """
        until, vectors = time.monotonic() + seconds, self._library.vectors(self._base)
        # Found anew in each step: addresses may contain secrets, so that rows do not have them.
        references = {one.source: one for one in find_documents(self._base) if isinstance(one, Reference)}
        pending = self._rows.documents(self._base.id, PENDING, _DOCUMENTS)
        while pending and not stopped() and time.monotonic() < until:
            self._ingest(pending, references, vectors)
            pending = self._rows.documents(self._base.id, PENDING, _DOCUMENTS)
        self._delete_discarded(vectors)
        return len(pending)

    def finish(self, error: str | None = None) -> None:
        """Remove the documents that no longer exist, and record how the ingestion ended.

        Raises:
            SupersededError: the base was deleted, or is ingested anew.
        """
        if error is None:
            # Only after success: a failed ingestion leaves the documents of the one before.
            self._rows.sweep(self._base.id, self._run)
            self._delete_discarded(self._library.vectors(self._base))
        self._rows.finish(self._base.id, self._run, READY if error is None else FAILED, error)

    def _ingest(
        self, documents: list[StoredDocument], references: Mapping[str, Reference], vectors: Vectors | None
    ) -> None:
        batch, recipe = Batch(), self._recipe(vectors)
        for stored in documents:
            try:
                self._read(stored, references.get(stored.source), recipe, batch)
            except DocumentFault as fault:
                batch.failed[stored.source] = _text(fault)
            # A store or an embedder that does not answer concerns all documents: the step fails and is repeated.
            except CompozyError:
                raise
            except Exception as error:  # noqa: BLE001 - parsers of any content; the others are ingested all the same
                log.error("document.failed", exc_info=error, extra={"base": self._base.id, "source": stored.source})
                batch.failed[stored.source] = f"unexpected {type(error).__name__}; the log has the traceback"
            if batch.full:
                self._write(batch, vectors)
                batch = Batch()
        self._write(batch, vectors)

    def _read(self, stored: StoredDocument, reference: Reference | None, recipe: str, batch: Batch) -> None:
        if reference is None:
            raise DocumentFault(stored.source, "it was removed during the ingestion", "ingest again")
        if stored.recipe == recipe and reference.version and stored.version == reference.version:
            batch.unchanged[stored.source] = reference.version
            return
        document = read_document(self._base, reference)
        # A file that was only touched, or a document without a version: its content decides.
        if (stored.sha256, stored.recipe) == (document.sha256, recipe):
            batch.unchanged[stored.source] = reference.version
            return
        metadata = {"title": document.title} if document.title else {}
        key = (self._base.id, stored.source, document.sha256, recipe)
        passages = [
            Passage(_id(*key, str(chunk.ordinal)), stored.source, chunk.ordinal, chunk.text, chunk.place, metadata)
            for chunk in split(document, self._base.chunk_size, self._base.chunk_overlap)
        ]
        batch.contents.append(DocumentContent(stored.source, reference.version, document.sha256, recipe, passages))

    def _write(self, batch: Batch, vectors: Vectors | None) -> None:
        passages = [passage for content in batch.contents for passage in content.passages]
        ids = [passage.id for passage in passages]
        try:
            if vectors is not None and passages:
                # Before they are written, so that a kill in between leaves only vectors that are known as discarded.
                self._rows.announce(self._base.id, ids)
                # Embedded outside of the lock, because that takes long.
                for records in vectors.embedded([self._record(passage) for passage in passages]):
                    with self._library.writing[self._base.id]:
                        self._rows.require(self._base.id, self._run)
                        vectors.store.upsert(records)
            if batch.contents:
                self._rows.replace(self._base.id, self._run, batch.contents)
            if batch.unchanged or batch.failed:
                self._rows.settle(self._base.id, self._run, batch.unchanged, batch.failed)
            self._count(batch)
        except SupersededError:
            self._discard(ids, vectors)
            raise

    def _count(self, batch: Batch) -> None:
        outcomes = {"ingested": batch.contents, "unchanged": batch.unchanged, "failed": batch.failed}
        for outcome, documents in outcomes.items():
            self._library.documents.add(self._base.id, outcome, count=len(documents))
        self._library.chunks.add(self._base.id, count=sum(len(content.passages) for content in batch.contents))

    def _discard(self, ids: list[str], vectors: Vectors | None) -> None:
        """Delete vectors of a base that another process deleted while they were written."""
        self._rows.announce(self._base.id, ids)
        # A newer ingestion may be writing the same ones; it deletes those that it does not need.
        if self._rows.base(self._base.id) is None:
            self._delete_discarded(vectors)

    def _record(self, passage: Passage) -> VectorRecord:
        about = {**passage.metadata, "base": self._base.id, "source": passage.source, "place": passage.place}
        return VectorRecord(passage.id, (), passage.text, about)

    def _delete_discarded(self, vectors: Vectors | None) -> None:
        with self._library.writing[self._base.id]:
            while discarded := self._rows.discarded(self._base.id):
                if vectors is not None:
                    vectors.store.delete(discarded)
                self._rows.forget_discarded(discarded)

    def _recipe(self, vectors: Vectors | None) -> str:
        embedder = "" if vectors is None else f"{vectors.embedder.identity}@{vectors.store_id}"
        return f"{RECIPE}/{self._base.chunk_size}/{self._base.chunk_overlap}/{embedder}"


def _id(*parts: str) -> str:
    """Return the id of a chunk: a UUID, which every vector store takes, derived from what the chunk is made of."""
    return str(uuid.UUID(bytes=sha256("\0".join(parts).encode(errors="surrogateescape")).digest()[:16]))


def _text(fault: DocumentFault) -> str:
    return f"{fault.reason}; fix: {fault.fix}"
