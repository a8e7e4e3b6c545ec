"""Serve the HTTP application on an event loop that its owner runs.

It installs no signal handlers. Stopping refuses new requests and lets those in flight end.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable
from typing import TypeVar

import uvicorn
from starlette.applications import Starlette

from compozy.drivers.port import Port
from compozy.drivers.protocol import LoopThread
from compozy.errors import DriverError
from compozy.server.connection import bounded
from compozy.server.limits import Limits
from compozy.server.listen import BACKLOG, listen
from compozy.server.openapi import STYLE_SOURCE
from compozy.settings.values import EVERY_ADDRESS

START_TIMEOUT_S = 10.0
STOP_MARGIN_S = 5.0
# Part of the time of each start.
START_POLL_S = 0.001
# asyncio accepts this many connections in a row before the bound applies, and logs as many errors when files run out
# (https://github.com/python/cpython/issues/151615).
ACCEPTED_AT_ONCE = 8
_POLICY = ("default-src 'none'", f"style-src {STYLE_SOURCE}", "base-uri 'none'", "form-action 'none'")
SECURITY_HEADERS = (
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "; ".join((*_POLICY, "frame-ancestors 'none'"))),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
)
_DEFAULT_LIMITS = Limits()
Result = TypeVar("Result")


class HttpServer:
    """One application on one socket."""

    def __init__(
        self,
        app: Starlette,
        loop: LoopThread,
        *,
        host: str,
        port: Port,
        notice: Callable[[str], None] = lambda text: None,
        limits: Limits = _DEFAULT_LIMITS,
    ) -> None:
        """Prepare a server."""
        self._app = app
        self._loop = loop
        self._host = host
        self._wanted = port
        self._notice = notice
        self._limits = limits
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.port = port.number

    @property
    def url(self) -> str:
        """Return the address for a browser on this machine."""
        host = EVERY_ADDRESS.get(self._host, self._host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def connections(self) -> int:
        """Return the number of open connections."""
        return len(self._server.server_state.connections) if self._server is not None else 0

    def bind(self) -> None:
        """Listen; connections wait until `start` accepts them.

        Raises:
            PortBusyError: the chosen port is taken.
            DriverError: the address cannot be listened on.
        """
        self._socket = listen(self._host, self._wanted, self._notice)
        self.port = self._socket.getsockname()[1]

    def start(self) -> None:
        """Accept connections, listening first unless `bind` has; returns when requests are answered.

        Raises:
            PortBusyError: the chosen port is taken.
            DriverError: the address cannot be listened on, or the application does not start; nothing listens.
        """
        if self._socket is None:
            self.bind()
        try:
            self._loop.call(self._start(), START_TIMEOUT_S)
        except BaseException:
            self.stop(0)
            raise

    def stop(self, grace_s: float) -> None:
        """Refuse new requests and let those in flight end within `grace_s` (0: at once); idempotent."""
        if self._server is not None:
            # The margin covers the shutdown of uvicorn itself, after its requests have ended.
            self._loop.call(self._stop(grace_s), grace_s + STOP_MARGIN_S)
        if self._socket is not None:
            self._socket.close()

    async def _start(self) -> None:
        assert self._socket is not None
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            http=bounded(self._limits),
            backlog=ACCEPTED_AT_ONCE,
            headers=list(SECURITY_HEADERS),
            ws="none",
            lifespan="on",
            proxy_headers=False,
            server_header=False,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(self._serve(server, self._socket), name="compozy http")
        # uvicorn has no event for it, and takes a few milliseconds.
        while not server.started:
            if serving.done():
                raise DriverError("the HTTP interface did not start") from serving.exception()
            await asyncio.sleep(START_POLL_S)
        # uvicorn passes its backlog to asyncio as well; the queue of the system may be longer.
        self._socket.listen(BACKLOG)
        self._server, self._serving = server, serving

    async def _serve(self, server: uvicorn.Server, opened: socket.socket) -> None:
        try:
            await server.serve(sockets=[opened])
        # uvicorn raises SystemExit when the application does not start, which would end the process.
        except SystemExit as error:
            raise DriverError("the HTTP interface did not start") from error

    async def _stop(self, grace_s: float) -> None:
        server, self._server = self._server, None
        if server is None or self._serving is None:
            return
        # Before the shutdown: requests that wait for an execution would otherwise use up the grace.
        self._app.state.api.drain()
        # uvicorn takes whole seconds, and rounding down could cut requests off within the grace.
        server.config.timeout_graceful_shutdown = math.ceil(grace_s)
        server.should_exit = True
        await asyncio.wait([self._serving])
