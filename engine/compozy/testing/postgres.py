"""A real PostgreSQL for the length of a test run.

What comes in: nothing, or further server settings. What goes out: a server on a free loopback port, fresh databases
in a few milliseconds. It cannot outlive this process, `kill -9` included, and leaves no file behind.
"""

from __future__ import annotations

import ctypes
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compozy.drivers.ports import free_port
from compozy.drivers.process import Command, Process
from compozy.errors import DriverError
from compozy.testing.binaries import Account, copy_postgres, find_postgres, server_account
from compozy.testing.cluster import USER, make_cluster
from compozy.testing.databases import Databases
from compozy.testing.scratch import Scratch, ignore

HOST = "127.0.0.1"
START_S = 30.0
_STOP_S = 10.0
_POLL_S = 0.002
_ATTEMPTS = 3
_PORT_TAKEN = "Address already in use"
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


class PostgresServer(Databases):
    """A PostgreSQL server; a context manager that removes everything at its end.

    `stop` and `start` in between keep data, port and password, as a restart of a real server does.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.port = 0
        self.password = ""
        self._settings = {**_SETTINGS, **(settings or {})}
        self._account: Account = server_account()
        self._scratch: Scratch | None = None
        self._binaries = Path()
        self._process: Process | None = None

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    @property
    def url(self) -> str:
        """The URL of the database `postgres`; it holds the password."""
        return self.url_of("postgres")

    @property
    def dsn(self) -> str:
        """The same as a libpq connection string."""
        return f"host={HOST} port={self.port} user={USER} password={self.password} dbname=postgres"

    @property
    def pid(self) -> int | None:
        """The process id, or None when it does not run."""
        return self._process.pid if self._process is not None and self.running() else None

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
            if self._scratch is None:
                self._scratch = Scratch("pg")
                self._prepare(self._scratch.path)
            self._launch(self._scratch.path)
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
        self._templates.clear()
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            scratch.remove()

    def _prepare(self, folder: Path) -> None:
        """Fill the directory of the server, which runs as another user when we are root."""
        (folder / "socket").mkdir(mode=0o700)
        self._account.own(folder)
        found = find_postgres()
        usable = self._account.can_run(found / "postgres")
        self._binaries = found if usable else copy_postgres(found, folder)
        make_cluster(folder, self._binaries, self._account)
        self.password = (folder / "password").read_text()

    def _launch(self, folder: Path) -> None:
        """Try again when somebody took the port between our look and the server's; a restart keeps its port."""
        chosen = self.port
        for left in reversed(range(_ATTEMPTS)):
            self.port = chosen or free_port(HOST)
            self.server_url = f"postgresql://{USER}:{self.password}@{HOST}:{self.port}/postgres"
            process = self._process = Process(self._command(folder), ignore, ignore)
            if self._answers(process):
                _mark_segment(folder / "data")
                return
            process.kill()
            if chosen or not left or _PORT_TAKEN not in process.tail():
                raise DriverError(f"postgres did not start:\n{process.tail()}")

    def _command(self, folder: Path) -> Command:
        own = {"port": str(self.port), "listen_addresses": HOST, "unix_socket_directories": str(folder / "socket")}
        settings = [f"--{name}={value}" for name, value in {**self._settings, **own}.items()]
        argv = [str(self._binaries / "postgres"), "-D", str(folder / "data"), *settings]
        return Command("postgres", self._account.command(argv))

    def _answers(self, process: Process) -> bool:
        deadline = time.monotonic() + START_S
        while process.running() and time.monotonic() < deadline:
            try:
                self._administrator()
            except DriverError:
                time.sleep(_POLL_S)
            else:
                return True
        return False

    def _connect(self) -> Any:
        """Connect through the socket: no password, and no port that could be another's."""
        import psycopg2

        if self._scratch is None or self._process is None:
            raise DriverError("the PostgreSQL server does not run", hint="start it before asking for databases")
        socket = str(self._scratch.path / "socket")
        try:
            return psycopg2.connect(host=socket, port=self.port, user=USER, dbname="postgres")
        except psycopg2.OperationalError as error:
            raise DriverError(f"the PostgreSQL server does not answer: {str(error).strip()}") from error

    def _end(self, number: signal.Signals | None) -> None:
        self.disconnect()
        process, self._process = self._process, None
        if process is None:
            return
        if number is not None:
            process.signal(number)
            process.wait(_STOP_S)
        process.kill()


def _mark_segment(data: Path) -> None:
    """Mark the server's small System V segment for removal: it then goes with the last process, however that ends."""
    lines = (data / "postmaster.pid").read_text().splitlines()
    if len(lines) > _SEGMENT_LINE and lines[_SEGMENT_LINE].strip():
        ctypes.CDLL(None).shmctl(int(lines[_SEGMENT_LINE].split()[1]), _IPC_RMID, None)
