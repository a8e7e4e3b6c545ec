"""Read plain text and Markdown: decode, normalise line breaks, find the title."""

from __future__ import annotations

import codecs
import re

from compozy.knowledge.documents import Document, DocumentFault, line_places

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_HEADING = re.compile(r"^#{1,2}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)


def read_text(source: str, content: bytes, sha256: str) -> Document:
    """Return the document of a plain text; its title is the first heading of Markdown.

    Raises:
        DocumentFault: it is no text.
    """
    text = decode(source, content)
    heading = _HEADING.search(text)
    return Document(source, sha256, text, heading[1] if heading else None, line_places(text))


def decode(source: str, content: bytes, encoding: str | None = None) -> str:
    r"""Return the text of `content` with `\n` as its only line break and without NUL characters.

    The encoding is that of a byte order mark, else the stated one, else UTF-8 where it is valid, else Windows-1252.

    Raises:
        DocumentFault: it is no text.
    """
    for mark, marked in _MARKS:
        if content.startswith(mark):
            content, encoding = content[len(mark) :], marked
    try:
        text = content.decode(encoding or "utf-8")
    except (UnicodeDecodeError, LookupError):
        text = content.decode("cp1252", errors="replace")
    if text.count("\0") > len(text) // 100:
        raise DocumentFault(source, "it is binary data, not text", "name the right kind of document, or remove it")
    return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
