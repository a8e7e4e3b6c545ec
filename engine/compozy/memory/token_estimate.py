"""Estimate the number of tokens of a text without a model's vocabulary.

The estimate depends on the text alone, so that limits mean the same in every process and for every model.
"""

from __future__ import annotations

# The role and the separators that chat formats add.
PER_MESSAGE = 4
_QUARTERS = {1: 1, 2: 2, 3: 4, 4: 8}  # of a token, by the bytes of a character in UTF-8


def count_tokens(text: str) -> int:
    """Return the estimated tokens: a quarter for an ASCII character, 1/2, 1 or 2 for one of 2, 3 or 4 bytes in UTF-8.

    >>> [count_tokens(text) for text in ("", "Hello, World!", "Grüße", "渡轮")]
    [0, 4, 2, 2]
    """
    # Nearly all texts; a sum over characters takes many times longer.
    if text.isascii():
        return -(-len(text) // 4)
    return -(-sum(_QUARTERS[len(char.encode())] for char in text) // 4)
