"""A real PostgreSQL for the length of a test run.

What comes in: nothing, or further server settings. What goes out: a server on a free loopback port, fresh databases
in a few milliseconds. It cannot outlive this process, `kill -9` included, and leaves no file behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from compozy.drivers.ports import free_port
from compozy.drivers.process import Command, Process
from compozy.errors import DriverError
from compozy.testing.binaries import Account, copy_postgres, find_postgres, server_account
from compozy.testing.cluster import USER, make_cluster

HOST = "127.0.0.1"
START_S = 30.0
_STOP_S = 10.0
_POLL_S = 0.002
_ROOM = 512 * 1024 * 1024  # bytes that memory must have left to hold databases
_SOCKET_PATH = 90  # characters; the system's limit for a socket's whole path is 107
_CHOICE = 150000  # the first version that knows strategies of copying
_SEGMENT_LINE = 6  # of postmaster.pid: key and number of the segment
_IPC_RMID = 0
_SETTINGS: Mapping[str, str] = {
    # A killed server loses nothing with these, only a killed machine would.
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "1d",
    # Files below the data directory go with it; shared memory of a killed server would stay.
    "dynamic_shared_memory_type": "mmap",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "jit": "off",
    "autovacuum": "off",
    "log_min_messages": "warning",
    "logging_collector": "off",
}


class PostgresServer:
    """A PostgreSQL server; a context manager that removes everything at its end.

    `stop` and `start` in between keep data, port and password, as a restart of a real server does. Databases are
    made and dropped from any thread.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.port = 0
        self.password = ""
        self._settings = {**_SETTINGS, **(settings or {})}
        self._account: Account = server_account()
        self._folder: Path | None = None
        self._binaries = Path()
        self._keeper: Process | None = None
        self._process: Process | None = None
        self._connection: Any = None
        self._templates: set[str] = set()
        self._lock = threading.RLock()

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The URL of the database `postgres`; it holds the password."""
        return self.url_of("postgres")

    @property
    def dsn(self) -> str:
        """The same as a libpq connection string."""
        return f"host={HOST} port={self.port} user={USER} password={self.password} dbname=postgres"

    def url_of(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://{USER}:{self.password}@{HOST}:{self.port}/{quote(database, safe='')}"

    def running(self) -> bool:
        """Tell whether the server process is there."""
        return self._process is not None and self._process.running()

    def start(self) -> None:
        """Start the server and return when it answers; no effect on one that runs.

        Raises:
            DriverError: there are no binaries, or the server did not answer in time.
        """
        if self.running():
            return
        try:
            if self._folder is None:
                self._folder = self._make_folder()
                self._binaries = self._usable_binaries(self._folder)
                make_cluster(self._folder, self._binaries, self._account)
                self.password = (self._folder / "password").read_text()
            self._launch(self._folder)
        except BaseException:
            self.close()
            raise

    def stop(self) -> None:
        """Shut down as an administrator does: clients are disconnected, data stays; idempotent."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill the server with `kill -9`; data stays, and the next start recovers it."""
        self._end(None)

    def close(self) -> None:
        """Stop the server and remove everything; idempotent."""
        self._end(signal.SIGQUIT)
        keeper, self._keeper, self._folder = self._keeper, None, None
        self._templates.clear()
        if keeper is not None:
            keeper.kill()

    def create_database(self, name: str | None = None, *, template: str = "template1") -> str:
        """Create a database and return its name; None makes one up.

        Raises:
            DriverError: it exists, or the server does not run.
        """
        chosen = name or f"fresh_{uuid.uuid4().hex[:12]}"
        self._administer(f"CREATE DATABASE {_name(chosen)} TEMPLATE {_name(template)}{self._strategy()}")
        return chosen

    def drop_database(self, name: str) -> None:
        """Drop a database, with whoever is connected to it; one that is not there is no error.

        Raises:
            DriverError: the server does not run.
        """
        self._administer(f"DROP DATABASE IF EXISTS {_name(name)} WITH (FORCE)")

    def template(self, name: str, prepare: Callable[[str], None]) -> str:
        """Return `name`, a database that `prepare` filled; it gets the URL once, on the first call.

        `prepare` must close its connections: a database in use cannot be copied.
        """
        with self._lock:
            if name not in self._templates:
                self.create_database(name)
                try:
                    prepare(self.url_of(name))
                except BaseException:
                    self.drop_database(name)
                    raise
                self._templates.add(name)
        return name

    @contextlib.contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Give the URL of a fresh copy of `template`, and drop it afterwards."""
        name = self.create_database(template=template)
        try:
            yield self.url_of(name)
        finally:
            if self.running():
                self.drop_database(name)

    def _strategy(self) -> str:
        """Return how to copy: as files, which takes half the time, where there is a choice."""
        version = self._connection.server_version if self._connection is not None else 0
        return " STRATEGY file_copy" if version >= _CHOICE else ""

    def _make_folder(self) -> Path:
        """Make the folder of everything; another process removes it when we end."""
        folder = _roomy() / f"compozy-pg-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        command = Command("postgres-data", ("sleep", "2147483647"), scratch=str(folder))
        self._keeper = Process(command, _ignore, _ignore)
        deadline = time.monotonic() + START_S
        while not folder.exists():
            if not self._keeper.running() or time.monotonic() > deadline:
                raise DriverError(f"{folder} could not be made: {self._keeper.tail()}")
            time.sleep(_POLL_S)
        (folder / "socket").mkdir(mode=0o700)
        self._account.own(folder)
        return folder

    def _usable_binaries(self, folder: Path) -> Path:
        """Return binaries that the server's user may run: where they are, else copies."""
        found = find_postgres()
        return found if self._account.can_run(found / "postgres") else copy_postgres(found, folder)

    def _launch(self, folder: Path) -> None:
        while True:
            self.port = self.port or free_port(HOST)
            process = self._process = Process(self._command(folder), _ignore, _ignore)
            if self._answers(process):
                _mark_segment(folder / "data")
                return
            process.kill()
            # Between choosing a port and listening on it somebody else may take it.
            if self._templates or "Address already in use" not in process.tail():
                raise DriverError(f"postgres did not start:\n{process.tail()}")
            self.port = 0

    def _command(self, folder: Path) -> Command:
        own = {"port": str(self.port), "listen_addresses": HOST, "unix_socket_directories": str(folder / "socket")}
        settings = [f"--{name}={value}" for name, value in {**self._settings, **own}.items()]
        argv = [str(self._binaries / "postgres"), "-D", str(folder / "data"), *settings]
        return Command("postgres", self._account.command(argv))

    def _answers(self, process: Process) -> bool:
        deadline = time.monotonic() + START_S
        while process.running() and time.monotonic() < deadline:
            if self._connected():
                return True
            time.sleep(_POLL_S)
        return False

    def _connected(self) -> bool:
        """Connect as administrator, through the socket: no password, and no port that could be another's."""
        import psycopg2

        try:
            self._connection = psycopg2.connect(
                host=str((self._folder or Path()) / "socket"), port=self.port, user=USER, dbname="postgres"
            )
        except psycopg2.OperationalError:
            return False
        self._connection.autocommit = True
        return True

    def _administer(self, statement: str) -> None:
        import psycopg2

        with self._lock:
            if self._connection is None:
                raise DriverError("the PostgreSQL server does not run", hint="start it before asking for databases")
            try:
                with self._connection.cursor() as cursor:
                    cursor.execute(statement)
            except psycopg2.Error as error:
                raise DriverError(f"{statement}: {str(error).strip()}") from error

    def _end(self, number: signal.Signals | None) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        process, self._process = self._process, None
        if process is None:
            return
        if number is not None:
            process.signal(number)
            process.wait(_STOP_S)
        process.kill()


def _ignore(_: object) -> None:
    """Take a line of the log; the last ones are kept by the process."""


def _name(database: str) -> str:
    escaped = database.replace('"', '""')
    return f'"{escaped}"'


def _mark_segment(data: Path) -> None:
    """Mark the server's small System V segment for removal: it then goes with the last process, however that ends."""
    lines = (data / "postmaster.pid").read_text().splitlines()
    if len(lines) > _SEGMENT_LINE and lines[_SEGMENT_LINE].strip():
        ctypes.CDLL(None).shmctl(int(lines[_SEGMENT_LINE].split()[1]), _IPC_RMID, None)


def _roomy() -> Path:
    """Return a place for temporary files: memory where there is enough of it, else the disk."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK | os.X_OK):
        seen = os.statvfs(memory)
        if seen.f_bavail * seen.f_frsize > _ROOM:
            return memory
    chosen = Path(tempfile.gettempdir())
    return chosen if len(str(chosen)) < _SOCKET_PATH - 50 else Path("/tmp")
