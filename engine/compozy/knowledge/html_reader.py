"""Read HTML: the visible text with its blocks as lines, headings as in Markdown, and sections as places."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from compozy.knowledge.documents import Extract, Places, UnreadableDocument
from compozy.knowledge.text_reader import decode

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

# The tree of a page takes up to a hundred times the size of the page.
LIMIT_BYTES = 8_000_000
_INVISIBLE = ["script", "style", "noscript", "template", "svg", "math", "iframe", "object", "title", "select"]
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_PREFIXES = {**_HEADINGS, "li": "- "}
# Blocks that are separated by an empty line, and those that only begin a line.
_PARAGRAPHS = frozenset(
    (*_HEADINGS, "p", "pre", "table", "ul", "ol", "dl", "blockquote", "section", "article", "figure")
)
_LINES = frozenset((
    "body", "div", "main", "header", "footer", "nav", "aside", "address", "details", "summary", "form", "hr", "li",
    "dt", "dd", "tr", "caption", "figcaption",
))  # fmt: skip
_MARKS = {"br": "\n", "td": " | ", "th": " | "}
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w-]+)""", re.IGNORECASE)


class _Block(NamedTuple):
    """The nearest element around a text that begins a line."""

    tag: str
    id: int


def read_html(content: bytes, encoding: str | None = None) -> Extract:
    """Return the text of an HTML page; `encoding` is the one that its server states.

    The time is quadratic in the depth of the page, as the standard's algorithm is.

    Raises:
        UnreadableDocument: it is no text, or larger than `LIMIT_BYTES`.
    """
    from selectolax.lexbor import LexborHTMLParser

    if len(content) > LIMIT_BYTES:
        raise UnreadableDocument(f"the page is larger than {LIMIT_BYTES} bytes", "divide it, or convert it to text")
    # The HTML standard looks at the first 1,024 bytes; this is more lenient, and bounded as well.
    declared = _CHARSET.search(content[:4096])
    page = LexborHTMLParser(decode(content, encoding or (declared[1].decode() if declared else None)))
    title = page.css_first("title")
    titled = _collapsed(title.text()) if title else ""
    page.strip_tags(_INVISIBLE)
    parts, starts, names, length = [""], [0], ["top"], 0
    for block, text in _paragraphs(_runs(page.body)):
        if block in _HEADINGS:
            starts.append(length)
            names.append(text.strip("\n# "))
        parts.append(text)
        length += len(text)
    return Extract("".join(parts), titled or " ".join(names[1:2]) or None, Places("section", starts, names))


def _runs(body: LexborNode | None) -> Iterator[tuple[_Block, str]]:
    """Yield the text of each block, in several parts where other blocks interrupt it."""
    # By element; an element is walked before what it contains.
    around: dict[int, _Block] = {}
    block, texts, mark = _Block("body", 0), [""], ""
    for node in body.traverse(include_text=True) if body else ():
        tag, parent = node.tag or "", node.parent
        outer = around.get(parent.mem_id, block) if parent else block
        if tag != "-text":
            around[node.mem_id] = _Block(tag, node.mem_id) if tag in _PARAGRAPHS or tag in _LINES else outer
            mark = _MARKS.get(tag, mark)
            continue
        content = node.text_content or ""
        if content.strip():
            if outer != block:
                yield block, "".join(texts)
                block, texts, mark = outer, [], ""
            texts.append(mark)
            mark = ""
        texts.append(content if block.tag == "pre" else re.sub(r"\s+", " ", content))
    yield block, "".join(texts)


def _paragraphs(runs: Iterator[tuple[_Block, str]]) -> Iterator[tuple[str, str]]:
    """Yield the text of each run with its line breaks and the tag of its block; empty ones are left out."""
    last, begun = "", {0}
    for block, text in runs:
        lines = text.strip("\n") if block.tag == "pre" else "\n".join(map(_collapsed, text.split("\n")))
        if not lines.strip():
            continue
        gap = "\n\n" if {last, block.tag} & _PARAGRAPHS else "\n"
        prefix = "" if block.id in begun else _PREFIXES.get(block.tag, "")
        yield block.tag, (gap if last else "") + prefix + lines
        last = block.tag
        begun.add(block.id)


def _collapsed(text: str) -> str:
    return " ".join(text.split())
