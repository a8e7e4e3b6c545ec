"""A web server on a loopback port, whose answers a test chooses."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.support.polling import eventually

HOST = "127.0.0.1"
Answer = Callable[[Request], Response] | Response


@dataclass
class WebServer:
    """The server: `answers` by path, and the requests that it was sent, with their bodies."""

    port: int
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def url(self, path: str = "/", host: str = HOST) -> str:
        """Return the address of a path."""
        return f"http://{host}:{self.port}{path}"

    async def answer(self, request: Request) -> Response:
        """Note a request and answer it."""
        self.requests.append(request)
        self.bodies.append(await request.body())
        found = self.answers.get(request.url.path, Response(status_code=404))
        return found if isinstance(found, Response) else found(request)


@contextmanager
def web_server(**options: Any) -> Iterator[WebServer]:
    """Serve until the block ends; `options` are those of uvicorn."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        found = WebServer(listener.getsockname()[1])
        handler: Callable[[Request], Awaitable[Response]] = found.answer
        app = Starlette(routes=[Route("/{path:path}", handler, methods=["GET", "POST"])])
        config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1, **options)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
        thread.start()
        try:
            eventually(lambda: server.started, "start of the web server")
            yield found
        finally:
            server.should_exit = True
            thread.join()
