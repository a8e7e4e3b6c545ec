"""Find and read the documents that the sources of a knowledge base name.

Only files below the directory of the configuration file are read, links followed; fetched addresses are those that the
configuration allows.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from compozy.base.control import escape_control
from compozy.base.output_file import open_regular
from compozy.base.source_file import is_leftover
from compozy.knowledge.bases import KnowledgeBase, ReadLimits, SourceSetting
from compozy.knowledge.documents import Document, DocumentFault, Extract, RawContent, Reference, UnreadableDocument
from compozy.knowledge.html_reader import read_html
from compozy.knowledge.reading_process import read_in_process
from compozy.knowledge.text_reader import read_text
from compozy.settings.redact import redact_url

_MEDIA_TYPES = {"markdown_glob": "text/markdown", "text": "text/plain", "html": "text/html", "pdf": "application/pdf"}
_KINDS = {
    "": "text", "application/json": "text", "application/xml": "text", "text/html": "html",
    "application/xhtml+xml": "html", "application/pdf": "pdf",
}  # fmt: skip
# HTML up to this size is read here: it takes a second at most, however deep it is, while a process costs more.
_SMALL = 30_000
_CORRECT = "correct the path, or remove the source"
_MAGIC = re.compile(r"[*?\[]")


def find_documents(base: KnowledgeBase) -> Iterator[Reference | DocumentFault]:
    """Yield each document of a base once, in the order of its sources, files of a pattern sorted by path.

    A source without documents, or one that leads out of the project, is yielded as a fault.
    """
    seen: set[str] = set()
    for setting in base.sources:
        for found in _documents(base.root, setting):
            if found.source not in seen:
                seen.add(found.source)
                yield found


def read_document(base: KnowledgeBase, reference: Reference) -> Document:
    """Return a document of a base.

    Raises:
        DocumentFault: it cannot be read.
    """
    try:
        fetched = _content(base, reference)
        extract = _extract(fetched, base.limits)
    except UnreadableDocument as error:
        raise DocumentFault(reference.source, error.reason, error.fix) from error
    digest = sha256(fetched.content).hexdigest()
    return Document(reference.source, digest, extract.text, extract.title, extract.places)


def _content(base: KnowledgeBase, reference: Reference) -> RawContent:
    if reference.kind == "url":
        from compozy.knowledge.fetching import fetch

        return fetch(reference.address, base.limits)
    content = _read_file(_inside(base.root, reference.address), base.limits.size_bytes)
    return RawContent(content, _MEDIA_TYPES[reference.kind])


def _extract(content: RawContent, limits: ReadLimits) -> Extract:
    kind = _KINDS.get(content.media_type, "text" if content.media_type.startswith("text/") else "")
    if kind == "text":
        return read_text(content.content, content.encoding)
    if kind == "html" and len(content.content) <= _SMALL:
        return read_html(content.content, content.encoding)
    if not kind:
        reason = f'the server answers with the media type "{content.media_type}"'
        raise UnreadableDocument(reason, "name an address of HTML, PDF or text")
    return read_in_process(kind, content.content, limits, content.encoding or "")


def _documents(root: Path, setting: SourceSetting) -> Iterator[Reference | DocumentFault]:
    if setting.kind == "url":
        yield Reference(redact_url(setting.address), "url", setting.address)
        return
    path = setting.address
    if os.path.isabs(path) or ".." in Path(path).parts:
        yield DocumentFault(path, "the path leads out of the project", "name a path below the configuration file")
        return
    found = False
    for relative in _matching(root, path) if setting.kind == "markdown_glob" else [Path(path).as_posix()]:
        found = True
        try:
            status = _inside(root, relative).stat()
            yield Reference(relative, setting.kind, relative, f"{status.st_size}-{status.st_mtime_ns}")
        except UnreadableDocument as error:
            yield DocumentFault(escape_control(relative), error.reason, error.fix)
    if not found:
        yield DocumentFault(path, "no file matches the pattern", "correct the pattern, or remove the source")


def _matching(root: Path, pattern: str) -> Iterator[str]:
    """Yield the paths of files that match a pattern, sorted; hidden ones only where the pattern writes the dot.

    Links to directories are not followed.
    """
    parts = Path(pattern).parts
    # The walk begins below the parts without a pattern, instead of at the root of the project.
    fixed = next((at for at, part in enumerate(parts) if _MAGIC.search(part)), len(parts) - 1)
    for folder, folders, files in os.walk(root.joinpath(*parts[:fixed])):
        # In place, because `os.walk` descends into what is left of this list.
        folders[:] = sorted(name for name in folders if not is_leftover(name) or name in parts)
        for name in sorted(files):
            relative = Path(folder, name).relative_to(root)
            if _matches(relative.parts, parts) and (name in parts or not _is_editor_file(name)):
                yield relative.as_posix()


def _matches(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return True if the parts of a path match those of a pattern; `**` stands for any number of parts."""
    if not pattern or not path:
        return not path and all(part == "**" for part in pattern)
    if pattern[0] == "**" and _matches(path[1:], pattern):
        return True
    return (
        _matches(path, pattern[1:])
        if pattern[0] == "**"
        else (fnmatch.fnmatchcase(path[0], pattern[0]) and _matches(path[1:], pattern[1:]))
    )


def _is_editor_file(name: str) -> bool:
    return is_leftover(name) or name.startswith("#") or name.endswith(("~", ".swp", ".tmp", ".bak"))


def _inside(root: Path, relative: str) -> Path:
    """Return the real path of a file of the project.

    Raises:
        UnreadableDocument: its name is not UTF-8, it does not exist, or a link leads out of the project.
    """
    try:
        relative.encode()
    except UnicodeEncodeError as error:
        raise UnreadableDocument("its name is not UTF-8", "rename it") from error
    try:
        # Resolved before the check: any part of the path may be a link.
        real = (root / relative).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise UnreadableDocument(getattr(error, "strerror", None) or str(error), _CORRECT) from error
    if not real.is_relative_to(root.resolve()):
        raise UnreadableDocument("a symbolic link leads out of the project", "copy the file into the project")
    return real


def _read_file(path: Path, limit: int) -> bytes:
    try:
        with open_regular(path) as stream:
            # One byte more than allowed shows that the file is too large, however large it is.
            content = stream.read(limit + 1)
    except OSError as error:
        raise UnreadableDocument(error.strerror or str(error), "check its kind and its permissions") from error
    if len(content) > limit:
        raise UnreadableDocument(f"it is larger than {limit} bytes", "divide it, or raise knowledge.read.max_size")
    return content
