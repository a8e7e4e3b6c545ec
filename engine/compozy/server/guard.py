"""Admit or refuse every request before any handler sees it, and count the answers.

Every path but the probes needs the API key or a session. Without a written key the `Host` must be a local name as well,
and a request that changes something must not come from a page of another origin.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from compozy.server.access import Access, server_port
from compozy.server.problem_details import problem

OPEN_PATHS = ("/healthz", "/readyz")
OPEN = {*((method, path) for path in OPEN_PATHS for method in ("GET", "HEAD")), ("GET", "/session")}
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^\s:\[\]/@]+))(?::\d{1,5})?")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

log = logging.getLogger("compozy.server")


class Traffic:
    """Counters of answered requests by status, and the seconds they took together."""

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


class AccessMiddleware:
    """ASGI middleware in front of the application."""

    def __init__(self, app: ASGIApp, *, access: Access, host: str, traffic: Traffic) -> None:
        self._app = app
        self._access = access
        self._hosts = frozenset({*LOOPBACK, host.lower()})
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
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
        # Request smuggling (RFC 9112, section 6.3): a proxy may believe the other one of the two headers.
        if "content-length" in headers and "transfer-encoding" in headers:
            text = "Content-Length and Transfer-Encoding exclude each other"
            return problem(HTTPStatus.BAD_REQUEST, "http.framing", text, headers={"Connection": "close"})
        # Probes come from load balancers and supervisors, which have neither the key nor a local name for the host.
        if scope["path"] in OPEN_PATHS:
            return None
        # Against DNS rebinding: a page of another site may resolve its own name to this machine, but sends that name.
        if not self._access.written and _hostname(headers.get("host", "")) not in self._hosts:
            text = "this server answers local names only; set server.api_key to open it"
            return problem(HTTPStatus.FORBIDDEN, "http.host", text)
        # Against cross-site requests: the browser sends the cookie of the session along, and names the page's origin.
        if scope["method"] not in SAFE_METHODS and _foreign(headers):
            text = "requests from web pages of another origin are not answered"
            return problem(HTTPStatus.FORBIDDEN, "http.origin", text)
        if (scope["method"], scope["path"]) not in OPEN and not self._access.admits(headers, server_port(scope)):
            text = "send the key of this server as `Authorization: Bearer KEY` or `X-API-Key: KEY`, or open a session"
            return problem(HTTPStatus.UNAUTHORIZED, "http.unauthorized", text, headers={"WWW-Authenticate": "Bearer"})
        return None


def _hostname(host: str) -> str:
    """Return the lower-case name or address of a `Host` header, empty when it is malformed."""
    found = _HOST.fullmatch(host.strip().lower())
    return found["address"] or found["name"] if found else ""


def _foreign(headers: Headers) -> bool:
    origin = headers.get("origin")
    # Browsers send `Origin` with requests that change something; other programs send none and have the key.
    return origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()
