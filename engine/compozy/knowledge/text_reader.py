"""Read plain text and Markdown: decode, normalise line breaks, find the title."""

from __future__ import annotations

import codecs
import re
from contextlib import suppress

from compozy.knowledge.documents import Extract, UnreadableDocument, line_places

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_HEADING = re.compile(r"^#{1,2}[ \t]+(.+)$", re.MULTILINE)
# Python knows others, which take quadratic time (punycode) or leave half of a surrogate pair (utf-7, unicode_escape).
_ENCODINGS = (
    "ascii", "utf-8", "utf-16", "utf-32", "iso8859", "iso2022", "cp", "koi8", "mac", "gb", "big5", "euc", "shift_jis",
    "johab", "tis", "hz",
)  # fmt: skip
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f]")


def read_text(content: bytes, encoding: str | None = None) -> Extract:
    """Return the text of a plain text or Markdown; its title is the first heading of level 1 or 2.

    Raises:
        UnreadableDocument: it is no text.
    """
    text = decode(content, encoding)
    heading = _HEADING.search(text)
    return Extract(text, heading[1].strip(" \t#") or None if heading else None, line_places(text))


def decode(content: bytes, encoding: str | None = None) -> str:
    """Return the cleaned text of `content`.

    The encoding is that of a byte order mark, else the stated one, else UTF-8 where it is valid, else Windows-1252.

    Raises:
        UnreadableDocument: more than one character in a hundred is a control character.
    """
    for mark, marked in _MARKS:
        if content.startswith(mark):
            content, encoding = content[len(mark) :], marked
    text = _decoded(content, _known(encoding))
    if len(text) - len(_CONTROL.sub("", text)) > len(text) // 100:
        raise UnreadableDocument("it is binary data, not text", "correct the type of its source, or remove it")
    return clean(text)


def _decoded(content: bytes, stated: str | None) -> str:
    for encoding in filter(None, (stated, "utf-8")):
        with suppress(UnicodeDecodeError):
            return content.decode(encoding)
    # Windows-1252 is what browsers assume, too; undefined bytes are replaced.
    return content.decode(stated or "cp1252", errors="replace")


def _known(encoding: str | None) -> str | None:
    """Return the name of a stated encoding; None where it is unknown, or one that no document has."""
    try:
        name = codecs.lookup(encoding or "").name
    except (LookupError, ValueError):
        return None
    return name if name.startswith(_ENCODINGS) else None


def clean(text: str) -> str:
    r"""Return `text` with `\n` as its only line break and without other control characters than tabs.

    >>> clean("a\r\nb\x0cc\x00")
    'a\nb\nc'
    """
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n").replace("\v", "\n"))
