"""Expand `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `$$` in the texts of a configuration file.

What comes in: a text and a lookup. What goes out: the expanded text with the names that were used.
Syntax: POSIX parameter expansion (https://pubs.opengroup.org/onlinepubs/9699919799/, 2.6.2), the three forms above.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

_PATTERN = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?::(-|\?)([^}]*))?\}|(\{[^}]*\}?))")


@dataclass(frozen=True, slots=True)
class Expansion:
    """The expanded `text`, which may be a secret, and the `variables` in it, in order of appearance."""

    text: str = field(repr=False)
    variables: tuple[str, ...]


class UnsetVariable(Exception):
    """A variable that is not set; `message` is what `${VAR:?message}` says, or empty."""

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
        ValueError: braces that hold no variable.
    """
    used: list[str] = []

    def replacement(found: re.Match[str]) -> str:
        name, operator, rest, malformed = found.groups()
        if malformed is not None:
            raise ValueError("expected ${VAR}, ${VAR:-default} or ${VAR:?message}, and $$ for a dollar sign")
        if name is None:
            return "$"
        used.append(name)
        value = lookup(name)
        if value or (value is not None and operator is None):
            return value
        if operator == "-":
            return rest or ""
        raise UnsetVariable(name, (rest or "") if operator == "?" else "")

    return Expansion(_PATTERN.sub(replacement, text), tuple(used))
