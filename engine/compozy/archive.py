"""The file that a backup is: a compressed archive whose manifest names every file with its checksum.

What comes in: a folder of copies, or an archive. What goes out: an archive, or a folder whose content is proven to be
what was put in. Nothing here knows what the files are for.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from gzip import BadGzipFile
from pathlib import Path

from compozy import __version__
from compozy.base.output_file import new_file
from compozy.drivers.state_directory import LAYOUT
from compozy.errors import BackupError

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive holds: `files` maps a name to its SHA-256, `sizes` to its bytes."""

    format: int
    compozy: str
    layout: int
    created_at: str
    files: Mapping[str, str]
    sizes: Mapping[str, int]


def write_archive(folder: Path, target: Path) -> Manifest:
    """Write every file below `folder` to `target`, for its owner alone; all of it or nothing.

    Raises:
        OSError: something cannot be read or written.
    """
    manifest = _manifest(folder)
    with (
        new_file(target, replace=False) as stream,
        tarfile.open(fileobj=stream, mode="w:gz", compresslevel=3) as archive,
    ):
        _add(archive, MANIFEST, json.dumps(asdict(manifest), indent=2).encode())
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


def read_archive(source: Path, folder: Path) -> Manifest:
    """Unpack `source` into an empty `folder` and prove every file: all that the manifest names, and no other.

    Raises:
        BackupError: it is no backup, is damaged, or was made by a newer version.
        OSError: it cannot be read, or there is no room for it.
    """
    try:
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="data")
        manifest = _read_manifest((folder / MANIFEST).read_text(encoding="utf-8"))
    except (tarfile.TarError, BadGzipFile, zlib.error, EOFError, FileNotFoundError, ValueError) as error:
        raise BackupError(f"{source} is not a backup of Compozy, or is damaged: {error}") from error
    if manifest.format > FORMAT or manifest.layout > LAYOUT:
        raise BackupError(
            f"{source} was made by version {manifest.compozy}, which is newer than {__version__}",
            hint=f"restore it with Compozy {manifest.compozy} or newer",
        )
    broken = [name for name, digest in manifest.files.items() if not _intact(folder, name, digest)]
    if broken:
        raise BackupError(f"{source} is damaged: checksums differ for {', '.join(broken)}", hint="use another backup")
    strange = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    strange -= {MANIFEST, *manifest.files}
    if strange:
        raise BackupError(
            f"{source} is damaged: no checksum for {', '.join(sorted(strange))}", hint="use another backup"
        )
    return manifest


def _read_manifest(text: str) -> Manifest:
    """Return the manifest of an archive.

    Raises:
        ValueError: it has another shape.
    """
    found = json.loads(text)
    types = {"format": int, "compozy": str, "layout": int, "created_at": str, "files": dict, "sizes": dict}
    if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != types:
        raise ValueError("its manifest has another shape")
    if not all(isinstance(digest, str) for digest in found["files"].values()):
        raise ValueError("its manifest has another shape")
    return Manifest(**found)


def _intact(folder: Path, name: str, digest: str) -> bool:
    path = folder / name
    return path.is_file() and path.resolve().is_relative_to(folder.resolve()) and _digest(path) == digest


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
