"""Driver of SQLite, in memory or in a file: a peewee database for any number of threads.

A damaged file is reported and never written to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compozy.base.output_file import write_file
from compozy.base.system_hints import hint_for
from compozy.drivers.inventory import Holding
from compozy.drivers.preflight import check_kept
from compozy.drivers.protocol import Check, Description, StartContext, Storage
from compozy.drivers.sqlite_turns import TurnConnection, Turns, factory
from compozy.errors import DriverError
from compozy.state.data_files import check_data_files, check_length
from compozy.state.data_lock import DataLock
from compozy.state.file_lock import FileLock, lock_beside
from compozy.state.undo import UndoLog

if TYPE_CHECKING:
    from compozy.drivers.sqlite_pool import SqlitePool

MEMORY = ":memory:"
BESIDE = ("-wal", "-shm", "-journal")  # what SQLite may put beside a file
_LEAST_BYTES = 1024 * 1024
# Reading a larger file through would delay each start; it is checked in part only.
CHECKED_BYTES = 64 * 1024 * 1024
_MAGIC = b"SQLite format 3\0"
APPLICATION_ID = 0x436F6D70  # "Comp": identifies a database file of Compozy (https://www.sqlite.org/pragma.html)
# A table of every database that was made before files had an application id.
_FIRST_RELEASE = "compozy_migrations"


class SqliteDriver:
    """A database that lives as long as the driver (memory) or in a file.

    `path` is `:memory:` or absolute; `busy_timeout_s` is how long a writer waits for others.
    """

    def __init__(self, path: str, busy_timeout_s: float = 5.0) -> None:
        self._path = path
        self._memory = path == MEMORY
        self._data = DataLock(path)
        self._turns = Turns(busy_timeout_s, readers_wait=self._memory)
        self._anchor: sqlite3.Connection | None = None
        self._lock: FileLock | None = None
        self._database: SqlitePool | None = None

    @property
    def handle(self) -> Any:
        """The peewee database."""
        return self._database

    def start(self, context: StartContext) -> None:
        """Open the database; a file is created with mode 0600 in a directory of mode 0700.

        Raises:
            DriverError: the file is in use, cannot be opened, is damaged, or is not a database.
        """
        if not self._memory:
            # Two locks: the one beside the file keeps other projects off a file that does not exist yet, that of the
            # data follows the file when it is renamed or linked.
            self._lock = lock_beside(self._path, context.undo)
        try:
            self.examine(context)
            created = not self._memory and create_file(self._path, context.undo)
            if not self._memory:
                self._data.acquire()
            try:
                self._open()
            except (sqlite3.Error, OSError) as error:
                if created:
                    Path(self._path).unlink(missing_ok=True)
                raise unusable(self._path, "SQLite", error) from error
        except BaseException:
            self.stop(0)
            raise

    def examine(self, context: StartContext) -> None:
        """Check without changes that the file can be used; a missing file can.

        Raises:
            DriverError: it is damaged, is not a database, or cannot be read.
        """
        if not self._memory:
            check_database(self._path)

    def preflight(self, context: StartContext) -> Iterator[Check]:
        """Check the file, its directory and the disk."""
        yield from check_kept(self, context, None if self._memory else self._path, "database.path")

    def storage(self) -> tuple[Storage, ...]:
        """Return the file."""
        return () if self._memory else (Storage("path", self._path, locked=True),)

    def reader(self) -> object:
        """Return a database that reads the file and changes nothing; an empty one if the file does not exist."""
        from peewee import SqliteDatabase

        if self._memory or not os.path.exists(self._path):
            return SqliteDatabase(MEMORY)
        return SqliteDatabase(read_only_uri(self._path), uri=True)

    def holding(self) -> Holding | None:
        """Return the size of the database, its log included; None in memory and for a damaged file."""
        return None if self._memory else database_holding(self._path)

    def _open(self) -> None:
        # SQLite's memdb gives a named database real locks; a shared cache would answer "table is locked".
        name = f"file:/compozy-{uuid.uuid4().hex}?vfs=memdb" if self._memory else self._path
        connection = factory(self._turns)
        timeout_s = self._turns.timeout_s
        self._anchor = sqlite3.connect(
            name, timeout_s, uri=self._memory, check_same_thread=False, isolation_level=None, factory=connection
        )
        if not self._memory:
            # Before the first statement, with which SQLite opens or creates the files beside the database.
            make_writable(self._path)
            self._anchor.execute("PRAGMA journal_mode = wal")
            if self._anchor.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
                self._anchor.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            # A connection opens the log when it first reads; while this one has it, no other creates or deletes it.
            self._anchor.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        self._database = self._pool(name, connection)

    def _pool(self, name: str, connection: type[TurnConnection]) -> SqlitePool:
        from compozy.drivers.sqlite_pool import SqlitePool

        # In WAL mode `normal` syncs at checkpoints only: `kill -9` loses nothing, a power failure the last commits at
        # most.
        pragmas = {"foreign_keys": 1} if self._memory else {"foreign_keys": 1, "synchronous": "normal"}
        # A transaction that begins by reading and then writes cannot wait for others: all of them begin as writers.
        options = {"pragmas": pragmas, "lock_type": "IMMEDIATE", "uri": self._memory, "factory": connection}
        return SqlitePool(name, self._turns, self._data.verify, **options)

    def ping(self) -> None:
        """Read from the database, and see that it could be written.

        Raises:
            DriverError: it does not answer, may not be written, or the disk is full.
        """
        if self._database is None:
            raise DriverError("the database was not started")
        self._data.verify()
        import peewee

        opened = False
        try:
            opened = self._database.connect(reuse_if_open=True)
            self._database.execute_sql("SELECT count(*) FROM sqlite_schema").fetchone()
        except peewee.DatabaseError as error:
            raise DriverError(f"{self._path} does not answer: {error}") from error
        finally:
            if opened:
                self._database.close()
        if not self._memory:
            # A read alone would succeed on a full disk, and readiness would promise writes that fail.
            check_writable(self._path)

    def stop(self, grace_s: float) -> None:
        """Close the database for every thread; an in-memory one is deleted; idempotent."""
        self._turns.close()
        if self._database is not None:
            # This closes also the connections that no thread uses.
            self._database.close()
        self._close_anchor()
        # After the connections: closing any descriptor of a file ends the POSIX locks that SQLite has on it.
        self._data.release()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def _close_anchor(self) -> None:
        anchor, self._anchor = self._anchor, None
        if anchor is not None:
            anchor.close()

    def describe(self) -> Description:
        """Return where the data is."""
        details = {"sqlite": sqlite3.sqlite_version, "journal": "memory" if self._memory else "wal"}
        return Description(self._path, None if self._memory else self._path, details)


def check_file(path: str) -> None:
    """Look through a database file without writing to it; one above 64 MB only in part.

    Raises:
        sqlite3.Error: it is damaged, not a database, or cannot be opened.
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as stream:
        # SQLite would take a file of another format for damaged only at the first read, after it has put files beside
        # it.
        head = stream.read(len(_MAGIC))
    if head and head != _MAGIC:
        raise sqlite3.DatabaseError("file is not a database")
    # SQLite removes the log of an empty file. A rollback journal is harmless: it remains when a creation was killed.
    if not head and os.path.exists(path + "-wal") and os.path.getsize(path + "-wal"):
        raise sqlite3.DatabaseError("it is empty and has a write-ahead log")
    try:
        _look_through(path, read_only_uri(path))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
            raise
        # A writer was killed before the file had its write-ahead log: only a writer can roll back what it left.
        _look_through(path, f"{Path(path).as_uri()}?mode=rw")


def _look_through(path: str, uri: str) -> None:
    # Read-only where possible, because closing a writer would move its log into a file that may be damaged.
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        if Path(path).stat().st_size <= CHECKED_BYTES:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if answer != "ok":
                raise sqlite3.DatabaseError(answer)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def database_holding(path: str) -> Holding | None:
    """Return the size of a database file, its log included; None for a damaged one."""
    try:
        if not os.path.exists(path) or not os.path.getsize(path):
            return Holding(path, (0,) if os.path.exists(path) else ())
        with closing(sqlite3.connect(read_only_uri(path), uri=True)) as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        return Holding(path, (pages * page_bytes,))
    except (sqlite3.Error, OSError):
        return None


def read_only_uri(path: str) -> str:
    """Return the URI with which a file is opened and nothing is written beside it, unless a log has to be read."""
    # `immutable` keeps SQLite from creating `-shm`, but makes it ignore a log; with a log the content is only right
    # with it.
    has_log = any(os.path.exists(path + suffix) for suffix in ("-wal", "-journal"))
    return f"{Path(path).as_uri()}?{'mode=ro' if has_log else 'mode=ro&immutable=1'}"


def check_database(
    path: str, identifier: int = APPLICATION_ID, table: str = _FIRST_RELEASE, setting: str = "database.path"
) -> None:
    """Check without changes that a file can be used; a missing file can.

    Raises:
        DriverError: it is damaged, cannot be read, or is a database of another program: one with tables but neither
            our `identifier` nor our `table`.
    """
    check_length(path)
    check_data_files(*files_of(path))
    if not os.path.exists(path):
        return
    try:
        check_file(path)
        with closing(sqlite3.connect(read_only_uri(path), uri=True)) as connection:
            (found,) = connection.execute("PRAGMA application_id").fetchone()
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    except (sqlite3.Error, OSError) as error:
        raise unusable(path, "SQLite", error) from error
    # 0 is the default of SQLite: files of the first release have it, and so has any new file.
    ours = found == identifier or (found == 0 and (not tables or table in tables))
    if not ours:
        raise DriverError(
            f"{path} is a database of another program", hint=f"choose another {setting}; nothing was changed in it"
        )


def make_writable(path: str) -> None:
    """Copy the mode of the database to the files beside it; SQLite makes those of a read-only database read-only."""
    mode = Path(path).stat().st_mode & 0o777
    for beside in (Path(path + suffix) for suffix in BESIDE):
        if beside.is_file() and not beside.is_symlink():
            with contextlib.suppress(PermissionError):
                beside.chmod(mode)


def check_writable(path: str) -> None:
    """Check that a database file can be written and its log can grow.

    Raises:
        DriverError: it cannot.
    """
    if not os.access(path, os.W_OK):
        raise DriverError(f"{path} may not be written", hint="check its permissions")
    if shutil.disk_usage(os.path.dirname(path)).free < _LEAST_BYTES:
        raise DriverError(f"{path} cannot grow: the disk is full", hint="make room on the disk")


def unusable(path: str, kind: str, error: sqlite3.Error | OSError) -> DriverError:
    """Return the error for an unusable database file of some kind (`SQLite`, `Temporal`)."""
    if isinstance(error, sqlite3.OperationalError | OSError):
        reason = getattr(error, "strerror", None) or str(error)
        return DriverError(f"{path} cannot be opened: {reason}", hint="check its permissions and the disk")
    return DriverError(
        f"{path} is damaged or not a {kind} database: {error}",
        hint="restore a backup, or move the file aside to begin with an empty one; nothing was changed in it",
    )


def files_of(path: str) -> tuple[str, ...]:
    """Return a database file and those that SQLite may put beside it."""
    return (path, *(path + suffix for suffix in BESIDE))


def create_file(path: str, undo: UndoLog) -> bool:
    """Create the file, whose lock is held, if it is missing; return True if it was."""
    if os.path.exists(path):
        return False
    try:
        write_file(path, "", replace=False)
    except OSError as error:
        raise DriverError(f"{path} cannot be created: {error.strerror}", hint=hint_for(error)) from error
    undo.record_data(path, *(path + suffix for suffix in BESIDE))
    return True
