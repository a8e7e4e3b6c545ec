"""Access control of the HTTP interface: clients with the API key, and browsers with a session.

A link opens one session, once. Sessions live in this process alone, so that a restart ends them.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

COOKIE = "compozy_session"
LIFETIME_S = 12 * 3600.0
MOST = 1000  # links, and sessions, at the same time
_BYTES = 32
_OWN_PAGES = ("same-origin", "none")  # `Sec-Fetch-Site` of our own pages and of an address that was typed


class Access:
    """The API key of one server, with its links and sessions; lives on the server's loop.

    Without a written key it has a random one, which only the owner's commands find. `clock` returns seconds.
    """

    def __init__(self, api_key: str | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.written = bool(api_key)
        self.api_key = api_key or secrets.token_urlsafe(_BYTES)
        self._clock = clock
        self._links = _Tokens(clock)
        self._sessions = _Tokens(clock)

    def new_link(self) -> str:
        """Return the path of a link that opens one session."""
        return f"/session?token={self._links.new()}"

    def open_session(self, token: str) -> str | None:
        """Return the value of a session's cookie for the token of an unused link, else None."""
        return self._sessions.new() if self._links.take(token) else None

    def admits(self, headers: Headers, port: int) -> bool:
        """Return True if a request to `port` has the key, or comes from our own page in a session."""
        # In constant time, so that a client cannot guess the key character by character.
        if hmac.compare_digest(_given_key(headers), self.api_key.encode()):
            return True
        session = cookie_parser(headers.get("cookie", "")).get(cookie_name(port), "")
        # `SameSite` treats ports as one site, so pages of other servers on this machine are excluded here.
        return headers.get("sec-fetch-site", "none") in _OWN_PAGES and self._sessions.holds(session)


class _Tokens:
    """Random texts, each valid for a while."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def new(self) -> str:
        # The oldest gives way: a bound by refusal would lock the owner out as soon as others ask for links.
        if len(self._until) >= MOST:
            self._until.pop(next(iter(self._until)))
        token = secrets.token_urlsafe(_BYTES)
        self._until[token] = self._clock() + LIFETIME_S
        return token

    def holds(self, given: str) -> bool:
        return self._found(given) is not None

    def take(self, given: str) -> bool:
        token = self._found(given)
        if token is not None:
            del self._until[token]
        return token is not None

    def _found(self, given: str) -> str | None:
        text, now = given.encode("utf-8", "surrogateescape"), self._clock()
        # Compared one by one in constant time; a look-up in the mapping would not be.
        live = [token for token, until in self._until.items() if until > now]
        return next((token for token in live if hmac.compare_digest(token.encode(), text)), None)


def cookie_name(port: int) -> str:
    """Return the name of the cookie of a server; browsers do not separate cookies by port."""
    return f"{COOKIE}_{port}"


def server_port(scope: Scope) -> int:
    """Return the port that a request came in on."""
    return int((scope.get("server") or ("", 0))[1] or 0)


def session_cookie(value: str, port: int) -> Mapping[str, str]:
    """Return the headers of an answer that opens a session."""
    # `HttpOnly` keeps scripts from the cookie, `Strict` keeps other sites from sending it.
    cookie = f"{cookie_name(port)}={value}; Path=/; Max-Age={LIFETIME_S:.0f}; HttpOnly; SameSite=Strict"
    return {"Set-Cookie": cookie, "Cache-Control": "no-store"}


def _given_key(headers: Headers) -> bytes:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    return key.encode("utf-8", "surrogateescape")
