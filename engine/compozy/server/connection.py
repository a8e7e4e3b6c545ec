"""Bound what one HTTP connection, and all of them together, may hold.

uvicorn limits neither the time that a request head takes, nor a client that reads no answer, nor the number of open
connections. Here every state in which only the client can act has a deadline, and at the bound the connection that has
waited the longest for its request is closed in favour of a new one, so that silent clients never keep others out.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import ClassVar

import h11
import msgspec
from uvicorn.protocols.http.h11_impl import H11Protocol

from compozy.server.limits import Limits
from compozy.server.problem_details import MEDIA_TYPE, problem_document


class BoundedConnection(H11Protocol):
    """An HTTP/1.1 connection with deadlines; `limits` is set by `bounded`."""

    limits: ClassVar[Limits] = Limits()
    waits_since = 0.0
    _deadline: asyncio.TimerHandle | None = None

    @property
    def awaits_request(self) -> bool:
        """Return True while no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection; at the limit another one, or this one, is closed."""
        # Counted before this connection is added by `super`.
        full = len(self.connections) >= self.limits.connections
        super().connection_made(transport)
        self.waits_since = self.loop.time()
        # A flood of silent connections must not keep new ones out: the one that waits the longest is the least useful.
        if full:
            self._make_room()
        self._arm(self.limits.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read; the deadline runs on until a whole request head is there."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Begin the deadline of the next request, or of closing."""
        self.waits_since = self.loop.time()
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Begin the deadline of a client that does not read."""
        super().pause_writing()
        self._disarm()
        self._arm(self.limits.write_s)

    def resume_writing(self) -> None:
        """End the deadline of a client that reads."""
        super().resume_writing()
        self._disarm()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP; an answer that has begun is cut off."""
        self._refuse(HTTPStatus.BAD_REQUEST, "http.malformed", "the request is malformed, or its head is too long")

    def _watch(self) -> None:
        if self.transport.is_closing():
            self._arm(self.limits.linger_s)
        elif self.awaits_request:
            self._arm(self.limits.head_s)
        elif not self.flow.write_paused:
            self._disarm()

    def _arm(self, seconds: float) -> None:
        # A running deadline stays, so that a client cannot extend it by sending single bytes.
        if self._deadline is None:
            self._deadline = self.loop.call_later(seconds, self._expired)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expired(self) -> None:
        self._deadline = None
        # An answer has begun, or the client does not read: another answer could not be sent, so that the connection is
        # cut off.
        if self.transport.is_closing() or self.flow.write_paused or self.conn.our_state is not h11.IDLE:
            self.transport.abort()
            return
        text = f"the request did not arrive within {self.limits.head_s:g} s"
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, "http.timeout", text)
        self._arm(self.limits.linger_s)

    def _make_room(self) -> None:
        others = [other for other in self.connections if isinstance(other, BoundedConnection) and other is not self]
        waiting = [other for other in others if other.awaits_request]
        oldest = min(waiting, key=lambda other: other.waits_since, default=self)
        # At once and not at `connection_lost`, so that the next connection does not count it again.
        self.connections.discard(oldest)
        oldest.transport.abort()

    def _refuse(self, status: HTTPStatus, problem_id: str, text: str) -> None:
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        # The handler is still at work, and must not write a second answer behind this one.
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = msgspec.json.encode(problem_document(status, problem_id, text))
        headers = [
            *self.server_state.default_headers,
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        response = h11.Response(status_code=status.value, headers=headers, reason=status.phrase.encode())
        try:
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        # h11 refuses a body in the answer to HEAD, after the head was sent.
        except h11.LocalProtocolError:
            self.transport.abort()
        self.transport.close()


def bounded(limits: Limits) -> type[asyncio.Protocol]:
    """Return the connection class with `limits`, as uvicorn's `http` option takes it."""
    members: dict[str, object] = {"limits": limits}
    return type("LimitedConnection", (BoundedConnection,), members)
