"""The best records of a search, in the order that every vector store promises."""

from __future__ import annotations

from collections.abc import Callable

from compozy.vector.vector_store import VectorMatch

# Engines compute in single precision and differ beyond these digits; rounded, equal vectors have equal scores.
_DIGITS = 6
_MORE = 4


def rounded(score: float) -> float:
    """Return a cosine similarity as users get it, in [-1, 1]."""
    return min(1.0, max(-1.0, round(score, _DIGITS)))


def best(fetch: Callable[[int], list[VectorMatch]], k: int, min_score: float | None = None) -> list[VectorMatch]:
    """Return the `k` best of what `fetch(limit)` returns, which are the `limit` best in any order of equal scores.

    While the first record that is left out has the score of the last one, more are fetched, so that ids decide.
    """
    limit, found = k + 1, list[VectorMatch]()
    while k > 0:
        found = sorted(fetch(limit), key=lambda match: (-match.score, match.id))
        if len(found) < limit or found[-1].score < found[k - 1].score:
            break
        limit *= _MORE
    return [match for match in found[: max(0, k)] if min_score is None or match.score >= min_score]
