"""Limit the number of concurrent requests.

The limit lies below that of open connections, so that the probes of a load balancer are answered also while every
other request waits for an execution. uvicorn's own `limit_concurrency` would turn the probes away as well.
"""

from __future__ import annotations

from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from compozy.server.guard import OPEN_PATHS
from compozy.server.problem_details import RETRY_AFTER_S, problem


class Admission:
    """ASGI middleware that answers 503 while `most` requests are in progress; the open paths are exempt."""

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self._app = app
        self._most = most
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        if self._open >= self._most:
            text = f"{self._most} requests are in progress; try again later"
            refusal = problem(HTTPStatus.SERVICE_UNAVAILABLE, "http.busy", text, headers=_RETRY)
            await refusal(scope, receive, send)
            return
        # No await lies between the check and this line, so that the event loop runs no other request in between.
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1


_RETRY = {"Retry-After": str(RETRY_AFTER_S)}
