"""Read and write the rows of knowledge bases.

The chunks of a document are replaced in one transaction, so that a query finds the old ones or the new ones. A vector
is noted as discarded before it is written, until the transaction of its chunk; so an ingestion that was killed leaves
no vector that the next one does not know.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import peewee

from compozy.store.connected import Connected, SqlTable, storable
from compozy.store.knowledge_records import (
    ADDED,
    FAILED,
    INGESTING,
    PENDING,
    UNCHANGED,
    UPDATED,
    DocumentContent,
    Extent,
    Passage,
    StoredBase,
    StoredDocument,
)
from compozy.store.records import timestamp

_BASE = ("id", "embedder", "store", "run", "status", "error", "removed", "started_at", "finished_at")
_DOCUMENT = ("base", "source", "version", "run", "state", "error", "sha256", "recipe")
_CHUNK = ("number", "id", "base", "source", "ordinal", "text", "place", "metadata")
_PASSAGE = ("id", "source", "ordinal", "text", "place", "metadata")
# Rows of one statement: SQLite takes 32,766 values, and a row has up to eight.
_MOST = 500


Item = TypeVar("Item")


class SupersededError(Exception):
    """A write of an ingestion that is no longer that of its base: the base was deleted, or ingested anew."""


class KnowledgeRows(Connected):
    """The rows of all bases of one database."""

    def __init__(self, database: peewee.Database) -> None:
        super().__init__(database)
        self._bases = SqlTable("knowledge_bases", _BASE, "id", _database=database)
        self._documents = SqlTable("knowledge_documents", _DOCUMENT, _database=database)
        self._chunks = SqlTable("knowledge_chunks", _CHUNK, "number", _database=database)
        self._discards = SqlTable("knowledge_discards", ("id", "base"), "id", _database=database)

    def base(self, base: str) -> StoredBase | None:
        """Return a base, None if it was never ingested."""
        return self.bases().get(base)

    def bases(self) -> Mapping[str, StoredBase]:
        """Return every base by its id."""
        return self._run(lambda: {row["id"]: StoredBase(**row) for row in self._bases.select().dicts()})

    def extent(self, base: str) -> Extent:
        """Return how much a base holds, and how far its ingestion is."""
        rows, chunks = self._documents, self._chunks.select(self._chunks.id).where(self._chunks.base == base)
        filled = rows.select(rows.source).where((rows.base == base) & (rows.sha256 != ""))
        states = rows.select(rows.state, peewee.fn.COUNT(rows.source).alias("count")).where(rows.base == base)
        states = states.group_by(rows.state)

        def read() -> Extent:
            by_state = {row["state"]: row["count"] for row in states.dicts()}
            return Extent(int(filled.count()), by_state, int(chunks.count()))

        return self._run(read)

    def begin(self, base: StoredBase, sources: Sequence[str], faults: Mapping[str, str]) -> None:
        """Begin an ingestion, in which `sources` are pending, `faults` have failed and all other documents are removed.

        One that begins a second time reads everything again.
        """
        self._atomic(lambda: self._begin(base, sources, faults))

    def _begin(self, base: StoredBase, sources: Sequence[str], faults: Mapping[str, str]) -> None:
        row = {name: getattr(base, name) for name in _BASE}
        changing = [name for name in _BASE if name != "id"]
        self._bases.insert(row).on_conflict(conflict_target=["id"], preserve=changing).execute()
        new = {"base": base.id, "run": base.run, "version": "", "sha256": "", "recipe": ""}
        rows = [{**new, "source": source, "state": PENDING, "error": None} for source in sources]
        rows += [{**new, "source": source, "state": FAILED, "error": error} for source, error in faults.items()]
        for part in _parts(rows):
            # A known document keeps version, hash and recipe, by which unchanged content is recognized.
            self._documents.insert(part).on_conflict(
                conflict_target=["base", "source"], preserve=["run", "state", "error"]
            ).execute()

    def documents(self, base: str, state: str, limit: int) -> list[StoredDocument]:
        """Return the first documents in a state, ordered by source."""
        rows = self._documents
        query = rows.select(*(getattr(rows, name) for name in StoredDocument.__slots__))
        query = query.where((rows.base == base) & (rows.state == state)).order_by(rows.source).limit(limit)
        return self._run(lambda: [StoredDocument(**row) for row in query.dicts()])

    def announce(self, base: str, ids: Sequence[str]) -> None:
        """Note vectors that are about to be written."""
        if ids:
            self._run(lambda: self._discard(base, ids))

    def replace(self, base: str, run: str, contents: Sequence[DocumentContent]) -> None:
        """Replace the chunks of documents, whose vectors are written; the vectors of the old ones are discarded.

        Raises:
            SupersededError: `run` is not the ingestion of the base any more.
        """
        self._atomic(lambda: self._replace(base, run, contents))

    def _replace(self, base: str, run: str, contents: Sequence[DocumentContent]) -> None:
        self._require(base, run)
        rows = self._documents
        for content in contents:
            new = {passage.id for passage in content.passages}
            old = self._ids(base, [content.source])
            self._delete([name for name in old if name not in new], base)
            for part in _parts([one for one in content.passages if one.id not in old]):
                self._chunks.insert([_chunk(base, passage) for passage in part]).execute()
            # These vectors exist, and their chunks do from this commit on: they no longer count as discarded.
            for names in _parts([*new]):
                self._discards.delete().where(self._discards.id.in_(names)).execute()
            # The hash is empty until the first successful ingestion of a document.
            known = peewee.Case(None, [(rows.sha256 == "", ADDED)], UPDATED)
            made = {getattr(rows, name): getattr(content, name) for name in ("version", "sha256", "recipe")}
            own = (rows.base == base) & (rows.source == content.source)
            rows.update({rows.state: known, rows.error: None, **made}).where(own).execute()

    def settle(self, base: str, run: str, unchanged: Mapping[str, str], failed: Mapping[str, str]) -> None:
        """Note the documents, by source, that did not change (with their version) or failed (with the reason).

        Raises:
            SupersededError: `run` is not the ingestion of the base any more.
        """

        def write() -> None:
            self._require(base, run)
            rows = self._documents
            for source, version in unchanged.items():
                values = {rows.state: UNCHANGED, rows.error: None, rows.version: version}
                rows.update(values).where((rows.base == base) & (rows.source == source)).execute()
            for source, error in failed.items():
                values = {rows.state: FAILED, rows.error: error}
                rows.update(values).where((rows.base == base) & (rows.source == source)).execute()

        self._atomic(write)

    def require(self, base: str, run: str) -> None:
        """Refuse to write for an ingestion that is not that of its base any more.

        Raises:
            SupersededError: `run` is not the ingestion of the base any more.
        """
        self._atomic(lambda: self._require(base, run))

    def sweep(self, base: str, run: str) -> int:
        """Remove the documents that the ingestion `run` did not find; return how many.

        Raises:
            SupersededError: `run` is not the ingestion of the base any more.
        """

        def remove() -> int:
            self._require(base, run)
            rows = self._documents
            absent = (rows.base == base) & (rows.run != run)
            sources = [row["source"] for row in rows.select(rows.source).where(absent).dicts()]
            for part in _parts(sources):
                self._delete(self._ids(base, part), base)
            removed = int(rows.delete().where(absent).execute())
            # Added, because an attempt that was killed may have removed them before.
            count = {self._bases.removed: self._bases.removed + removed}
            self._bases.update(count).where(self._bases.id == base).execute()
            return removed

        return self._atomic(remove)

    def finish(self, base: str, run: str, status: str, error: str | None = None) -> None:
        """Note how the ingestion `run` ended, unless it is not that of the base any more."""
        rows = self._bases
        values = {rows.status: status, rows.error: error, rows.finished_at: timestamp()}
        own = (rows.id == base) & (rows.run == run) & (rows.status == INGESTING)
        self._run(rows.update(values).where(own).execute)

    def delete(self, base: str) -> bool:
        """Delete a base, of which only the discarded vectors stay; return False for an unknown one."""

        def remove() -> bool:
            # First, because this waits for an ingestion that commits chunks, which are then found below.
            known = bool(self._bases.delete().where(self._bases.id == base).execute())
            for part in _parts(self._ids(base)):
                self._delete(part, base)
            self._documents.delete().where(self._documents.base == base).execute()
            return known

        return self._atomic(remove)

    def forget_recipes(self, base: str) -> None:
        """Mark every document of a base for a new ingestion; its chunks stay until then."""
        rows = self._documents
        self._run(rows.update({rows.recipe: ""}).where(rows.base == base).execute)

    def discarded(self, base: str, limit: int = _MOST) -> list[str]:
        """Return the first discarded vectors; those of chunks that exist were announced by an attempt that ended."""
        rows, chunks = self._discards, self._chunks
        alive = peewee.fn.EXISTS(chunks.select(chunks.id).where(chunks.id == rows.id))
        query = rows.select(rows.id).where((rows.base == base) & ~alive).limit(limit)
        return self._run(lambda: [row["id"] for row in query.dicts()])

    def forget_discarded(self, ids: Sequence[str]) -> None:
        """Forget discarded vectors, which are deleted."""
        self._run(self._discards.delete().where(self._discards.id.in_(list(ids))).execute)

    def passages(self, base: str, ids: Sequence[str]) -> dict[str, Passage]:
        """Return those of the chunks that exist, by id."""
        rows = self._chunks
        columns = [getattr(rows, name) for name in _PASSAGE]
        query = rows.select(*columns).where((rows.base == base) & rows.id.in_(list(ids)))
        return self._run(lambda: {row["id"]: passage_of(row) for row in query.dicts()})

    def _require(self, base: str, run: str) -> None:
        rows = self._bases
        query = rows.select(rows.id).where((rows.id == base) & (rows.run == run) & (rows.status == INGESTING))
        if not isinstance(self._database, peewee.SqliteDatabase):
            query = query.for_update()
        if not list(query.dicts()):
            raise SupersededError(base)

    def _ids(self, base: str, sources: Sequence[str] | None = None) -> list[str]:
        rows = self._chunks
        query = rows.select(rows.id).where(rows.base == base)
        if sources is not None:
            query = query.where(rows.source.in_(list(sources)))
        return [row["id"] for row in query.dicts()]

    def _delete(self, ids: Sequence[str], base: str) -> None:
        for part in _parts(ids):
            self._discard(base, part)
            self._chunks.delete().where(self._chunks.id.in_(part)).execute()

    def _discard(self, base: str, ids: Sequence[str]) -> None:
        for part in _parts(ids):
            rows = [{"id": name, "base": base} for name in part]
            self._discards.insert(rows).on_conflict_ignore().execute()


def _parts(items: Iterable[Item]) -> Iterator[list[Item]]:
    remaining = iter(items)
    while part := list(islice(remaining, _MOST)):
        yield part


def _chunk(base: str, passage: Passage) -> dict[str, object]:
    text = passage.text if storable(passage.text) else passage.text.encode(errors="replace").decode().replace("\0", " ")
    values = {name: getattr(passage, name) for name in _PASSAGE}
    return {**values, "base": base, "text": text, "metadata": json.dumps(dict(passage.metadata))}


def passage_of(row: Mapping[str, Any]) -> Passage:
    """Return a row of chunks as a record."""
    return Passage(**{**row, "metadata": json.loads(row["metadata"])})
