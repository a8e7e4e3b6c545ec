"""Collect what is wrong with rule files, so that all of it is reported at once.

What comes in: places and reasons. What goes out: one `RuleTableError` with every problem in the order
of the files. It must not decide what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from compozy.base.document import Node
from compozy.base.place import Place
from compozy.errors import RuleTableError


class Problems:
    """A growing list of `place: reason`."""

    def __init__(self) -> None:
        self._found: list[tuple[Place, str]] = []

    def add(self, place: Place, reason: str) -> None:
        """Note one problem."""
        self._found.append((place, reason))

    def require(self, holds: object, place: Place, reason: str) -> bool:
        """Note a problem unless something holds; tell whether it does."""
        if not holds:
            self.add(place, reason)
        return bool(holds)

    def unknown_keys(self, node: Node, known: Iterable[str], what: str) -> None:
        """Note every key of a mapping that is not known."""
        names = list(known)
        for key, place in (node.keys or {}).items():
            if key not in names:
                self.add(place, f'unknown key "{key}" in {what}{did_you_mean(key, names)}')

    def raise_if_any(self) -> None:
        """Report everything noted.

        Raises:
            RuleTableError: something was noted.
        """
        if self._found:
            found = sorted(dict.fromkeys(self._found))
            raise RuleTableError([f"{place}: {reason}" for place, reason in found])


def did_you_mean(word: object, names: Iterable[object]) -> str:
    """Return `; did you mean "x"?` or the list of names, ready to be appended.

    >>> did_you_mean("uniqe", ["unique", "first"])
    '; did you mean "unique"?'
    """
    known = [str(name) for name in names]
    close = get_close_matches(str(word), known, n=1)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; known: {', '.join(known)}" if 0 < len(known) <= 12 else ""
