"""Query a base: vectors and words are searched apart and fused by their ranks.

Reciprocal rank fusion (Cormack, Clarke and Büttcher 2009): a result gets 1 / (k + rank) from each list that it is in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from operator import mul

from compozy.base.record import dataclass
from compozy.errors import UsageError
from compozy.knowledge.bases import KnowledgeBase
from compozy.knowledge.library import Library, NotIngestedError, Vectors
from compozy.store.connected import storable
from compozy.store.knowledge_records import Passage
from compozy.store.knowledge_words import words_of
from compozy.vector.metadata_filter import Condition, accepted

# The constant of the paper, which dampens the advantage of the first ranks.
RANK_CONSTANT = 60
TOP_K, MOST_RESULTS = 5, 100
_CANDIDATES = 50
_LONGEST_QUERY = 10_000


@dataclass(frozen=True, slots=True)
class Query:
    """A query: at most `top_k` passages whose score is at least `min_score` and whose metadata match."""

    text: str
    top_k: int = TOP_K
    min_score: float | None = None
    where: Mapping[str, Condition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            UsageError: the text is empty, too long or not Unicode, or `top_k` is out of range.
            VectorError: a filter compares with something else than texts, numbers, booleans and null.
        """
        if not self.text.strip() or len(self.text) > _LONGEST_QUERY:
            raise UsageError(f"the query must have 1 to {_LONGEST_QUERY} characters")
        # Tokenizers refuse the one, PostgreSQL the other.
        if not storable(self.text):
            raise UsageError("the query holds half of a character (a lone surrogate) or a zero byte")
        if not 1 <= self.top_k <= MOST_RESULTS:
            raise UsageError(f"top_k must be 1 to {MOST_RESULTS}, not {self.top_k}")
        for condition in self.where.values():
            accepted(condition)


@dataclass(frozen=True, slots=True)
class Result:
    """A passage; `score` is the cosine similarity to the query, or the share of its words in a base without vectors."""

    text: str
    score: float
    source: str
    place: str
    metadata: Mapping[str, object]


def search(library: Library, base_id: str, query: Query) -> list[Result]:
    """Return the passages of a base that answer a query, the best first.

    Raises:
        NotFoundError: the configuration declares no base of this id.
        NotIngestedError: it was never ingested.
        AnotherEmbedderError: it was ingested with another embedder than the configuration names.
        DriverError: the database, the vector store or the embedder does not answer.
    """
    base = library.base(base_id)
    # After the check, which bounds the labels by the configuration.
    with library.queries.timed(base_id):
        return _search(library, base, query)


def _search(library: Library, base: KnowledgeBase, query: Query) -> list[Result]:
    base_id, stored = base.id, library.rows.base(base.id)
    if stored is None:
        raise NotIngestedError(base_id)
    vectors = library.vectors(base)
    library.require_same(base, stored, vectors)
    # More than are shown, because fusion ranks what both searches found.
    words, candidates = words_of(query.text), max(_CANDIDATES, 4 * query.top_k)
    lexical = library.words.search(base_id, words, candidates, query.where)
    passages = {passage.id: passage for passage in lexical}
    if vectors is None:
        scores = library.words.shares(words, list(passages))
        ranked = list(passages)
    else:
        scores, ranked = _with_vectors(library, base_id, query, vectors, passages, candidates)
    enough = [name for name in ranked if query.min_score is None or scores.get(name, 0.0) >= query.min_score]
    return [_result(passages[name], scores.get(name, 0.0)) for name in enough[: query.top_k]]


def _with_vectors(
    library: Library, base_id: str, query: Query, vectors: Vectors, passages: dict[str, Passage], candidates: int
) -> tuple[dict[str, float], list[str]]:
    """Return cosine similarities and the fused order of the passages; those that vectors found are added."""
    lexical = list(passages)
    (asked,) = vectors.embedder.embed([query.text])
    # A text without known words may have a zero vector, which is near to nothing.
    found = vectors.store.search(asked, candidates, {**query.where, "base": base_id}) if any(asked) else []
    scores = {match.id: match.score for match in found}
    # A vector without a chunk is that of a document that is being replaced.
    passages |= library.rows.passages(base_id, [name for name in scores if name not in passages])
    near = [name for name in scores if name in passages]
    ranked = fuse(lexical, near)
    # Found by words alone; a lower limit of the score may need those behind the first ones.
    shown = ranked[: query.top_k] if query.min_score is None else ranked
    unknown = [name for name in shown if name not in scores]
    embedded = vectors.embedder.embed([passages[name].text for name in unknown]) if unknown else []
    scores.update({name: _cosine(asked, vector) for name, vector in zip(unknown, embedded, strict=True)})
    return scores, ranked


def fuse(*rankings: Sequence[str]) -> list[str]:
    """Return the names of all rankings by descending sum of reciprocal ranks.

    >>> fuse(["a", "b", "c"], ["c", "d"])
    ['c', 'a', 'b', 'd']
    """
    points: dict[str, float] = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, 1):
            points[name] = points.get(name, 0.0) + 1 / (RANK_CONSTANT + rank)
    return sorted(points, key=lambda name: -points[name])


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(map(mul, one, other)) / lengths if lengths else 0.0


def _result(passage: Passage, score: float) -> Result:
    return Result(passage.text, round(score, 6), passage.source, passage.place, passage.metadata)
