"""List and read the files of a project: one function for each, for every kind of file.

Files that another user controls are refused before their content is believed; see `ownership`. Names that begin with a
dot or a tilde are leftovers of editors and file systems (`._x.yaml`, `.#x.yaml`) and are not listed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping

from compozy.base.ownership import refusal
from compozy.errors import TrustError

LIMIT_BYTES = 8_000_000
YAML_ENDINGS = (".yaml", ".yml")
_LEFTOVERS = (".", "~")


class UnreadableError(Exception):
    """A file that cannot be read as text; the message is the reason, without its name."""


class SourceFiles:
    """Texts of files, each file read once, because a pipe has no content for a second reader; `texts` are known."""

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        self._texts: dict[str, str | UnreadableError] = dict(texts or {})

    def text(self, path: str) -> str:
        """Return the text of a file.

        Raises:
            UnreadableError: see `read_source`.
            TrustError: another user controls the file.
        """
        # The error is remembered as well: two readers of one file must see the same state of it.
        if path not in self._texts:
            try:
                self._texts[path] = read_source(path)
            except UnreadableError as error:
                self._texts[path] = error
        found = self._texts[path]
        if isinstance(found, UnreadableError):
            raise found
        return found


def read_source(path: str, *, own: bool = True) -> str:
    """Return the text of a regular file or pipe without its byte order mark; `own` refuses those of other users.

    Raises:
        UnreadableError: the file is missing, a directory or device, larger than `LIMIT_BYTES`, or not UTF-8 text.
        TrustError: another user controls the file.
    """
    if own:
        check_owner(path)
    try:
        with open(path, "rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
                raise UnreadableError("it is not a regular file")
            # One byte more than allowed shows a longer file without reading all of it; a pipe reports no size.
            content = stream.read(LIMIT_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UnreadableError(getattr(error, "strerror", None) or str(error)) from error
    if len(content) > LIMIT_BYTES:
        raise UnreadableError(f"it is larger than {LIMIT_BYTES} bytes")
    return decoded(content)


def decoded(content: bytes) -> str:
    """Return the content of a source file as text without its byte order mark, with line ends of Unix.

    Raises:
        UnreadableError: it is not UTF-8 text.
    """
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"it is not UTF-8 text (byte {error.start})") from error


def list_sources(folder: str, endings: tuple[str, ...] = YAML_ENDINGS, *, below: bool = False) -> Iterator[str]:
    """Yield the paths of files with one of `endings` in `folder`, sorted; with `below` also in folders below it.

    Dangling links are listed, so that reading reports them; pipes are not, because a read could block for ever.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if is_leftover(entry.name):
            continue
        if entry.is_dir():
            if below and not entry.is_symlink():
                yield from list_sources(entry.path, endings, below=True)
        elif entry.name.endswith(endings) and (entry.is_file() or not os.path.exists(entry.path)):
            yield entry.path


def is_leftover(name: str) -> bool:
    """Return True for a file that an editor or a file system left beside the real one."""
    return name.startswith(_LEFTOVERS)


def check_owner(path: str) -> None:
    """Refuse a file or directory that another user controls; a missing one passes.

    Raises:
        TrustError: another user owns it, may write to it, or may replace it in its directory.
    """
    # The directory as well: a user who may write to it can replace the file.
    for checked, sticky in ((os.path.dirname(os.path.abspath(path)), True), (path, False)):
        reason = refusal(checked, sticky=sticky) if os.path.lexists(path) else None
        if reason is not None:
            raise TrustError(checked, reason)


def check_code(path: str) -> None:
    """Refuse a Python file when another user controls it, its compiled form, or the directory beside it.

    Raises:
        TrustError: another user owns the file or its directory, or may write there.
    """
    folder = os.path.dirname(os.path.abspath(path))
    for checked in (folder, path, os.path.join(folder, "__pycache__")):
        reason = refusal(checked)
        if reason is not None:
            raise TrustError(checked, reason)
