"""Start the real command as a user does, and see that nothing stays behind."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from tests.support.polling import DEADLINE_S

from compozy.testing.postgres_server import PostgresServer
from compozy.testing.servers import RedisServer, TemporalServer

from .services import Services

COMPOZY = str(Path(sys.executable).parent / "compozy")


def environment(runtime: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the process's environment without settings, with a runtime directory of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMPOZY_")}
    return {**kept, "XDG_RUNTIME_DIR": str(runtime), **(more or {})}


def interruptible() -> None:
    """Restore the default signal actions for a command; a background job or `nohup` ignores some."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@dataclass
class Server:
    """A running `compozy start`; `ready` is its ready line."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]
    directory: Path
    errors: Path
    descendants: list[psutil.Process] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def key(self) -> str:
        """Return the random key of the server, as the owner's commands find it."""
        (record,) = (self.errors.parent / "compozy").glob(f"*-{self.pid}.json")
        return str(json.loads(record.read_text())["api_key"])

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request as a program does; return the status and the decoded answer."""
        address = urlsplit(str(self.ready["url"]))
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=90)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json", "X-API-Key": self.key})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def remember(self) -> None:
        """Note every process below the server, so that it can be seen to end."""
        self.descendants = psutil.Process(self.pid).children(recursive=True)

    def stop(self) -> int:
        """Stop as a user does and return the exit code."""
        self.remember()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def kill(self) -> None:
        """Kill the server alone with `kill -9`."""
        self.remember()
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def has_ended(self) -> bool:
        """Return True if every process below the server has ended."""
        return not any(process.is_running() and process.status() != "zombie" for process in self.descendants)


class Shell:
    """Runs commands in one directory."""

    def __init__(self, directory: Path, runtime: Path) -> None:
        self.directory = directory
        self.runtime = runtime
        self.servers: list[Server] = []

    def run(
        self, *args: str, env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            [COMPOZY, *args], cwd=self.directory, env=environment(self.runtime, env), input=stdin,
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip

    def json(self, *args: str, env: Mapping[str, str] | None = None) -> Any:
        """Run one command with `--format json` and return what it printed."""
        result = self.run(*args, "--format", "json", env=env)
        assert result.stdout, result.stderr
        return json.loads(result.stdout)

    def start(self, *args: str, env: Mapping[str, str] | None = None) -> Server:
        """Start a server and return it when it is ready."""
        errors = self.runtime / f"stderr-{len(self.servers)}"
        with errors.open("w") as stream:
            process = subprocess.Popen(
                [COMPOZY, "start", "--format", "json", *args], cwd=self.directory,
                env=environment(self.runtime, env), stdout=subprocess.PIPE, stderr=stream, text=True,
            )  # fmt: skip
        line = process.stdout.readline() if process.stdout else ""
        if '"ready"' not in line:
            rest, _ = process.communicate(timeout=DEADLINE_S)
            pytest.fail(f"the server did not start: {line}{rest}\n{errors.read_text()}")
        server = Server(process, json.loads(line), self.directory, errors)
        self.servers.append(server)
        return server

    def close(self) -> None:
        """End what a failed test left."""
        for server in self.servers:
            if server.process.poll() is None:
                server.remember()
                server.process.kill()
                server.process.wait(DEADLINE_S)
            if server.process.stdout:
                server.process.stdout.close()
            for process in server.descendants:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


@pytest.fixture
def shell(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """An empty directory to work in, with a runtime directory outside it."""
    running = Shell(tmp_path, tmp_path_factory.mktemp("runtime"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def services(postgres_server: PostgresServer, temporal_server: TemporalServer, redis_server: RedisServer) -> Services:
    """PostgreSQL, Temporal and Valkey, once for each test process."""
    return Services(postgres_server, temporal_server, redis_server)
