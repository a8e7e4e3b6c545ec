"""Split documents into chunks at the strongest boundary that fits: heading, paragraph, line, sentence, word.

The same document and sizes always give the same chunks, in time linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from compozy.base.record import dataclass
from compozy.knowledge.bases import OVERLAP, SIZE
from compozy.knowledge.documents import Document

# From strong to weak; a chunk ends after the part before the bar, which the next one begins without.
_BOUNDARIES = ("\n|#", "\n\n|", "\n|", ". |", "? |", "! |", "。|", " |")
_NO_BLANK = re.compile(r"\S")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a document, without the blanks around it; `start` is the offset of its first character."""

    ordinal: int
    text: str
    place: str
    start: int


def split(document: Document, size: int = SIZE, overlap: int = OVERLAP) -> list[Chunk]:
    """Return the chunks of a document, each of at most `size` characters.

    A chunk repeats at most `overlap` characters of the one before it, from a word's beginning where there is one.
    Every character that is no blank is in a chunk, and no chunk is empty.

    Raises:
        ValueError: `size` is not positive, or `overlap` is not in [0, size).
    """
    if size < 1 or not 0 <= overlap < size:
        raise ValueError(f"chunks of {size} characters cannot overlap by {overlap}")
    chunks: list[Chunk] = []
    for start, end in _spans(document.text, size, overlap):
        chunks.append(Chunk(len(chunks), document.text[start:end].rstrip(), document.places.at(start), start))
    return chunks


def _spans(text: str, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    end = 0
    # `new` is the first character that no chunk has yet.
    while (new := _next(text, end)) < len(text):
        start = _next(text, _word_start(text, end - overlap, end)) if end else new
        # An overlap that leaves no room for a new character would repeat the same chunk for ever.
        start = start if start + size > new else new
        # At least half of the size, or a strong boundary near the start would give many tiny chunks; and beyond the
        # next overlap and the first new character, so that every turn advances.
        end = _end(text, max(start + size // 2, start + overlap, new), start + size)
        yield start, end


def _next(text: str, low: int) -> int:
    """Return the offset of the first character from `low` on that is no blank; the length without one."""
    found = _NO_BLANK.search(text, low)
    return found.start() if found else len(text)


def _end(text: str, low: int, high: int) -> int:
    """Return where a chunk ends: in (low, high], at the strongest boundary, or at `high` without one."""
    if high >= len(text):
        return len(text)
    for boundary in _BOUNDARIES:
        before, _, after = boundary.partition("|")
        at = text.rfind(before + after, low, high + len(after))
        if at >= 0:
            return at + len(before)
    return high


def _word_start(text: str, low: int, high: int) -> int:
    """Return the first beginning of a word in [low, high); `low` without one."""
    for at in range(low, high):
        if text[at - 1].isspace() and not text[at].isspace():
            return at
    return low
