"""Documents of a knowledge base: text with the places that a reader finds in the original, or the fault of one.

A document is decoded text with `\\n` as its only line break; offsets count its characters.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal

from compozy.base.record import dataclass
from compozy.errors import CompozyError

DocumentKind = Literal["markdown_glob", "text", "html", "pdf", "url"]
_LINE_BREAK = re.compile("\n")


class UnreadableDocument(Exception):
    """Why content cannot be read as a document, and what to do; a reader does not know whose content it is."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


class DocumentFault(CompozyError):
    """A document, or a source of documents, that cannot be read; the other documents are ingested all the same."""

    id = "knowledge.document"
    exit_code = 4

    def __init__(self, source: str, reason: str, fix: str) -> None:
        super().__init__(f"{source} cannot be read: {reason}", hint=fix)
        self.source = source
        self.reason = reason
        self.fix = fix


@dataclass(frozen=True, slots=True)
class Places:
    """The offsets where units of a text begin, lines and pages by number, sections by name; `starts` ascends from 0."""

    unit: str
    starts: Sequence[int]
    names: Sequence[str] = ()

    def at(self, offset: int) -> str:
        """Return the place of the character at `offset`, such as `line 3` or `section Opening hours`."""
        number = bisect_right(self.starts, offset)
        return f"{self.unit} {self.names[number - 1] if self.names else number}"


@dataclass(frozen=True, slots=True)
class Reference:
    """A document that a source names; `source` identifies it within the base and is shown to users.

    `address` is the path relative to the configuration file, or the URL, which may contain a secret. `version` changes
    with the content of a file, as far as size and time of modification show; empty where only its content decides.
    """

    source: str
    kind: DocumentKind
    address: str
    version: str = ""

    def __repr__(self) -> str:
        return f"Reference({self.source!r}, {self.kind!r})"


@dataclass(frozen=True, slots=True, repr=False)
class RawContent:
    """The bytes of a file or an answer, with the media type and the encoding that are stated for them."""

    content: bytes
    media_type: str
    encoding: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Extract:
    """The result of a reader: the text, the title that it states, and the places in the original."""

    text: str
    title: str | None
    places: Places


@dataclass(frozen=True, slots=True, repr=False)
class Document:
    """The text of a document; `sha256` is that of its raw content, in hexadecimal."""

    source: str
    sha256: str
    text: str
    title: str | None
    places: Places


def line_places(text: str) -> Places:
    """Return the places of the lines of `text`."""
    return Places("line", [0, *(found.end() for found in _LINE_BREAK.finditer(text))])
