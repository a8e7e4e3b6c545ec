from pathlib import Path

import numpy as np
from numpy.typing import NDArray

class WordLlamaInference:
    def embed(self, texts: list[str], norm: bool = False) -> NDArray[np.float32]: ...

class WordLlama:
    @staticmethod
    def load(config: str, cache_dir: Path, dim: int, disable_download: bool) -> WordLlamaInference: ...
