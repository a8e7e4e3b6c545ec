"""Mask the values at and below keys that look secret, in the text of a file that need not be valid YAML.

Each character of a secret is replaced by `MASK`, so that columns do not move. Settings and their values are not known
here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from compozy.settings.redact import Redactor, is_secret_name, mask_text, readable
from compozy.settings.values import found_text

_WORDS = ("password", "passwd", "passphrase", "secret", "token", "api_key", "apikey", "credential")
_KEY = re.compile(r"(?<![\w.-])([A-Za-z_][\w.-]*)[\"']?[ \t]*[:=][ \t]*")
# The name of a secret, and the value that a field beside it holds: `{name: API_KEY, value: x}`.
_NAMED = re.compile(
    r"(?:name|key|header|variable)[\"']?[ \t]*:[ \t]*[\"']?([\w.-]{1,100})[\"']?\s*(?:,|\n)\s*"
    r"[\"']?value[\"']?[ \t]*:[ \t]*"
)
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"?|'(?:[^']|'')*'?", re.DOTALL)
_BLANKS = re.compile(r"\s*")
_IN_FLOW = re.compile(r"[^,}\]]*")
_BRACKET = re.compile(r"[\[\]{}]")
_LINE = re.compile(r"[^\r\n]*")
_BLOCK_KEY = re.compile(r"(?:- +)*[\"']?\Z")
_COMMENT = re.compile(r"(?:\A|\s)#")
_BELOW = re.compile(r"(?:\r?\n|\r)( *)(\t?)(-?)[^\r\n]*")
# No document is read that is nested deeper, and the parser takes time in the square of the depth.
_DEEP = 100
# How far back an open bracket or a comment is searched; longer lines are not meant to be read.
_FAR = 1000


@lru_cache(maxsize=4)
def masked_lines(text: str) -> tuple[str, ...]:
    """Return the lines of a file with the values of keys that sound secret masked, misspelled keys too.

    >>> readable(masked_lines("{host: db, pasword: hunter2, port: 1}")[0])
    '{host: db, pasword: [REDACTED], port: 1}'
    """
    return tuple(_masked(text).splitlines())


def found_masked(text: object) -> str:
    """Return the words that quote the written text, shortened and with secrets masked.

    >>> found_masked("eighty"), found_masked("api_key: hunter2")
    ('found "eighty"', 'found "api_key: [REDACTED]"')
    """
    return found_text(without_secrets(str(text)))


def without_secrets(text: str) -> str:
    """Return the text with everything that looks secret masked."""
    return readable(_masked(Redactor(()).masked(text)))


def _masked(text: str) -> str:
    done, parts = 0, []
    for start, end in sorted((*_extents(text), *_guessed(text))):
        parts += [text[done:start], mask_text(text[max(done, start) : end])]
        done = max(done, end)
    return "".join([*parts, text[done:]])


@lru_cache(maxsize=4096)
def sounds_secret(key: str) -> bool:
    """Return True if the name of a key denotes a secret, or differs from such a name by a typing error.

    >>> [sounds_secret(key) for key in ("pasword", "redis.password", "port")]
    [True, True, False]
    """
    leaf = re.split(r"\.|__", key)[-1]
    if is_secret_name(leaf):
        return True
    from difflib import get_close_matches

    return len(leaf) < 100 and bool(get_close_matches(leaf.casefold(), _WORDS, 1, 0.8))


def _extents(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the values of secret keys start and end, as far as the text is YAML."""
    # Imported only where a file is printed.
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    above = ["item"]  # what the next node is, for each open collection: an item, a key, a value or a secret
    starts: list[int | None] = []
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.CollectionEndEvent):
                above.pop()
                start = starts.pop()
                if start is not None:
                    yield start, _index(event.end_mark)
            elif isinstance(event, yaml.NodeEvent):
                start = _index(event.start_mark) if above[-1] == "secret" else None
                above[-1] = _next(above[-1], event)
                if len(above) > _DEEP:
                    return
                if isinstance(event, yaml.CollectionStartEvent):
                    above.append("key" if isinstance(event, yaml.MappingStartEvent) else "item")
                    starts.append(start)
                elif start is not None:
                    yield start, _index(event.end_mark)
    except (yaml.YAMLError, ValueError):
        return


def _index(mark: Any) -> int:
    return int(mark.index)


def _next(node: str, event: object) -> str:
    """Return what comes after a node of a collection."""
    if node == "key":
        from yaml import ScalarEvent

        return "secret" if isinstance(event, ScalarEvent) and sounds_secret(event.value) else "value"
    return "item" if node == "item" else "key"


def _guessed(text: str) -> Iterator[tuple[int, int]]:
    """Yield where secrets seem to start and end, also in comments and in text that is not YAML."""
    at = 0
    while (found := _KEY.search(text, at)) is not None:
        at = found.end()
        if sounds_secret(found[1]):
            end = _end(text, found)
            yield at, end
            at = end
    for found in _NAMED.finditer(text):
        if sounds_secret(found[1]):
            yield found.end(), _value_end(text, found.end(), in_flow=found[0].count(",") > 0)


def _end(text: str, key: re.Match[str]) -> int:
    """Return where the value of a key ends: with its line, or after everything that stands deeper than the key."""
    line = max(text.rfind("\n", 0, key.start()), text.rfind("\r", 0, key.start())) + 1
    before, at = text[max(line, key.start() - _FAR) : key.start()], key.end()
    if _COMMENT.search(before):
        return _line_end(text, at)
    if _is_open(before):
        return _value_end(text, at, in_flow=True)
    end = _value_end(text, at, in_flow=False)
    if not _BLOCK_KEY.match(before.lstrip(" ")):
        return end
    column = len(before.rstrip("\"'"))
    return _block_end(text, _line_end(text, end), column)


def _is_open(before: str) -> bool:
    return any(before.count(left) > before.count(right) for left, right in ("{}", "[]"))


def _line_end(text: str, at: int) -> int:
    found = _LINE.match(text, at)
    return found.end() if found else at


def _value_end(text: str, at: int, *, in_flow: bool) -> int:
    blanks = _BLANKS.match(text, at) if in_flow else None
    at = blanks.end() if blanks else at
    if text.startswith(("[", "{"), at):
        return _closing(text, at)
    found = _QUOTED.match(text, at) or (_IN_FLOW if in_flow else _LINE).match(text, at)
    return found.end() if found else at


def _closing(text: str, at: int) -> int:
    """Return the end of a collection in brackets; one that is never closed ends with the text."""
    depth = 0
    for found in _BRACKET.finditer(text, at):
        depth += 1 if found[0] in "[{" else -1
        if depth == 0:
            return found.end()
    return len(text)


def _block_end(text: str, at: int, column: int) -> int:
    """Return the end of the lines that stand deeper than `column`; a tab is as deep as one likes."""
    while (found := _BELOW.match(text, at)) is not None:
        indent, tab, dash = found.groups()
        blank = not found[0].strip()
        if not (blank or tab or len(indent) > column or (dash and len(indent) == column)):
            break
        at = found.end()
    return at
