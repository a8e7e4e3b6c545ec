"""Suggest the known word that a misspelled one is most like.

The work is bounded: a comparison takes time in the product of both lengths, and texts and their known words may come
from a client.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MOST_SUGGESTIONS = 20
_LONGEST = 100
_FEW = 12
_SHORT = 4  # of three letters, one may differ
# Pairs of characters that are compared: about a quarter of a second.
_MOST_WORK = 500_000
# Less for each suggestion of one answer, which may have many.
_WORK_OF_MANY = 100_000


class Suggestions:
    """The suggestions of one answer: the first `MOST_SUGGESTIONS` words are compared, the others are not."""

    def __init__(self) -> None:
        self._left = MOST_SUGGESTIONS

    def closest(self, word: str, known: Iterable[str]) -> str | None:
        """Return the known word most like `word`, or None; see `closest`."""
        self._left -= 1
        return closest(word, known, _WORK_OF_MANY) if self._left >= 0 else None

    def did_you_mean(self, word: object, known: Iterable[object]) -> str:
        """Return the end of a message about an unknown word; see `did_you_mean`."""
        names = [str(name) for name in known]
        return _end_of_message(self.closest(str(word), names), names)


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """Return `; did you mean "x"?` or the known words if they are few, to be appended to a message.

    >>> did_you_mean("uniqe", ["unique", "first"])
    '; did you mean "unique"?'
    """
    names = [str(name) for name in known]
    return _end_of_message(closest(str(word), names), names)


def _end_of_message(meant: str | None, names: list[str]) -> str:
    if meant:
        return f'; did you mean "{meant}"?'
    return f"; known: {', '.join(names)}" if 0 < len(names) <= _FEW else ""


def closest(word: str, known: Iterable[str], most_work: int = _MOST_WORK) -> str | None:
    """Return the known word most like `word`, compared without case and with `_` like `__`, or None.

    Of many known words only the first ones are compared, so that the work stays below `most_work` pairs of characters.

    >>> closest("COMPOZY_SERVER_PORT", ["COMPOZY_SERVER__PORT", "COMPOZY_MODE"])
    'COMPOZY_SERVER__PORT'
    """
    if len(word) > _LONGEST:
        return None
    folded = {name.casefold().replace("__", "_"): name for name in known}
    needle = word.casefold().replace("__", "_")
    if needle in folded:
        return folded[needle]
    compared = {name: folded[name] for name in _affordable(needle, folded, most_work)}
    cutoff = 0.72 if len(needle) > _SHORT else 0.6
    from difflib import get_close_matches

    found = get_close_matches(needle, compared, n=1, cutoff=cutoff) or _same_leaf(needle, compared)
    return folded[found[0]] if found else None


def _affordable(needle: str, names: Iterable[str], most_work: int) -> Iterator[str]:
    work = 0
    for name in names:
        work += len(needle) * len(name) if len(name) <= _LONGEST else 0
        if work > most_work:
            return
        if len(name) <= _LONGEST:
            yield name


def _same_leaf(needle: str, folded: dict[str, str]) -> list[str]:
    from difflib import get_close_matches

    leaf = needle.rpartition(".")[2]
    leaves = {name.rpartition(".")[2]: name for name in folded}
    return [leaves[name] for name in get_close_matches(leaf, leaves, n=1, cutoff=0.8)] if "." in needle else []
