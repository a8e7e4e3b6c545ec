"""Search the chunks of knowledge bases by words, ranked by BM25 on SQLite and by `ts_rank` on PostgreSQL.

A query is the text of a user: its words are taken out and quoted, so that no text is a syntax error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import peewee

from compozy.store.connected import Connected
from compozy.store.knowledge_records import Passage
from compozy.store.knowledge_rows import passage_of
from compozy.vector.metadata_filter import Condition, matches

MOST_WORDS = 32
_LONGEST = 100
_WORD = re.compile(r"[^\W_]+")
# Words that nearly every English text has; they would outweigh the others where no frequency is taken into account.
_FREQUENT = re.compile(
    "a|an|and|are|as|at|be|been|but|by|can|could|did|do|does|for|from|had|has|have|how|i|if|in|into|is|it|its|me|my|no|"
    "not|of|on|or|our|should|so|that|the|their|them|then|there|these|they|this|those|to|was|we|were|what|when|where|"
    "which|who|why|will|with|would|you|your"
)
_COLUMNS = "c.id, c.source, c.ordinal, c.text, c.place, c.metadata"
_SQLITE = (
    f"SELECT {_COLUMNS} FROM knowledge_words JOIN knowledge_chunks c ON c.number = knowledge_words.rowid "
    "WHERE knowledge_words MATCH ? AND c.base = ? ORDER BY bm25(knowledge_words), c.id"
)
_POSTGRES = (
    f"SELECT {_COLUMNS} FROM knowledge_chunks c, to_tsquery('english', %s) q "
    "WHERE c.words @@ q AND c.base = %s ORDER BY ts_rank(c.words, q, 1) DESC, c.id"
)
_SQLITE_SHARE = (
    "SELECT c.id FROM knowledge_words JOIN knowledge_chunks c ON c.number = knowledge_words.rowid "
    "WHERE knowledge_words MATCH ? AND c.id IN ({marks})"
)
_POSTGRES_SHARE = "SELECT c.id FROM knowledge_chunks c WHERE c.words @@ to_tsquery('english', %s) AND c.id IN ({marks})"


def words_of(text: str) -> list[str]:
    """Return the distinct words of a query, at most `MOST_WORDS`; frequent ones only if all are frequent.

    >>> words_of('When does the "ferry" -- leave?')
    ['ferry', 'leave']
    """
    found = dict.fromkeys(word.lower() for word in _WORD.findall(text) if len(word) <= _LONGEST)
    rare = [word for word in found if not _FREQUENT.fullmatch(word)]
    return (rare or list(found))[:MOST_WORDS]


class KnowledgeWords(Connected):
    """The index of the words of all chunks of one database."""

    def __init__(self, database: peewee.Database) -> None:
        super().__init__(database)
        self._is_sqlite = isinstance(database, peewee.SqliteDatabase)

    def search(
        self, base: str, words: Sequence[str], limit: int, where: Mapping[str, Condition] | None = None
    ) -> list[Passage]:
        """Return at most `limit` chunks with any of the words that match `where`, the best first."""
        if not words:
            return []
        # Rows are filtered in Python, so that a limit in SQL could cut off rows that match the filter.
        sql = (_SQLITE if self._is_sqlite else _POSTGRES) + ("" if where else f" LIMIT {int(limit)}")

        def found() -> list[Passage]:
            passages = self._passages(sql, (self._query(words), base))
            if where:
                passages = (one for one in passages if matches({**one.metadata, "source": one.source}, where))
            return list(islice(passages, limit))

        return self._run(found)

    def shares(self, words: Sequence[str], ids: Sequence[str]) -> dict[str, float]:
        """Return which part of the words each chunk has, above 0 and at most 1; chunks without any are absent."""
        sql = _SQLITE_SHARE if self._is_sqlite else _POSTGRES_SHARE
        sql = sql.format(marks=", ".join([self._database.param] * len(ids)))
        counts: dict[str, int] = {}

        def count() -> None:
            for word in words:
                for (name,) in self._database.execute_sql(sql, (self._query([word]), *ids)).fetchall():
                    counts[name] = counts.get(name, 0) + 1

        if ids:
            self._run(count)
        return {name: number / len(words) for name, number in counts.items()}

    def _passages(self, sql: str, values: Sequence[object]) -> Iterator[Passage]:
        for row in self._database.execute_sql(sql, values):
            yield passage_of(dict(zip(("id", "source", "ordinal", "text", "place", "metadata"), row, strict=True)))

    def _query(self, words: Sequence[str]) -> str:
        """Return a query for any of the words; they are letters and digits only."""
        quote, either = ('"', " OR ") if self._is_sqlite else ("'", " | ")
        return either.join(f"{quote}{word}{quote}" for word in words)
