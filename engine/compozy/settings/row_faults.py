"""Find the faults of a single row of the registry: a setting or a machine fact.

Reasons do not name the place of the row; the caller adds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compozy.base.suggest import did_you_mean
from compozy.settings.reference import is_reference

if TYPE_CHECKING:
    from compozy.settings.registry import Fact

TYPES = (
    "text", "choice", "integer", "number", "boolean", "duration", "size", "path", "url", "host", "listen_address",
    "name", "network", "pattern", "list", "map",
)  # fmt: skip
TEXTS = ("text", "path", "url", "host", "listen_address", "name", "network", "pattern")
PRESENCE = ("found", "missing")
NUMBERS = ("integer", "number", "duration", "size")
_ENVIRONMENT = re.compile(r"[A-Z][A-Z0-9_]*\Z")
_PATH = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\Z")
_FLAG = re.compile(r"--[a-z][a-z0-9-]*\Z")
_TAKEN_FLAGS = frozenset({"--config", "--cwd", "--set", "--rules", "--strict", "--format", "--help", "--timeout"})
_WORDS: Mapping[str, Sequence[str]] = {"checked": ("values", "rules"), "empty": ("unset", "value")}
# column -> the types that it belongs to, and what it is about
_ONLY_FOR: Mapping[str, tuple[Sequence[str], str]] = {
    "minimum": (NUMBERS, "is for numbers"),
    "maximum": (NUMBERS, "is for numbers"),
    "longest": ((*TEXTS, "list"), "is for texts"),
    "items": (("list", "map"), "are the fields of a list or map"),
    "of": (("list",), "is the type of the elements of a list"),
    "authenticated_by": (("listen_address",), "is for a listen_address"),
    "parts": (("url",), "are those of a url"),
    "ordered": (("choice",), "is for a choice"),
    "below": (("integer",), "is for an integer"),
    "inside": (("text",), "is for a text"),
}


def fact_faults(fact: Fact) -> Iterator[str]:
    """Yield what is wrong with a machine fact."""
    if bool(fact.probe) == bool(fact.binary):
        yield "needs `binary`, the name of a program, or else `probe`, a function of the rule pack"
    elif fact.probe and not is_reference(fact.probe):
        yield "`probe` must be module:function"
    elif fact.binary and (set(fact.values) != set(PRESENCE) or "/" in fact.binary):
        yield f"`binary` is a name without a slash, and its values are {', '.join(PRESENCE)}"


def setting_faults(plain: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the columns of a setting."""
    kind = plain["type"]
    if kind not in TYPES:
        yield f"unknown type {kind}{did_you_mean(kind, TYPES)}"
    if plain.get("of") and (plain["of"] not in TYPES or plain["of"] in ("choice", "list", "map") or plain.get("items")):
        yield "`of` is the type of scalars, in a list without `items`"
    if not _PATH.match(plain["path"]):
        yield "a path is lower-case words with dots between them"
    if (kind == "choice") != bool(plain.get("values")):
        yield "a choice, and nothing else, lists its `values`"
    if not _ENVIRONMENT.match(plain.get("env", "X")):
        yield f"{plain['env']} is not a valid variable name: use capitals, digits and _"
    flag = plain.get("flag", "--x")
    if not _FLAG.match(flag) or flag in _TAKEN_FLAGS:
        yield f"{flag} is taken" if flag in _TAKEN_FLAGS else f"{flag} is not a valid flag: use -- and lower-case words"
    yield from word_faults(plain.get("values", ()), plain.get("also", {}), plain.get("values", ()))
    yield from _shown_faults(plain)
    if plain.get("shares") and not plain.get("same_as"):
        yield "`shares` needs `same_as`, the setting to share with"
    yield from _column_faults(plain)


def _column_faults(plain: Mapping[str, object]) -> Iterator[str]:
    for column, words in _WORDS.items():
        if plain.get(column, words[0]) not in words:
            yield f"`{column}` is {' or '.join(words)}"
    for column, (kinds, about) in _ONLY_FOR.items():
        if plain.get(column) not in (None, []) and plain["type"] not in kinds:
            yield f"`{column}` {about}, and this is a {plain['type']}"


def _shown_faults(plain: Mapping[str, Any]) -> Iterator[str]:
    """Yield what help and schema would show although it is not a value."""
    for value in (*plain.get("meanings", {}), *filter(None, [plain.get("usual")])):
        if value not in plain.get("values", ()):
            yield f"{value} is not one of its `values`"


def word_faults(values: Sequence[str], also: Mapping[str, str], new: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the words of a choice; `new` are those that the row at hand adds."""
    strange = sorted(set(also.values()) - set(values))
    if strange:
        yield f"`also` leads to {', '.join(strange)}, which `values` does not list"
    for word in (*new, *also):
        if word != word.strip().casefold():
            yield f"{word} can never be chosen, because what is written is read as {word.strip().casefold()}"
    for word in sorted({*also} & {*new}):
        yield f"`also` gives {word}, one of its values, another meaning"
