"""Vectors made in the process."""

from __future__ import annotations

import math
import sys

import pytest

from compozy.knowledge.bases import EmbeddingModel
from compozy.knowledge.embedder import Embedder, EmbeddingError, make_embedder

MODEL = EmbeddingModel("words", "wordllama")


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return make_embedder(MODEL)


def test_related_texts_have_near_vectors(embedder: Embedder) -> None:
    ferry, boat, tax = embedder.embed(["When does the ferry leave?", "departure of the boat", "income tax return"])
    assert sum(map(float.__mul__, ferry, boat)) > sum(map(float.__mul__, ferry, tax)) + 0.1


def test_identity_has_provider_model_and_dimension(embedder: Embedder) -> None:
    assert (embedder.dimension, embedder.identity) == (256, "wordllama/l2_supercat/256")


@pytest.mark.parametrize("text", ["", " ", "\n", "a", "日本語", "🏴", "x" * 20_000])
def test_every_text_has_a_vector_of_length_one(text: str, embedder: Embedder) -> None:
    (vector,) = embedder.embed([text])
    assert len(vector) == embedder.dimension
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)


def test_vector_does_not_depend_on_the_other_texts(embedder: Embedder) -> None:
    assert embedder.embed(["short", "long " * 500])[0] == pytest.approx(embedder.embed(["short"])[0], abs=1e-6)
    assert embedder.embed([]) == []


def test_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with pytest.raises(EmbeddingError, match=r"not installed\nfix: run: pip install 'compozy\[embeddings\]'"):
        make_embedder(MODEL).embed(["a"])
