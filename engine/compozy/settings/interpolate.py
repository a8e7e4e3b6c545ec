"""Expand `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `$$` in the texts of a configuration file.

Syntax: POSIX parameter expansion (https://pubs.opengroup.org/onlinepubs/9699919799/, 2.6.2), the three forms above;
a default may hold further variables, which are looked up when it is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import field

from compozy.base.record import dataclass

_DOLLAR = re.compile(r"\$\$|\$\{")
_OPENING = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::([-?])|(?=\}))")
_MARK = re.compile(r"\$?\$\{|\$\$|\}")
_DEEP = 20
_EXPECTED = "expected ${VAR}, ${VAR:-default} or ${VAR:?message}, and $$ for a dollar sign"


@dataclass(frozen=True, slots=True)
class Expansion:
    """The expanded `text`, which may be a secret, and the `variables` in it, in order of appearance."""

    text: str = field(repr=False)
    variables: tuple[str, ...]


class UnsetVariable(Exception):
    """A variable that is not set; `message` is that of `${VAR:?message}`, or empty."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name)
        self.name = name
        self.message = message


def expand(text: str, lookup: Callable[[str], str | None]) -> Expansion:
    """Expand `text`; an empty variable counts as unset for `:-` and `:?`.

    >>> expanded = expand("${A}-${B:-b}-$$", {"A": "a"}.get)
    >>> expanded.text, expanded.variables
    ('a-b-$', ('A', 'B'))

    Raises:
        UnsetVariable: a variable without default is not set.
        ValueError: braces that hold no variable, or are never closed.
    """
    expander = _Expander(lookup)
    return Expansion(expander.text(text, 0), tuple(expander.used))


class _Expander:
    def __init__(self, lookup: Callable[[str], str | None]) -> None:
        self.lookup = lookup
        self.used: list[str] = []

    def text(self, text: str, depth: int) -> str:
        """Return `text` expanded; `depth` is the number of defaults that it stands in."""
        if depth > _DEEP:
            raise ValueError(f"expected at most {_DEEP} defaults within each other")
        parts, at = [], 0
        while (found := _DOLLAR.search(text, at)) is not None:
            parts.append(text[at : found.start()])
            if found[0] == "$$":
                parts.append("$")
                at = found.end()
            else:
                value, at = self.variable(text, found.start(), depth)
                parts.append(value)
        return "".join((*parts, text[at:]))

    def variable(self, text: str, at: int, depth: int) -> tuple[str, int]:
        """Return what the variable at `at` stands for, and where it ends."""
        opening = _OPENING.match(text, at)
        if opening is None:
            raise ValueError(_EXPECTED)
        name, operator = opening.groups()
        end = _closing(text, opening.end())
        rest = text[opening.end() : end]
        self.used.append(name)
        value = self.lookup(name)
        if value or (value is not None and operator is None):
            return value, end + 1
        if operator == "-":
            return self.text(rest, depth + 1), end + 1
        raise UnsetVariable(name, rest if operator == "?" else "")


def _closing(text: str, at: int) -> int:
    """Return where the brace is that closes a variable; those of variables within it do not count, escaped or not."""
    depth = 0
    for found in _MARK.finditer(text, at):
        if found[0] == "}":
            if depth == 0:
                return found.start()
            depth -= 1
        elif found[0] != "$$":
            depth += 1
    raise ValueError(_EXPECTED)
