"""The backup file: a compressed tar archive whose first member, the manifest, names every file with size and checksum.

Reading is a stream: nothing is written that the manifest does not announce, and never more than it announces. The
manifest may be followed by its signature.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from gzip import BadGzipFile
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from compozy import __version__
from compozy.base.output_file import new_file
from compozy.base.record import dataclass
from compozy.errors import BackupError
from compozy.state.state_directory import LAYOUT

FORMAT = 2
MANIFEST = "manifest.json"
SIGNATURE = "manifest.hmac"
# Bounds what is read into memory before anything is verified; far more than a real project needs.
_LARGEST_MANIFEST_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_REQUIRED = {"format": int, "compozy": str, "layout": int, "created_at": str, "files": dict, "sizes": dict}
_DAMAGE = (tarfile.TarError, BadGzipFile, zlib.error, EOFError, ValueError, RecursionError)
Rooms = Mapping[str, Path]
Sign = Callable[[bytes], str]
Verify = Callable[[bytes, str | None], None]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of an archive: `files` maps a name to its SHA-256 in hexadecimal, `sizes` to its bytes."""

    format: int
    compozy: str
    layout: int
    created_at: str
    files: Mapping[str, str]
    sizes: Mapping[str, int]


def write_archive(folder: Path, target: Path, sign: Sign | None = None) -> Manifest:
    """Write every file below `folder` to the new file `target`; `sign` returns the signature of the manifest.

    Raises:
        OSError: something cannot be read or written, or `target` exists.
    """
    manifest = _manifest(folder)
    text = json.dumps(asdict(manifest), indent=2).encode()
    with (
        new_file(target, replace=False) as stream,
        tarfile.open(fileobj=stream, mode="w:gz", compresslevel=3) as archive,
    ):
        _add(archive, MANIFEST, text)
        if sign is not None:
            _add(archive, SIGNATURE, sign(text).encode())
        for name in manifest.files:
            archive.add(folder / name, name)
    return manifest


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    head = tarfile.TarInfo(name)
    head.size = len(content)
    archive.addfile(head, io.BytesIO(content))


def _manifest(folder: Path) -> Manifest:
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return Manifest(
        format=FORMAT,
        compozy=__version__,
        layout=LAYOUT,
        created_at=datetime.now(UTC).isoformat(),
        files={name: _digest(folder / name) for name in files},
        sizes={name: (folder / name).stat().st_size for name in files},
    )


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_archive(source: Path, rooms: Rooms, verify: Verify | None = None) -> Manifest:
    """Unpack `source`, exactly the files of the manifest; each one reaches the disk.

    `rooms` are directories by the first part of the names that go there; other files are checked and left out.
    `verify` gets the manifest's text and its signature, or None without one, before anything is written.

    Raises:
        BackupError: it is not a backup, is damaged, was made by a newer version, is larger than the free disk space,
            or `verify` refuses it.
        OSError: it cannot be read, or a file cannot be written.
    """
    try:
        with gzip.open(source) as stream, tarfile.open(fileobj=cast(Any, _Limited(stream)), mode="r:") as archive:
            return _ArchiveReader(source, archive, rooms).read(verify)
    except _DAMAGE as error:
        raise BackupError(f"{source} is not a backup of Compozy, or is damaged: {error}") from error


class _Limited:
    """A stream that refuses a single read larger than any header of a backup: a forged header can claim any size."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self.tell, self.seek = stream.tell, stream.seek

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes."""
        if not 0 <= size <= _LARGEST_MANIFEST_BYTES:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        return self._stream.read(size)


class _ArchiveReader:
    """One pass over an archive."""

    def __init__(self, source: Path, archive: tarfile.TarFile, rooms: Rooms) -> None:
        self._source = source
        self._archive = archive
        self._rooms = rooms

    def read(self, verify: Verify | None) -> Manifest:
        """Read the manifest, check it, and write its files."""
        text = self._small_member(self._archive.next(), MANIFEST)
        manifest = _parsed_manifest(text)
        self._check_version(manifest)
        head = self._archive.next()
        signature = None
        if head is not None and head.name == SIGNATURE:
            signature = self._small_member(head, SIGNATURE).decode("ascii", "replace")
            head = self._archive.next()
        if verify is not None:
            # Before anything is written: a manifest that the project did not sign must not decide about names and
            # sizes.
            verify(text, signature)
        self._check_room(sum(manifest.sizes.values()))
        self._write_all(head, manifest)
        return manifest

    def _small_member(self, head: tarfile.TarInfo | None, name: str) -> bytes:
        if head is None or head.name != name or not head.isreg() or head.size > _LARGEST_MANIFEST_BYTES:
            raise tarfile.ReadError(f"it does not begin with {MANIFEST}")
        return b"".join(self._content(head))

    def _content(self, head: tarfile.TarInfo) -> Iterator[bytes]:
        stream = cast(IO[bytes], self._archive.extractfile(head))
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk

    def _check_version(self, manifest: Manifest) -> None:
        if manifest.format > FORMAT or manifest.layout > LAYOUT:
            raise BackupError(
                f"{self._source} was made by version {manifest.compozy}, which is newer than {__version__}",
                hint=f"restore it with Compozy {manifest.compozy} or newer",
            )

    def _check_room(self, needed_bytes: int) -> None:
        free_bytes = min(shutil.disk_usage(room).free for room in self._rooms.values())
        if needed_bytes > free_bytes:
            raise BackupError(
                f"{self._source} holds {needed_bytes} bytes and its disk has {free_bytes} free",
                hint="free some space; nothing was written",
            )

    def _write_all(self, head: tarfile.TarInfo | None, manifest: Manifest) -> None:
        missing = set(manifest.files)
        while head is not None:
            if head.name not in missing:
                raise self._damaged(f"no checksum for {head.name}")
            if not head.isreg() or head.issparse() or head.size != manifest.sizes[head.name]:
                raise self._damaged(f"{head.name} is not a file of {manifest.sizes[head.name]} bytes")
            self._write(head, manifest.files[head.name])
            # A name that occurs twice is refused, because a second member could replace a checked file.
            missing.remove(head.name)
            head = self._archive.next()
        if missing:
            raise self._damaged(f"it lacks {', '.join(sorted(missing))}")

    def _write(self, head: tarfile.TarInfo, digest: str) -> None:
        room, seen = self._rooms.get(head.name.partition("/")[0]), hashlib.sha256()
        with nullcontext() if room is None else _new_member(room / head.name) as stream:
            for chunk in self._content(head):
                seen.update(chunk)
                if stream is not None:
                    stream.write(chunk)
        # Compared after the content was written, since it is read once; nothing is moved to its place before all are
        # right.
        if seen.hexdigest() != digest:
            raise self._damaged(f"checksums differ for {head.name}")

    def _damaged(self, reason: str) -> BackupError:
        return BackupError(f"{self._source} is damaged: {reason}", hint="use another backup")


def _new_member(path: Path) -> AbstractContextManager[BinaryIO]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return new_file(path, replace=False)


def _parsed_manifest(text: bytes) -> Manifest:
    """Return the manifest of an archive.

    Raises:
        ValueError: it has another shape, or names a file outside the archive.
    """
    found = json.loads(text)
    if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != _REQUIRED:
        raise ValueError("its manifest is malformed")
    files, sizes = found["files"], found["sizes"]
    digests = all(isinstance(digest, str) for digest in files.values())
    counts = all(type(size) is int and size >= 0 for size in sizes.values())
    if not digests or not counts or files.keys() != sizes.keys():
        raise ValueError("its manifest is malformed")
    outside = [name for name in files if not _is_inside(name)]
    if outside:
        raise ValueError(f"its manifest names {outside[0]!r}, which is not a path inside it")
    return Manifest(**found)


def _is_inside(name: str) -> bool:
    parts = name.split("/")
    return not {"", ".", ".."} & set(parts) and "\0" not in name and name not in (MANIFEST, SIGNATURE)
