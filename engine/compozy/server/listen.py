"""Open the listening socket of the HTTP interface; a default port that is busy moves to a free one."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from compozy.drivers.port import Port
from compozy.drivers.ports import choose_port
from compozy.errors import DriverError, PortBusyError

RACES = 3
BACKLOG = 128


def listen(host: str, port: Port, notice: Callable[[str], None]) -> socket.socket:
    """Return a socket that listens on `host`; `notice` gets a line when the port differs from the one asked for.

    Raises:
        PortBusyError: an explicit port is busy, or other processes took each free one first.
        DriverError: nothing can listen on the address.
    """
    for race in range(RACES):
        found = _listening(host, choose_port(port, host, notice, lost=race > 0))
        if found is not None:
            return found
    raise PortBusyError(port.number, port.setting, None)


def _listening(host: str, number: int) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches Nagle's algorithm off, which else costs 40 ms an answer.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A restart must not wait for connections of the server before, which linger for a minute.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, number))
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise DriverError(f"nothing can listen on {host}:{number}: {error.strerror or error}") from error
    opened.setblocking(False)
    return opened
