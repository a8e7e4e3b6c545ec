"""Where the HTTP interface listens."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from compozy.errors import DriverError, PortBusyError
from compozy.plan import Port
from compozy.server.listen import listen


@pytest.fixture
def taken() -> Iterator[int]:
    """Return a port that somebody listens on."""
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


def test_a_busy_default_moves_and_says_so(taken: int) -> None:
    """A port that nobody chose gives way."""
    notices: list[str] = []
    with listen("127.0.0.1", Port(taken, "server.port", False), notices.append) as found:
        number = found.getsockname()[1]
    assert number != taken
    assert len(notices) == 1
    assert str(taken) in notices[0]
    assert str(number) in notices[0]


def test_a_busy_chosen_port_is_an_error(taken: int) -> None:
    """A port that somebody chose does not move."""
    with pytest.raises(PortBusyError, match=rf"port {taken} \(server.port\) is already in use"):
        listen("127.0.0.1", Port(taken, "server.port", True), lambda text: None)


def test_a_foreign_address_is_an_error() -> None:
    """An address of another machine cannot be listened on."""
    with pytest.raises(DriverError, match="nothing can listen on 192.0.2.1"):
        listen("192.0.2.1", Port(0, "server.port", True), lambda text: None)
