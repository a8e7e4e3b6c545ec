"""A real PostgreSQL server for the duration of a test run, on a free loopback port.

It ends with this process, `kill -9` included, and leaves no file behind.
"""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from compozy.drivers.child import responds
from compozy.drivers.process import Command
from compozy.errors import DriverError
from compozy.testing.cluster import USER, make_cluster
from compozy.testing.databases import Databases
from compozy.testing.server import HOST, Server
from compozy.testing.server_binaries import Account, copy_postgres, find_postgres, server_account

if TYPE_CHECKING:
    from psycopg2.extensions import connection

# The line of postmaster.pid with key and number of the segment, counted from 0.
_SEGMENT_LINE = 6
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


class PostgresServer(Server, Databases):
    """A PostgreSQL server; a context manager that removes everything at its end.

    `stop` and `start` in between keep data, port and password, as a restart of a real server does.
    """

    name = "postgres"
    # PostgreSQL's fast shutdown: clients are disconnected instead of waited for.
    stop_signal = signal.SIGINT
    close_signal = signal.SIGQUIT

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        Server.__init__(self)
        Databases.__init__(self)
        self.password = ""
        self._settings = {**_SETTINGS, **(settings or {})}
        self._account: Account = server_account()
        self._binaries = Path()

    @property
    def url(self) -> str:
        """The URL of the database `postgres`; it holds the password."""
        return f"postgresql://{USER}:{self.password}@{self.address}/postgres"

    @property
    def dsn(self) -> str:
        """The same as a libpq connection string."""
        return f"host={HOST} port={self.port} user={USER} password={self.password} dbname=postgres"

    def close(self) -> None:
        """Stop the server and remove everything; idempotent."""
        self._templates.clear()
        super().close()

    def _launch(self, folder: Path) -> None:
        if not (folder / "data").exists():
            self._prepare(folder)
        super()._launch(folder)
        _mark_segment(folder / "data")

    def _prepare(self, folder: Path) -> None:
        """Fill the directory of the server, which runs as another user when we are root."""
        (folder / "socket").mkdir(mode=0o700)
        self._account.own(folder)
        found = find_postgres()
        usable = self._account.can_run(found / "postgres")
        self._binaries = found if usable else copy_postgres(found, folder)
        make_cluster(folder, self._binaries, self._account)
        self.password = (folder / "password").read_text()

    def _command(self, folder: Path) -> Command:
        own = {"port": str(self.port), "listen_addresses": HOST, "unix_socket_directories": str(folder / "socket")}
        settings = [f"--{name}={value}" for name, value in {**self._settings, **own}.items()]
        argv = [str(self._binaries / "postgres"), "-D", str(folder / "data"), *settings]
        return Command("postgres", self._account.command(argv))

    def _answers(self) -> bool:
        return responds(self._administrator)

    def _connect(self) -> connection:
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
        super()._end(number)


def _mark_segment(data: Path) -> None:
    """Mark the server's small System V segment for removal: it then goes with the last process, however that ends."""
    lines = (data / "postmaster.pid").read_text().splitlines()
    if len(lines) > _SEGMENT_LINE and lines[_SEGMENT_LINE].strip():
        ctypes.CDLL(None).shmctl(int(lines[_SEGMENT_LINE].split()[1]), _IPC_RMID, None)
