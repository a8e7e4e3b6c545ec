"""Find the word that somebody meant.

What comes in: a word and the known ones. What goes out: the nearest known word, or None.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# Nobody misspells that much, and comparing takes time in the square of the length.
_LONGEST = 100


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most like `word`, compared without case and with `_` like `__`.

    >>> closest("COMPOZY_SERVER_PORT", ["COMPOZY_SERVER__PORT", "COMPOZY_MODE"])
    'COMPOZY_SERVER__PORT'
    """
    if len(word) > _LONGEST:
        return None
    folded = {name.casefold().replace("__", "_"): name for name in known}
    needle = word.casefold().replace("__", "_")
    if needle in folded:
        return folded[needle]
    found = get_close_matches(needle, folded, n=1, cutoff=0.72) or _same_leaf(needle, folded)
    return folded[found[0]] if found else None


def _same_leaf(needle: str, folded: dict[str, str]) -> list[str]:
    leaf = needle.rpartition(".")[2]
    leaves = {name.rpartition(".")[2]: name for name in folded}
    return [leaves[name] for name in get_close_matches(leaf, leaves, n=1, cutoff=0.8)] if "." in needle else []
