r"""Escape control characters in text for terminals and log files.

Foreign text (workflow outputs, errors of tools and servers, names) may hold escape sequences that a terminal obeys,
and bidirectional or invisible characters that make a line read differently from what it is.
"""

from __future__ import annotations

import re

# C0 without tab and line feed, DEL and C1, zero-width and bidirectional formatting, line separators, interlinear
# annotations, lone surrogates, tags. The joiners U+200C and U+200D stay: several scripts and emoji need them.
_CONTROL = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f"
)
_IN_TEXT = re.compile(f"[{_CONTROL}]")
_IN_LINE = re.compile(rf"[{_CONTROL}\t\n]")


def escape_control(text: str) -> str:
    r"""Return `text` with control characters escaped; line feeds and tabs stay.

    >>> escape_control("a\x1b[31m\tb\r\n")
    'a\\x1b[31m\tb\\r\n'
    """
    return _IN_TEXT.sub(_escape, text)


def escape_line(text: str) -> str:
    r"""Return `text` as one line: control characters, line feeds and tabs escaped.

    >>> escape_line("a\n\u202eb")
    'a\\n\\u202eb'
    """
    return _IN_LINE.sub(_escape, text)


def escape_json(text: str) -> str:
    r"""Return a JSON document with the control characters inside its strings escaped; its meaning is unchanged.

    >>> escape_json('{"a": "\x9b1m"}')
    '{"a": "\\u009b1m"}'
    """
    return _IN_TEXT.sub(_json_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
