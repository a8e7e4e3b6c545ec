"""Find and read the documents that the sources of a knowledge base name.

Only files below the directory of the configuration file are read, links followed; fetched addresses are those that the
configuration allows.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from compozy.base.output_file import open_regular
from compozy.base.source_file import is_leftover
from compozy.knowledge.bases import KnowledgeBase, SourceSetting
from compozy.knowledge.documents import Document, DocumentFault, Reference
from compozy.knowledge.text_reader import read_text
from compozy.settings.redact import redact_url

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
    content = _read_file(base.root, reference.source)
    return read_text(reference.source, content, sha256(content).hexdigest())


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
        except DocumentFault as fault:
            yield fault
    if not found:
        yield DocumentFault(path, "no file matches the pattern", "correct the pattern, or remove the source")


def _matching(root: Path, pattern: str) -> Iterator[str]:
    """Yield the paths of files that match a pattern, sorted; hidden ones only where the pattern writes the dot.

    Links to directories are not followed.
    """
    parts = Path(pattern).parts
    fixed = next((at for at, part in enumerate(parts) if _MAGIC.search(part)), len(parts) - 1)
    form = re.compile("".join(map(_part_form, parts)) + r"\Z")
    for folder, folders, files in os.walk(root.joinpath(*parts[:fixed])):
        folders[:] = sorted(name for name in folders if not is_leftover(name) or name in parts)
        for name in sorted(files):
            relative = Path(folder, name).relative_to(root).as_posix()
            if form.match(relative + "/") and (name in parts or not _is_editor_file(name)):
                yield relative


def _part_form(part: str) -> str:
    """Return the regular expression of one part of a pattern, with the slash behind it."""
    return r"(?:[^/]+/)*" if part == "**" else fnmatch.translate(part).replace(".*", "[^/]*").removesuffix(r"\Z") + "/"


def _is_editor_file(name: str) -> bool:
    return is_leftover(name) or name.startswith("#") or name.endswith(("~", ".swp", ".tmp", ".bak"))


def _inside(root: Path, relative: str) -> Path:
    """Return the real path of a file of the project.

    Raises:
        DocumentFault: it does not exist, or a link leads out of the project.
    """
    try:
        real = (root / relative).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DocumentFault(relative, reason, "correct the path, or remove the source") from error
    if not real.is_relative_to(root.resolve()):
        raise DocumentFault(relative, "a symbolic link leads out of the project", "copy the file into the project")
    return real


def _read_file(root: Path, relative: str) -> bytes:
    try:
        with open_regular(_inside(root, relative)) as stream:
            return stream.read()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DocumentFault(relative, reason, "check its kind and its permissions") from error
