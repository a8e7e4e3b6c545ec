"""The listen address of the HTTP interface."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette

from compozy.drivers import ports
from compozy.drivers.port import Port
from compozy.drivers.protocol import LoopThread
from compozy.errors import DriverError, PortBusyError
from compozy.server.http import HttpServer
from compozy.server.listen import listen


@pytest.fixture
def taken() -> Iterator[int]:
    """Return a port with a listener."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield int(holder.getsockname()[1])


def test_a_free_port_is_taken_as_asked(taken: int) -> None:
    """Port 0 is any free one, without a notice."""
    notices: list[str] = []
    with listen("127.0.0.1", Port(0, "server.port", True), notices.append) as found:
        assert found.getsockname()[1] not in (0, taken)
    assert notices == []


def test_busy_default_port_is_replaced_with_a_notice(taken: int) -> None:
    """A port that was not set explicitly is replaced."""
    notices: list[str] = []
    with listen("127.0.0.1", Port(taken, "server.port", False), notices.append) as found:
        number = found.getsockname()[1]
    assert number != taken
    assert len(notices) == 1
    assert str(taken) in notices[0]
    assert str(number) in notices[0]


def test_default_port_bound_at_the_last_moment_moves(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process releases the port whenever it is looked at."""
    monkeypatch.setattr(ports, "is_free", lambda number, host: True)
    with listen("127.0.0.1", Port(taken, "server.port", False), lambda text: None) as found:
        assert found.getsockname()[1] != taken


def test_a_busy_chosen_port_is_an_error(taken: int) -> None:
    """An explicit port is not replaced."""
    with pytest.raises(PortBusyError, match=rf"port {taken} \(server.port\) is already in use"):
        listen("127.0.0.1", Port(taken, "server.port", True), lambda text: None)


def test_failed_application_leaves_no_listener(loop: LoopThread) -> None:
    """The failure is an error of Compozy, the port is free again, and the loop keeps running."""

    @asynccontextmanager
    async def broken(_app: Starlette) -> AsyncIterator[None]:
        raise RuntimeError("no")
        yield

    server = HttpServer(Starlette(lifespan=broken), loop, host="127.0.0.1", port=Port(0, "server.port", True))
    with pytest.raises(DriverError, match="did not start"):
        server.start()

    with socket.socket() as other:
        other.bind(("127.0.0.1", server.port))
    assert loop.call(asyncio.sleep(0, "alive"), 10) == "alive"


def test_a_foreign_address_is_an_error() -> None:
    """An address of another machine cannot be listened on."""
    with pytest.raises(DriverError, match="nothing can listen on 192.0.2.1"):
        listen("192.0.2.1", Port(0, "server.port", True), lambda text: None)
