"""Decide who may ask, and count who did.

What comes in: every request, before any handler. What goes out: the request, or a refusal. The key is
compared in constant time. Without a key only this machine may ask: requests that a web page sends from
elsewhere are refused by their `Host` and `Origin`.
"""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections import Counter
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from compozy.server.problems import problem

OPEN_PATHS = ("/healthz", "/readyz")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^\s:\[\]/@]+))(?::\d{1,5})?")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

log = logging.getLogger("compozy.server")


class Traffic:
    """What was answered so far: requests by status, and the seconds they took together."""

    def __init__(self) -> None:
        self.answers: Counter[int] = Counter()
        self.seconds = 0.0


class _Count:
    """One request on its way: counted when its answer begins, or as a bug when it ends without one."""

    def __init__(self, traffic: Traffic, scope: Scope, send: Send) -> None:
        self._traffic = traffic
        self._scope = scope
        self._send = send
        self._began = time.perf_counter()
        self._open = True

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self._note(message["status"])
        await self._send(message)

    def close(self) -> None:
        """Count a request that was not answered: the server does it with 500."""
        if self._open:
            self._note(HTTPStatus.INTERNAL_SERVER_ERROR.value)

    def _note(self, status: int) -> None:
        self._open = False
        self._traffic.answers[status] += 1
        self._traffic.seconds += time.perf_counter() - self._began
        facts = {"method": self._scope["method"], "path": self._scope["path"], "status": status}
        log.debug("http.request", extra=facts)


class Guard:
    """ASGI middleware in front of the application."""

    def __init__(self, app: ASGIApp, *, api_key: str | None, host: str, traffic: Traffic) -> None:
        self._app = app
        self._key = api_key.encode() if api_key else None
        self._hosts = frozenset({*LOOPBACK, host.lower()})
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        count = _Count(self._traffic, scope, send)
        try:
            await (self._refusal(scope) or self._app)(scope, receive, count.send)
        finally:
            count.close()

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:  # request smuggling, RFC 9112 section 6.3
            text = "Content-Length and Transfer-Encoding exclude each other"
            return problem(HTTPStatus.BAD_REQUEST, "http.framing", text, headers={"Connection": "close"})
        if scope["path"] in OPEN_PATHS:
            return None
        if self._key is None and _hostname(headers.get("host", "")) not in self._hosts:
            text = "this server answers local names only; set server.api_key to open it"
            return problem(HTTPStatus.FORBIDDEN, "http.host", text)
        if scope["method"] not in SAFE_METHODS and _foreign(headers):
            text = "requests from web pages of another origin are not answered"
            return problem(HTTPStatus.FORBIDDEN, "http.origin", text)
        if self._key is not None and not hmac.compare_digest(_given_key(headers), self._key):
            text = "send the key of this server as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
            return problem(HTTPStatus.UNAUTHORIZED, "http.unauthorized", text, headers={"WWW-Authenticate": "Bearer"})
        return None


def _given_key(headers: Headers) -> bytes:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    return key.encode("utf-8", "surrogateescape")


def _hostname(host: str) -> str:
    """Return the lower-case name or address of a `Host` header, empty when it is malformed."""
    found = _HOST.fullmatch(host.strip().lower())
    return found["address"] or found["name"] if found else ""


def _foreign(headers: Headers) -> bool:
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()
