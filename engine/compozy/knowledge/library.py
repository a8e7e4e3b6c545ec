"""The knowledge bases of a project on the database and the vector stores that were provisioned for it."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from compozy.base.record import dataclass
from compozy.base.tally import Tally
from compozy.errors import CompozyError, DriverError, NotFoundError, UsageError
from compozy.knowledge.bases import EmbeddingModel, KnowledgeBase
from compozy.knowledge.embedder import Embedder, make_embedder
from compozy.store.knowledge_records import FAILED, Extent, StoredBase, StoredDocument
from compozy.store.knowledge_rows import KnowledgeRows
from compozy.store.knowledge_words import KnowledgeWords
from compozy.tools import Lookup
from compozy.vector.vector_store import VectorRecord, VectorStore

MOST_FAULTS = 20
BATCH = 128  # texts of one request to an embedder
LEXICAL = "lexical search alone"
_POLL_S = 0.05
Stores = Callable[[str], VectorStore]


class AnotherEmbedderError(UsageError):
    """A base whose vectors were made by another embedder, or are in another store, than the configuration names."""

    id = "knowledge.another-embedder"

    def __init__(self, base: str, present: str, declared: str) -> None:
        super().__init__(
            f'knowledge base "{base}" was ingested with {present}; the configuration names {declared}',
            hint=f"run compozy knowledge ingest {base} --rebuild, or compozy knowledge delete {base}",
        )


class NotIngestedError(UsageError):
    """A query of a base that was never ingested."""

    id = "knowledge.not-ingested"

    def __init__(self, base: str) -> None:
        super().__init__(f'knowledge base "{base}" was not ingested', hint=f"run compozy knowledge ingest {base}")


class BeingIngestedError(DriverError):
    """A query of a base whose first ingestion runs."""

    id = "knowledge.being-ingested"

    def __init__(self, base: str) -> None:
        super().__init__(
            f'knowledge base "{base}" is being ingested',
            hint=f"try again when it is ready; compozy knowledge show {base} shows the progress",
        )


class IngestionError(CompozyError):
    """An ingestion that failed, or, where documents must not fail, a document of it."""

    id = "knowledge.ingestion"
    exit_code = 5

    def __init__(self, base: str, reason: str) -> None:
        super().__init__(f'ingestion of "{base}" failed: {reason}', hint=f"see compozy knowledge show {base}")


@dataclass(frozen=True, slots=True)
class Vectors:
    """The embedder of a base and the store that holds its vectors; `store_id` is the store's in the configuration."""

    embedder: Embedder
    store_id: str
    store: VectorStore

    def embedded(self, records: Sequence[VectorRecord]) -> Iterator[list[VectorRecord]]:
        """Yield the records with their vectors, part by part; a text whose vector has no direction is left out."""
        for first in range(0, len(records), BATCH):
            part = records[first : first + BATCH]
            made = zip(part, self.embedder.embed([record.text for record in part]), strict=True)
            yield [replace(record, vector=vector) for record, vector in made if any(vector)]


@dataclass(frozen=True, slots=True)
class BaseState:
    """A declared base, its last ingestion (None before the first one), how much it holds, and its faults."""

    base: KnowledgeBase
    stored: StoredBase | None
    extent: Extent
    failures: Sequence[StoredDocument] = ()


class Library:
    """The declared bases by id; `stores` returns a vector store by its id. Safe to use from several threads.

    It counts, since its start, `queries` and `chunks` by base, `documents` by base and outcome.
    """

    def __init__(
        self, bases: Mapping[str, KnowledgeBase], rows: KnowledgeRows, words: KnowledgeWords, stores: Stores,
        embedder_of: Callable[[EmbeddingModel], Embedder] = make_embedder,
    ) -> None:  # fmt: skip
        self.bases = bases
        self.rows = rows
        self.words = words
        # Bases that hold nothing before the end of the ingestion that the start began; queries wait for it.
        self.awaited: set[str] = set()
        self._stores = stores
        self._embedder_of = embedder_of
        self._embedders: dict[str, Embedder] = {}
        self._lock = threading.Lock()
        self.queries, self.documents, self.chunks = Tally(), Tally(), Tally()
        # Of each base: held for a deletion, and for each write of an ingestion together with the check that the
        # ingestion is still the one of the base.
        self.writing: Mapping[str, threading.Lock] = defaultdict(threading.Lock)

    def close(self) -> None:
        """Close the embedders; idempotent."""
        with self._lock:
            embedders, self._embedders = self._embedders, {}
        for embedder in embedders.values():
            embedder.close()

    def base(self, base: str) -> KnowledgeBase:
        """Return a declared base.

        Raises:
            NotFoundError: the configuration declares no base of this id.
        """
        if base not in self.bases:
            declared = ", ".join(self.bases) or "none"
            raise NotFoundError("knowledge base", base, hint=f"declare it under knowledge.bases; declared: {declared}")
        return self.bases[base]

    def vectors(self, base: KnowledgeBase) -> Vectors | None:
        """Return what makes and holds the vectors of a base; None where it has no embedder or no store."""
        if base.embedder is None or base.store is None:
            return None
        # An embedder holds weights or connections: two threads that make one each would leave one unclosed.
        with self._lock:
            if base.embedder.id not in self._embedders:
                self._embedders[base.embedder.id] = self._embedder_of(base.embedder)
            embedder = self._embedders[base.embedder.id]
        return Vectors(embedder, base.store, self._stores(base.store))

    def require_same(self, base: KnowledgeBase, stored: StoredBase | None, vectors: Vectors | None) -> None:
        """Refuse a base that was ingested with another embedder or another store.

        Raises:
            AnotherEmbedderError: it was.
        """
        declared = ("", "") if vectors is None else (vectors.embedder.identity, vectors.store_id)
        if stored is not None and (stored.embedder, stored.store) != declared:
            raise AnotherEmbedderError(base.id, _named(stored.embedder, stored.store), _named(*declared))

    def require_ingestible(self, base_id: str, *, rebuild: bool) -> None:
        """Refuse to ingest what `Ingestion.begin` would refuse.

        Raises:
            NotFoundError: the configuration declares no base of this id.
            AnotherEmbedderError: it was ingested with another embedder, and is not to be rebuilt.
        """
        base = self.base(base_id)
        if not rebuild:
            self.require_same(base, self.rows.base(base_id), self.vectors(base))

    async def first_ingestion(self, base_id: str, within_s: float) -> None:
        """Wait while the ingestion that a start began fills an empty base.

        Raises:
            BeingIngestedError: it has not ended in time.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while base_id in self.awaited:
            if loop.time() >= until:
                raise BeingIngestedError(base_id)
            await asyncio.sleep(_POLL_S)

    def states(self) -> list[BaseState]:
        """Return the declared bases in their order."""
        stored = self.rows.bases()
        return [BaseState(base, stored.get(base.id), self.rows.extent(base.id)) for base in self.bases.values()]

    def state(self, base_id: str) -> BaseState:
        """Return a declared base with its first `MOST_FAULTS` faults.

        Raises:
            NotFoundError: the configuration declares no base of this id.
        """
        base = self.base(base_id)
        failures = self.rows.documents(base_id, FAILED, MOST_FAULTS)
        return BaseState(base, self.rows.base(base_id), self.rows.extent(base_id), failures)

    def delete(self, base_id: str) -> int:
        """Delete the documents of a base and their vectors; return how many documents there were.

        A running ingestion of the base ends with SupersededError at its next write.

        Raises:
            NotFoundError: the configuration declares no base of this id.
        """
        base = self.base(base_id)
        with self.writing[base_id]:
            count = self.rows.extent(base_id).documents
            # Rows first: queries find nothing from now on, and if the store does not answer, its vectors are known as
            # discarded.
            self.rows.delete(base_id)
            if base.store is not None:
                self._stores(base.store).delete(where={"base": base_id})
            while discarded := self.rows.discarded(base_id):
                self.rows.forget_discarded(discarded)
        return count


def make_library(database: Any, bases: Mapping[str, KnowledgeBase], components: Lookup) -> Library:
    """Return the library of a peewee database; `components` returns the handle of a component by its name."""
    rows, words = KnowledgeRows(database), KnowledgeWords(database)
    return Library(bases, rows, words, lambda store: components(f"vector_store[{store}]"))


def _named(embedder: str, store: str) -> str:
    return f'{embedder} in the store "{store}"' if embedder else LEXICAL
