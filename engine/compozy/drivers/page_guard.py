"""Put an HTTP guard in front of a web page that answers requests for any host.

A page of another origin, or one whose name was rebound to this machine, sends a foreign `Host` or `Origin`; both are
refused here. Each connection carries one request, so that no second request passes unchecked behind the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from compozy.drivers.protocol import LoopThread
from compozy.errors import DriverError

HEAD_BYTES = 64 * 1024
# A client that sends no complete head would otherwise hold one of `MOST_CONNECTIONS` for ever.
HEAD_S = 10.0
MOST_CONNECTIONS = 128
_BLOCK = 64 * 1024
_CALL_S = 5.0
_REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class PageGuard:
    """Forwards requests from `listener` to `target` when their `Host` and `Origin` are those of the listener."""

    def __init__(self, loop: LoopThread, listener: socket.socket, target: tuple[str, int]) -> None:
        """Start to serve; `listener` is closed by `stop`."""
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        self._hosts = {f"{shown}:{port}", f"localhost:{port}"}
        self._target = target
        self._loop = loop
        self._open: set[asyncio.Task[None]] = set()
        self._server = loop.call(asyncio.start_server(self._serve, sock=listener, limit=HEAD_BYTES), _CALL_S)

    def stop(self) -> None:
        """Close the listener and every connection."""
        # A loop that has ended has closed the connections.
        with contextlib.suppress(DriverError):
            self._loop.call(self._close(), _CALL_S)

    async def _close(self) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._open) >= MOST_CONNECTIONS:
            writer.close()
            return
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        failures = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
        with contextlib.closing(writer), contextlib.suppress(*failures):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_S)
            if self.allows(head):
                await self._forward(single(head), reader, writer)
            else:
                writer.write(_REFUSAL)
                await writer.drain()

    async def _forward(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection(*self._target)
        with contextlib.closing(requests):
            requests.write(head)
            # Both directions at once: a server may answer before it has read the whole body.
            body = asyncio.ensure_future(_copy(reader, requests))
            try:
                await _copy(answers, writer)
            finally:
                body.cancel()

    def allows(self, head: bytes) -> bool:
        """Return True if a request head names this address as its only host, and no other origin."""
        fields = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
        # Exactly one: two `Host` fields, or a bare line feed, could be read differently by the server behind.
        hosts = _values(fields, b"host")
        return (
            b"\n" not in head.replace(b"\r\n", b"")
            and len(hosts) == 1
            and hosts[0] in self._hosts
            and all(origin.removeprefix("http://") in self._hosts for origin in _values(fields, b"origin"))
        )


def single(head: bytes) -> bytes:
    """Return a request head that asks the server to close the connection after its answer."""
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    # A second request on the same connection would reach the server without passing `allows`.
    return b"\r\n".join([lines[0], b"Connection: close", *lines[1:]])


def _values(fields: list[tuple[bytes, bytes, bytes]], name: bytes) -> list[str]:
    return [value.strip().decode("latin-1").lower() for key, _, value in fields if key.strip().lower() == name]


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(_BLOCK):
        target.write(data)
        await target.drain()
