"""The real development server of Temporal on a free port, as a fixture."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from temporalio.client import Client

from compozy.drivers.driver import LoopThread

TEMPORAL = Path(sys.executable).parent / "temporal"
START_TIMEOUT_S = 30.0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def dev_server(port: int, database: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run `temporal server start-dev` on `port`; killed at the end."""
    command = [str(TEMPORAL), "server", "start-dev", "--headless", "--port", str(port), "--log-level", "never"]
    if database is not None:
        command += ["--db-filename", str(database)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield server
    finally:
        server.kill()
        server.wait()


def connect(loop: LoopThread, port: int) -> Client:
    """Return a client once the server on `port` answers."""
    return loop.call(_connect(port), START_TIMEOUT_S)


async def _connect(port: int) -> Client:
    while True:
        try:
            return await Client.connect(f"127.0.0.1:{port}", identity="test")
        except RuntimeError:
            await asyncio.sleep(0.02)
