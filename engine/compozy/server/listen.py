"""Open the socket that the HTTP interface listens on.

What comes in: an address and a port that somebody chose or that is the default. What goes out: a listening
socket. A default port that is busy moves to a free one; a chosen one does not.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Protocol

from compozy.drivers.ports import owner_of
from compozy.errors import DriverError, PortBusyError

NEXT_PORTS = 20


class PortOption(Protocol):
    """A port from the configuration; `explicit` tells that somebody chose it, by `setting`."""

    @property
    def number(self) -> int:
        """Return the port, 0 for any."""
        ...

    @property
    def setting(self) -> str:
        """Return the path of the setting."""
        ...

    @property
    def explicit(self) -> bool:
        """Tell whether somebody chose it."""
        ...


def listen(host: str, port: PortOption, notice: Callable[[str], None]) -> socket.socket:
    """Return a socket that listens on `host`; `notice` is told when the port is another than asked for.

    Raises:
        PortBusyError: the chosen port is taken.
        DriverError: the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = _try(family, host, port.number)
    if found is not None:
        return found
    if port.explicit:
        raise PortBusyError(port.number, port.setting, owner_of(port.number))
    numbers = (*range(port.number + 1, min(port.number + NEXT_PORTS, 65536)), 0)
    for number in numbers:
        found = _try(family, host, number)
        if found is not None:
            notice(f"port {port.number} ({port.setting}) is busy; listening on {found.getsockname()[1]} instead")
            return found
    raise PortBusyError(port.number, port.setting, None)


def _try(family: socket.AddressFamily, host: str, number: int) -> socket.socket | None:
    # With the protocol named, asyncio switches Nagle's algorithm off, which else costs 40 ms an answer.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, number))
        opened.listen(128)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            return None
        reason = f"cannot listen on {host}:{number}: {error.strerror or error}"
        raise DriverError(reason, hint="choose another server.host or server.port") from error
    opened.setblocking(False)
    return opened
