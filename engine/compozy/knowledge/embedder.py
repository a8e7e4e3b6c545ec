"""The protocol of embedders, which make vectors of texts, and the choice of one by a model's provider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from compozy.errors import DriverError
from compozy.knowledge.bases import EmbeddingModel


class EmbeddingError(DriverError):
    """An embedder that is not installed, cannot be reached, or answers otherwise than it must; never with a secret."""

    id = "knowledge.embedder"


class Embedder(Protocol):
    """Makes one vector of `dimension` numbers of each text; safe to use from several threads.

    `identity` names provider, model and dimension: vectors of different identities are not comparable. Both properties
    may ask the provider once. Every method and property raises EmbeddingError where the embedder does not answer.
    """

    @property
    def identity(self) -> str:
        """Return `provider/model/dimension`."""

    @property
    def dimension(self) -> int:
        """Return the length of the vectors."""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of `texts`, in their order."""

    def close(self) -> None:
        """Close connections; the embedder is not used afterwards."""


def make_embedder(model: EmbeddingModel) -> Embedder:
    """Return the embedder of a model.

    Raises:
        EmbeddingError: a package is missing, or the model has no address.
    """
    if model.provider == "wordllama":
        from compozy.knowledge.wordllama_embedder import WordllamaEmbedder

        return WordllamaEmbedder(model)
    from compozy.knowledge.openai_embedder import OpenAIEmbedder

    return OpenAIEmbedder(model)
