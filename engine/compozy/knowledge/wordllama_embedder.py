"""Make vectors in this process with the weights of the package `wordllama`; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from compozy.base.late_import import LATE_IMPORT
from compozy.knowledge.bases import EmbeddingModel
from compozy.knowledge.embedder import EmbeddingError

if TYPE_CHECKING:
    from wordllama import WordLlamaInference

DIMENSION = 256
_MODEL = "l2_supercat"


class WordllamaEmbedder:
    """The embedder of the package's own model; the weights are loaded when it is first used."""

    def __init__(self, model: EmbeddingModel) -> None:
        self.identity = f"wordllama/{_MODEL}/{DIMENSION}"
        self.dimension = DIMENSION

    @cached_property
    def _model(self) -> WordLlamaInference:
        try:
            with LATE_IMPORT:
                import wordllama
        except ImportError as error:
            raise EmbeddingError(
                "the embedder wordllama is not installed", hint="run: pip install 'compozy[embeddings]'"
            ) from error
        folder = Path(wordllama.__file__).parent
        # The package's folder as cache directory: by default the library looks elsewhere and fails without a network.
        return wordllama.WordLlama.load(_MODEL, cache_dir=folder, dim=DIMENSION, disable_download=True)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of `texts`, each of length 1; an empty text has that of a blank, because it has none."""
        vectors: list[list[float]] = self._model.embed([text or " " for text in texts], norm=True).tolist()
        return vectors

    def close(self) -> None:
        """Do nothing: no connection is open."""
