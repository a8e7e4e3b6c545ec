"""A vector store and an embedder in this process, with the protocols of real ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from compozy.knowledge.bases import KnowledgeBase, SourceSetting
from compozy.knowledge.library import Library, make_library
from compozy.tools import no_components
from compozy.vector.metadata_filter import Condition, matches
from compozy.vector.vector_store import VectorMatch, VectorRecord, unit_vector


class MemoryStore:
    """A vector store that searches exactly."""

    def __init__(self) -> None:
        self.records: dict[str, VectorRecord] = {}

    @property
    def dimension(self) -> int | None:
        """Length of the vectors."""
        return next((len(record.vector) for record in self.records.values()), None)

    def upsert(self, records: Sequence[VectorRecord]) -> None:
        """Write records."""
        for record in records:
            self.records[record.id] = replace(record, vector=unit_vector(record.vector, self.dimension))

    def delete(self, ids: Sequence[str] | None = None, where: Mapping[str, Condition] | None = None) -> int:
        """Delete records."""
        found = [name for name in self._matching(where) if ids is None or name in ids]
        for name in found:
            del self.records[name]
        return len(found)

    def search(
        self,
        vector: Sequence[float],
        k: int = 10,
        where: Mapping[str, Condition] | None = None,
        min_score: float | None = None,
    ) -> list[VectorMatch]:
        """Return the nearest records."""
        asked = unit_vector(vector, self.dimension)
        found = [
            VectorMatch(name, sum(a * b for a, b in zip(asked, record.vector, strict=True)), record.text)
            for name, record in self._matching(where).items()
        ]
        found = [match for match in found if min_score is None or match.score >= min_score]
        return sorted(found, key=lambda match: (-match.score, match.id))[:k]

    def count(self, where: Mapping[str, Condition] | None = None) -> int:
        """Return how many records match."""
        return len(self._matching(where))

    def export(self) -> Iterator[VectorRecord]:
        """Yield every record."""
        yield from sorted(self.records.values(), key=lambda record: record.id)

    def _matching(self, where: Mapping[str, Condition] | None) -> dict[str, VectorRecord]:
        return {name: record for name, record in self.records.items() if matches(record.metadata, where or {})}


class LetterEmbedder:
    """An embedder that counts letters: texts of the same letters are near to each other."""

    def __init__(self, identity: str = "letters/a-z/26") -> None:
        self.identity = identity
        self.dimension = 26
        self.texts = 0

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the counts of letters."""
        self.texts += len(texts)
        return [[float(text.lower().count(chr(97 + letter))) for letter in range(26)] for text in texts]

    def close(self) -> None:
        """Do nothing."""


def words_library(base: str, root: Path, database: Any) -> Library:
    """Return a library with one base, which has the files `*/*.md` of a directory and no vectors."""
    sources = (SourceSetting("markdown_glob", "*/*.md"),)
    return make_library(database, {base: KnowledgeBase(base, root, sources)}, no_components)
