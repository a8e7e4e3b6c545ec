from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.web_server import WebServer, web_server


@pytest.fixture(scope="session")
def _shared_server() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def web(_shared_server: WebServer) -> WebServer:
    """A web server without answers and requests yet."""
    _shared_server.answers.clear()
    _shared_server.requests.clear()
    _shared_server.bodies.clear()
    return _shared_server
