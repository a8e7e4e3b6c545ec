"""Measure how well a base answers questions of which the right passage is known.

Recall is the part of the questions whose passage is among the results; the mean reciprocal rank (MRR) also counts at
which rank it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from compozy.base.record import dataclass
from compozy.errors import UsageError


class Found(Protocol):
    """A result of a query."""

    @property
    def source(self) -> str:
        """The document."""

    @property
    def text(self) -> str:
        """The passage."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the document with its answer, and a text of the right passage; without one any passage is right."""

    question: str
    source: str
    passage: str = ""

    def rank(self, results: Sequence[Found]) -> int | None:
        """Return the rank of the right passage among results, from 1; None if it is not there.

        Blanks and line breaks are alike.
        """
        wanted = " ".join(self.passage.split())
        for rank, result in enumerate(results, 1):
            if result.source == self.source and wanted in " ".join(result.text.split()):
                return rank
        return None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The ranks of the right passages, in the order of the questions."""

    ranks: Sequence[int | None]

    @property
    def recall(self) -> float:
        """The part of the questions whose passage was found."""
        return sum(rank is not None for rank in self.ranks) / len(self.ranks)

    @property
    def mean_reciprocal_rank(self) -> float:
        """The mean of 1 / rank, where a passage that was not found counts 0."""
        return sum(1 / rank for rank in self.ranks if rank is not None) / len(self.ranks)


def read_questions(content: object, name: str) -> list[Question]:
    """Return the questions of a JSON document.

    Raises:
        UsageError: it is not a list of objects with `question`, `source` and, optionally, `passage`.
    """
    hint = '[{"question": "When does it leave?", "source": "guide/ferry.md", "passage": "at 06:40"}, ...]'
    if not isinstance(content, list) or not content:
        raise UsageError(f"{name} is not a list of questions", hint=hint)
    questions = []
    for number, item in enumerate(content, 1):
        values = item if isinstance(item, dict) else {}
        known = {"question", "source"} <= values.keys() <= {"question", "source", "passage"}
        if not known or not all(isinstance(value, str) for value in values.values()):
            raise UsageError(f"{name}: item {number} is not a question", hint=hint)
        questions.append(Question(**values))
    return questions
