"""Hold the data of several components at one moment, and copy it afterwards while they continue.

The write lock of the database is held until every other store is held as well, so the database is at that moment too.
A SQLite file is held by a read transaction. Files are held by open descriptors and their sizes at the moment, which is
enough for files that are appended to or replaced, such as those of Redis; it is tried again while they grow. The writer
of a directory whose files are overwritten in place waits until it is copied.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import BinaryIO

from compozy.base.output_file import new_file, open_regular
from compozy.base.record import dataclass
from compozy.errors import BackupError
from compozy.state.write_gate import WriteGate

_MAGIC = b"SQLite format 3\0"
_LOCK_WAIT_S = 5.0
_TRIES = 200
_CHUNK_BYTES = 1024 * 1024
# The beginning of the names of files that Redis or an embedded Qdrant is still writing.
_TEMPORARY = "temp-"


@dataclass(frozen=True, slots=True)
class CopiedData:
    """A file or directory that is copied to `name`.

    Writers of a `locked` SQLite file wait for the moment, those of a `locked` directory until it is copied.
    """

    name: str
    path: Path
    locked: bool = False


def copy_at_one_moment(stores: Sequence[CopiedData], folder: Path) -> None:
    """Copy the stores into `folder`.

    Raises:
        BackupError: a file was truncated or overwritten meanwhile.
        OSError: something cannot be read or written.
        sqlite3.Error: a database is damaged, or its write lock is not free in time.
    """
    with ExitStack() as opened, ExitStack() as gates, ExitStack() as locks:
        # Everything is opened before the locks are taken, which keeps the moment for which writers wait short.
        databases = [opened.enter_context(_database(store, folder)) for store in stores if _is_sqlite(store.path)]
        files = [opened.enter_context(closing(_Files(store))) for store in stores if not _is_sqlite(store.path)]
        for store in stores:
            if store.locked and _is_sqlite(store.path) and _is_writable(store.path):
                locks.enter_context(_write_lock(store.path))
        for store in stores:
            if store.locked and os.path.isdir(store.path) and os.access(store.path, os.W_OK):
                gates.enter_context(gates.enter_context(closing(WriteGate(store.path))).held())
        _hold(databases, files)
        # From here on the read transactions and descriptors hold the moment; writers continue while the copies are
        # made.
        locks.close()
        for part in files:
            if part.locked:
                part.copy(folder)
        gates.close()
        for database in databases:
            database.copy(folder)
        for part in files:
            if not part.locked:
                part.copy(folder)


def _hold(databases: Sequence[_Database], files: Sequence[_Files]) -> None:
    """Begin every read transaction while no file changes; after many tries the databases are later than the files."""
    # No lock stops the writers of files. An equal scan before and after the transactions began proves that nothing
    # changed in between, so that both are of one moment.
    for _ in range(_TRIES):
        for part in files:
            part.look()
        for database in databases:
            database.begin()
        if all(part.is_unchanged() for part in files):
            return
        for database in databases:
            database.end()
    for database in databases:
        database.begin()


def _is_sqlite(path: Path) -> bool:
    if not path.is_file():
        return False
    with open_regular(path) as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def _is_writable(path: Path) -> bool:
    """Return False on a read-only disk, where SQLite cannot put its files beside a database and no process writes."""
    return os.access(path.parent, os.W_OK)


@contextmanager
def _write_lock(database: Path) -> Iterator[None]:
    """Keep every writer out of the database for the length of the block."""
    with closing(sqlite3.connect(database, timeout=_LOCK_WAIT_S, isolation_level=None)) as connection:
        # Takes the write lock without writing; a deferred transaction would take it at its first write only.
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


@contextmanager
def _database(store: CopiedData, folder: Path) -> Iterator[_Database]:
    with ExitStack() as held:
        path = store.path
        if not _is_writable(path):
            path = _copied_with_log(path, folder / f"{store.name}.readable")
            held.callback(shutil.rmtree, path.parent)
        address = f"{path.absolute().as_uri()}?mode={'ro' if path == store.path else 'rw'}"
        # Writable only for the copy: its log has to be recovered before it can be read.
        connection = sqlite3.connect(address, uri=True, timeout=_LOCK_WAIT_S, isolation_level=None)
        yield _Database(store.name, held.enter_context(closing(connection)))


def _copied_with_log(path: Path, room: Path) -> Path:
    """Copy a database that no process writes, with its log, to a place where SQLite can open it."""
    room.mkdir(mode=0o700)
    for suffix in ("", "-wal", "-journal"):
        if os.path.exists(f"{path}{suffix}"):
            with open_regular(f"{path}{suffix}") as content, new_file(room / f"copy{suffix}") as copy:
                shutil.copyfileobj(content, copy, _CHUNK_BYTES)
    return room / "copy"


class _Database:
    """A SQLite file, held by a read transaction (https://www.sqlite.org/isolation.html)."""

    def __init__(self, name: str, connection: sqlite3.Connection) -> None:
        self._name = name
        self._connection = connection

    def begin(self) -> None:
        """Hold the present content; SQLite takes its snapshot at the first read."""
        self._connection.execute("BEGIN")
        self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()

    def end(self) -> None:
        """Release it."""
        self._connection.execute("ROLLBACK")

    def copy(self, folder: Path) -> None:
        """Copy what is held."""
        with closing(sqlite3.connect(folder / self._name)) as copy:
            self._connection.backup(copy)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The identity, size in bytes and time of change of a file."""

    inode: int
    size: int
    changed_ns: int


class _Files:
    """A file, or the files below a directory, held by open descriptors."""

    def __init__(self, store: CopiedData) -> None:
        self._store = store
        self.locked = store.locked
        self._seen: dict[str, _Seen] = {}
        self._open: dict[int, BinaryIO] = {}

    def look(self) -> None:
        """Open every file and note its size."""
        while True:
            self._seen = self._scan()
            unopened = [name for name, seen in self._seen.items() if seen.inode not in self._open]
            if not unopened:
                return
            for name in unopened:
                self._open_file(name)

    def _open_file(self, name: str) -> None:
        try:
            stream = open_regular(self._store.path / name)
        except FileNotFoundError:
            # The file was replaced since the scan; the next scan finds the new one.
            return
        # By inode: a file that is renamed meanwhile is the same, and one that replaces it is another.
        previous = self._open.setdefault(os.fstat(stream.fileno()).st_ino, stream)
        if previous is not stream:
            stream.close()

    def is_unchanged(self) -> bool:
        """Return True if no file was added, removed or written since `look`."""
        return self._scan() == self._seen

    def _scan(self) -> dict[str, _Seen]:
        if not self._store.path.is_dir():
            return {"": _seen(os.lstat(self._store.path))}
        return dict(_scanned(str(self._store.path), ""))

    def copy(self, folder: Path) -> None:
        """Copy each file up to the size that it had."""
        if self._store.path.is_dir():
            (folder / self._store.name).mkdir(mode=0o700, exist_ok=True)
        for name, seen in self._seen.items():
            target = folder / self._store.name / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with new_file(target, replace=False) as copy:
                if _copy_prefix(self._open[seen.inode], copy, seen.size) < seen.size:
                    raise BackupError(f"{self._store.path / name} was truncated during the backup", hint="try again")

    def close(self) -> None:
        """Close the descriptors."""
        for stream in self._open.values():
            stream.close()


def _seen(found: os.stat_result) -> _Seen:
    return _Seen(found.st_ino, found.st_size, found.st_mtime_ns)


def _scanned(folder: str, prefix: str) -> Iterator[tuple[str, _Seen]]:
    for entry in os.scandir(folder):
        if entry.name.startswith(_TEMPORARY):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _scanned(entry.path, f"{prefix}{entry.name}/")
        elif entry.is_file(follow_symlinks=False):
            try:
                yield prefix + entry.name, _seen(os.lstat(entry.path))
            except FileNotFoundError:
                continue


def _copy_prefix(source: BinaryIO, target: BinaryIO, size: int) -> int:
    """Copy up to `size` bytes from the beginning; return how many there were."""
    source.seek(0)
    left = size
    while left and (chunk := source.read(min(left, _CHUNK_BYTES))):
        target.write(chunk)
        left -= len(chunk)
    return size - left
