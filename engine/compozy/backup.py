"""One file with everything that the embedded components keep, taken while they run.

What comes in: a resolution whose components keep data on this machine. What goes out: an archive, or the data
put back. It needs no running server and does not disturb one.

The cut is consistent across stores. While Temporal's file is copied, the database's write lock is held: an
execution whose row is not in the copy has not recorded it in its history either, and writes it when it is replayed;
a finished row whose history still runs is written again with the same content. Redis' append-only files are
copied by a prefix, which is the state at one moment.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from compozy import __version__
from compozy.drivers.state_directory import LAYOUT, StateDirectory
from compozy.errors import CompozyError, UsageError
from compozy.plan import STATE_DIRECTORY
from compozy.resolve import Resolved

EMBEDDED = ("sqlite", "temporal-embedded", "valkey")
FORMAT = 1
MANIFEST = "manifest.json"
DATABASE, TEMPORAL, TEMPORAL_VERSION, REDIS = "compozy.db", "temporal.db", "temporal.db.version", "redis"
_LOCK_WAIT_S = 5.0
_RETRIES = 20
_CHUNK = 1 << 20


class BackupError(CompozyError):
    """A backup that could not be taken, or does not fit where it should be restored."""

    id = "backup.failed"
    exit_code = 4


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive holds: `files` maps a name to its SHA-256, `sizes` to its bytes."""

    format: int
    compozy: str
    layout: int
    created_at: str
    files: Mapping[str, str]
    sizes: Mapping[str, int]
    temporal: str | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """Where the components keep their data; None for one that keeps none here."""

    database: Path | None
    temporal: Path | None
    redis: Path | None

    def any(self) -> bool:
        """Tell whether anything is kept here."""
        return any((self.database, self.temporal, self.redis))

    def all(self) -> Iterator[Path]:
        """Yield every file and directory that a restore would write."""
        if self.database:
            yield self.database
        if self.temporal:
            yield self.temporal
        if self.redis:
            yield self.redis


def places(resolved: Resolved) -> Places:
    """Return where the embedded components of `resolved` keep their data."""
    kept = {name: resolved.decision(f"{name}.kept").outputs["kept"] for name in ("database", "temporal", "redis")}
    embedded = {
        name: part.driver in ("sqlite", "temporal-embedded", "valkey") for name, part in resolved.components.items()
    }

    def path(component: str, setting: str) -> Path | None:
        value = resolved.get(setting)
        return Path(value) if kept[component] and embedded[component] and value else None

    return Places(
        path("database", "database.path"),
        path("temporal", "temporal.standalone.database_file"),
        path("redis", "redis.standalone.persistence.data_dir"),
    )


def back_up(resolved: Resolved, target: Path) -> Manifest:
    """Write an archive of everything that is kept to `target`, which must not exist.

    Raises:
        UsageError: nothing is kept on this machine, or `target` exists.
        BackupError: a file could not be read.
    """
    found = places(resolved)
    if not found.any():
        raise UsageError(
            f"mode {resolved.mode} keeps nothing on this machine that could be backed up",
            hint="name the mode of the server, such as --mode persistent; external services have their own tools",
        )
    if target.exists():
        raise UsageError(f"{target} exists already", hint="name another file, or remove it")
    try:
        with tempfile.TemporaryDirectory(prefix="compozy-backup-", dir=target.absolute().parent) as folder:
            _copy_all(found, Path(folder))
            manifest = _manifest(Path(folder))
            _write_archive(Path(folder), manifest, target)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"the backup failed: {error}", hint="check directory, disk space and permissions") from error
    return manifest


def _copy_all(found: Places, staging: Path) -> None:
    with _write_lock(found.database):
        if found.temporal and found.temporal.exists():
            _copy_sqlite(found.temporal, staging / TEMPORAL)
            version = found.temporal.with_name(found.temporal.name + ".version")
            if version.exists():
                shutil.copyfile(version, staging / TEMPORAL_VERSION)
        if found.database and found.database.exists():
            _copy_sqlite(found.database, staging / DATABASE)
    if found.redis and found.redis.exists():
        _copy_redis(found.redis, staging / REDIS)


@contextmanager
def _write_lock(database: Path | None) -> Iterator[None]:
    """Keep every writer out of the database for the length of the block."""
    if database is None or not database.exists():
        yield
        return
    with closing(sqlite3.connect(database, timeout=_LOCK_WAIT_S, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def _copy_sqlite(source: Path, target: Path) -> None:
    """Copy a live SQLite file in one read transaction (https://www.sqlite.org/backup.html)."""
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=_LOCK_WAIT_S)) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)


def _copy_redis(source: Path, target: Path) -> None:
    """Copy append-only files and snapshots; begins anew when the server rewrote them meanwhile."""
    for _ in range(_RETRIES):
        before = _redis_files(source)
        try:
            for name in before:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, target / name)
        except FileNotFoundError:
            before = {}
        if before and _redis_files(source).keys() == before.keys():
            return
        shutil.rmtree(target, ignore_errors=True)
        time.sleep(0.05)
    if _redis_files(source):
        raise BackupError(f"the files in {source} kept changing", hint="try again")
    target.mkdir(exist_ok=True)


def _redis_files(folder: Path) -> dict[str, None]:
    """Return the files of a data directory; a manifest comes before what it names, so that it is never too new."""
    names = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("temp-"))
    return dict.fromkeys(
        str(path.relative_to(folder)) for path in sorted(names, key=lambda path: (path.suffix != ".manifest", path))
    )


def _manifest(staging: Path) -> Manifest:
    files = sorted(str(path.relative_to(staging)) for path in staging.rglob("*") if path.is_file())
    version = staging / TEMPORAL_VERSION
    return Manifest(
        format=FORMAT,
        compozy=__version__,
        layout=LAYOUT,
        created_at=datetime.now(UTC).isoformat(),
        files={name: _digest(staging / name) for name in files},
        sizes={name: (staging / name).stat().st_size for name in files},
        temporal=version.read_text(encoding="utf-8") if version.exists() else None,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_archive(staging: Path, manifest: Manifest, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    content = json.dumps(asdict(manifest), indent=2).encode()
    descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        with (
            os.fdopen(descriptor, "wb") as stream,
            tarfile.open(fileobj=stream, mode="w:gz", compresslevel=3) as archive,
        ):
            head = tarfile.TarInfo(MANIFEST)
            head.size = len(content)
            archive.addfile(head, io.BytesIO(content))
            for name in manifest.files:
                archive.add(staging / name, name)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


def restore(resolved: Resolved, source: Path, *, force: bool) -> Manifest:
    """Put an archive back where the components of `resolved` keep their data.

    With `force` data that is there is moved aside, never deleted.

    Raises:
        UsageError: `resolved` keeps nothing here, or data is there and `force` is not given.
        BackupError: the archive is damaged or newer than this version, or a server is running.
    """
    found = places(resolved)
    if not found.any():
        raise UsageError(
            f"mode {resolved.mode} keeps nothing on this machine",
            hint="name a mode, such as --mode persistent",
        )
    state = StateDirectory(os.path.join(resolved.directory, STATE_DIRECTORY))
    state.acquire()
    try:
        with tempfile.TemporaryDirectory(prefix="restore-", dir=state.path) as folder:
            manifest = _unpack(source, Path(folder))
            _check_room(found, force)
            _put_back(Path(folder), found)
    finally:
        state.release()
    return manifest


def _check_room(found: Places, force: bool) -> None:
    there = [path for path in found.all() if path.exists() and (path.is_file() or any(path.iterdir()))]
    if there and not force:
        names = ", ".join(str(path) for path in there)
        raise UsageError(f"data is there already: {names}", hint="--force moves it aside before restoring")
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for path in there:
        for part in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", ".version"))):
            if part.exists():
                part.rename(part.with_name(f"{part.name}.before-restore-{stamp}"))


def _unpack(source: Path, folder: Path) -> Manifest:
    try:
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="data")
        manifest = Manifest(**json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, tarfile.TarError, EOFError, ValueError, TypeError) as error:
        raise BackupError(f"{source} is not a backup of Compozy, or is damaged: {error}") from error
    if manifest.format > FORMAT or manifest.layout > LAYOUT:
        raise BackupError(
            f"{source} was made by version {manifest.compozy}, which is newer than {__version__}",
            hint=f"restore it with Compozy {manifest.compozy} or newer",
        )
    broken = [name for name, digest in manifest.files.items() if not _intact(folder, name, digest)]
    if broken:
        raise BackupError(f"{source} is damaged: checksums differ for {', '.join(broken)}", hint="use another backup")
    return manifest


def _intact(folder: Path, name: str, digest: str) -> bool:
    path = folder / name
    return path.is_file() and path.resolve().is_relative_to(folder.resolve()) and _digest(path) == digest


def _put_back(folder: Path, found: Places) -> None:
    if found.database:
        _move(folder / DATABASE, found.database)
    if found.temporal:
        _move(folder / TEMPORAL, found.temporal)
        _move(folder / TEMPORAL_VERSION, found.temporal.with_name(found.temporal.name + ".version"))
    if found.redis:
        _move(folder / REDIS, found.redis)


def _move(source: Path, target: Path) -> None:
    if not source.exists():
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if target.is_dir():
        target.rmdir()
    shutil.move(source, target)
    target.chmod(0o700 if target.is_dir() else 0o600)
