"""Find a free port of this machine, and the process that listens on a port.

A port that was reported free may be taken before it is bound; the caller must be ready to ask again.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from glob import glob
from pathlib import Path

from compozy.drivers.port import Port
from compozy.drivers.spare_files import with_spare_files
from compozy.errors import DriverError, PortBusyError


def choose_port(port: Port, host: str, notice: Callable[[str], None], *, lost: bool = False) -> int:
    """Return the port to listen on: the one asked for, or a free one where a default is busy.

    `lost` is True after an attempt to listen on it failed: another process may release it and take it again.

    Raises:
        PortBusyError: the port is explicit and busy.
        DriverError: nothing can listen on `host`, or not on that port.
    """
    if not lost and is_free(port.number, host):
        return port.number
    owner = owner_of(port.number)
    if port.explicit:
        raise PortBusyError(port.number, port.setting, owner)
    found = free_port(host)
    by = f", {owner} has it" if owner else ""
    notice(f"port {port.number} is busy{by}; using {found} for {port.setting}")
    return found


def is_free(number: int, host: str) -> bool:
    """Return True if a server can listen on `number`.

    Raises:
        DriverError: it cannot, for another reason than being taken.
    """
    with _probe(host) as probe:
        # As servers do: connections of an earlier server that linger on the port do not make it busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise DriverError(f"nothing can listen on {host}:{number}: {error.strerror or error}") from error
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """Return a free port.

    Raises:
        DriverError: nothing can listen on `host`.
    """
    with _probe(host) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise DriverError(f"nothing can listen on {host}: {error.strerror or error}") from error
        return int(probe.getsockname()[1])


def _probe(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)


def listening(host: str, number: int) -> bool:
    """Return True if a connection to the address is accepted."""
    return with_spare_files(partial(_accepts, host, number))


def _accepts(host: str, number: int) -> bool:
    with _probe(host) as probe:
        probe.settimeout(1.0)
        # A connection to a free port of the ephemeral range may by chance be one to itself.
        return probe.connect_ex((host, number)) == 0 and probe.getsockname() != probe.getpeername()


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[host]:port`.

    Raises:
        DriverError: the address has no port.
    """
    host, _, number = address.rpartition(":")
    if not host or not number.isdigit():
        raise DriverError(f'"{address}" is not an address', hint="write it as host:port")
    return host.strip("[]"), int(number)


def owner_of(number: int) -> str | None:
    """Return `name (process id)` of the process that listens on `number`; see `process_on`."""
    process = process_on(number)
    return None if process is None else f"{_name(str(process))} (process {process})"


def descends_from(process: int, ancestor: int) -> bool:
    """Return True if `process` is `ancestor` or was started below it (Linux)."""
    # The walk ends at process 1, or 0 where the parent lies outside of the container.
    while process > 1 and process != ancestor:
        try:
            status = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return False
        # The name in parentheses may itself contain blanks and parentheses.
        process = int(status.rpartition(")")[2].split()[1])
    return process == ancestor


def process_on(number: int) -> int | None:
    """Return the id of the process that listens on `number`, where the system shows it (Linux, own processes)."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listeners(Path("/proc/net") / table, number)}
    for link in glob("/proc/[0-9]*/fd/*") if inodes else ():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.removeprefix("socket:[").removesuffix("]") in inodes:
            return int(link.split("/")[2])
    return None


def listens(process: int, number: int) -> bool | None:
    """Return True if `process` listens on `number`; None where the system does not show it."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listeners(Path("/proc/net") / table, number)}
    if not inodes:
        return None
    sockets = {f"socket:[{inode}]" for inode in inodes}
    for link in glob(f"/proc/{process}/fd/*"):
        try:
            if os.readlink(link) in sockets:
                return True
        # A busy process closes descriptors all the time.
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return False


def _listeners(table: Path, number: int) -> list[str]:
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == number]


def _name(process: str) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return "unknown"
