"""Cut the services of a running server off under load, and compare with what it acknowledged.

`python -m benchmarks.outages --rounds 33` runs distributed mode on servers of its own and makes PostgreSQL, Redis and
Temporal unreachable in turn: killed, suspended (SIGSTOP), or behind a network that passes nothing. Ten pollers ask for
health and metrics all the time. It prints figures and a verdict; exit code 1 when anything that was acknowledged is
lost, there twice or stuck, or an outage was not reported.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil
from temporalio.client import Client as Temporal

from compozy.client.answers import ExecutionAnswer, RunAnswer
from compozy.client.remote import RemoteClient, ServerError, ServerGoneError
from compozy.settings.keyring import random_key
from compozy.testing.postgres_server import PostgresServer
from compozy.testing.server import HOST, Server
from compozy.testing.servers import RedisServer, TemporalServer

WORKFLOW = """
id: outages
input: {name: x}
tasks:
  - {id: first, type: aggregate, output: "{{ workflow.input.name }}"}
  - {id: second, type: basic, tool: "work:done", with: {name: "{{ tasks.first.output }}"}, retry: {max_attempts: 30}}
outputs: {result: "{{ tasks.second.output }}"}
"""
TOOL = """
from compozy.tools import component
def done(name):
    component("redis").incr("done:" + name)
    return name + "-done"
"""
WAYS = ("killed", "suspended", "cut off")
POLLED = ("/readyz", "/metrics")
POLLERS, STARTERS = 10, 2
REPORT_S, RECOVER_S, PATIENCE_S = 15.0, 45.0, 90.0


class Relay:
    """Forward connections to a port of this machine; while `passing` is not set, no byte passes either way."""

    def __init__(self, port: int) -> None:
        self.passing = threading.Event()
        self.passing.set()
        self._port = port
        self._listener = socket.create_server((HOST, 0))
        self.address = f"{HOST}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        self.passing.wait()
        try:
            service = socket.create_connection((HOST, self._port))
        except OSError:
            client.close()
            return
        threading.Thread(target=self._pump, args=(service, client), daemon=True).start()
        self._pump(client, service)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.passing.wait()
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@dataclass
class Service:
    """A server behind a relay, and the ways to make it unreachable for a while."""

    component: str
    server: Server
    relay: Relay

    @contextlib.contextmanager
    def unreachable(self, way: str) -> Iterator[None]:
        """Make it unreachable in one of `WAYS`, and reachable at the end."""
        if way == "killed":
            self.server.kill()
            yield
            self.server.start()
        elif way == "suspended":
            process = psutil.Process(self.server.pid)
            tree = [process, *process.children(recursive=True)]
            for part in tree:
                part.suspend()
            yield
            for part in tree:
                part.resume()
        else:
            self.relay.passing.clear()
            yield
            self.relay.passing.set()


@dataclass
class Load:
    """Executions that were acknowledged, and how long each answer to a poller took, by path and state of the server."""

    client: Callable[[], RemoteClient]
    away: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    accepted: list[str] = field(default_factory=list)
    answers_s: dict[tuple[str, bool], list[float]] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Start executions and ask for health until `over` is set."""
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(STARTERS)]
        for number in range(POLLERS):
            path = POLLED[number % len(POLLED)]
            self.threads.append(threading.Thread(target=self._poll, args=(path,)))
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """End the load."""
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _run(self, starter: int) -> None:
        client, number = self.client(), 0
        while not self.over.is_set():
            name = f"outage-{starter}-{number}"
            with contextlib.suppress(ServerError, ServerGoneError):  # tried again under the same id
                body = {"input": {"name": name}, "execution_id": name}
                client.ask(RunAnswer, "POST", "/api/v0/workflows/outages/executions", body)
                self.accepted.append(name)
                number += 1
            time.sleep(0.05)

    def _poll(self, path: str) -> None:
        client = self.client()
        while not self.over.is_set():
            away, began = self.away.is_set(), time.monotonic()
            with contextlib.suppress(ServerError, ServerGoneError):  # metrics are not JSON
                client.ask(object, "GET", path)
            if away == self.away.is_set():
                self.answers_s.setdefault((path, away), []).append(time.monotonic() - began)
            time.sleep(0.05)


@dataclass(frozen=True)
class Outage:
    """One outage: what was unreachable, how, and the seconds until that was reported and until all was well again."""

    component: str
    way: str
    report_s: float
    recover_s: float


def outages(rounds: int, chance: random.Random) -> list[tuple[str, str]]:
    """Return components and ways in random order, each pair as often as any other, give or take one."""
    pairs = [(component, way) for component in ("database", "redis", "temporal") for way in WAYS]
    chosen = pairs * (rounds // len(pairs)) + chance.sample(pairs, rounds % len(pairs))
    chance.shuffle(chosen)
    return chosen


def suffer(service: Service, way: str, load: Load, length_s: float) -> Outage:
    """Run one outage of at least `length_s` seconds."""
    client = load.client()
    began = time.monotonic()
    with service.unreachable(way):
        load.away.set()
        report_s = _wait(lambda: service.component in _unhealthy(client), REPORT_S, began)
        time.sleep(max(0.0, began + length_s - time.monotonic()))
        load.away.clear()
    return Outage(service.component, way, report_s, _wait(lambda: not _unhealthy(client), RECOVER_S, time.monotonic()))


def _unhealthy(client: RemoteClient) -> set[str]:
    return {name for name, part in client.health().components.items() if not part.healthy}


def _wait(condition: Callable[[], bool], limit_s: float, began: float) -> float:
    """Return the seconds since `began` when the condition held, infinity at the limit."""
    while time.monotonic() < began + limit_s:
        if condition():
            return time.monotonic() - began
        time.sleep(0.02)
    return float("inf")


def verify(client: RemoteClient, temporal: str, accepted: list[str]) -> dict[str, list[str]]:
    """Return the names of acknowledged executions that are lost, doubled, stuck or wrong."""
    found: dict[str, list[str]] = {"lost": [], "doubled": [], "stuck": [], "wrong": []}
    for name in accepted:
        try:
            path = f"/api/v0/executions/{name}?wait=30s"
            row = client.ask(ExecutionAnswer, "GET", path, timeout_s=PATIENCE_S)
        except ServerError:
            found["lost"].append(name)
            continue
        if row.status == "running":
            found["stuck"].append(name)
        elif row.status != "completed" or row.output != {"result": f"{name}-done"}:
            found["wrong"].append(f"{name}: {row.status} {row.error}")
    runs = asyncio.run(_runs(temporal))
    found["doubled"] = [name for name in accepted if runs[name] > 1]
    return found


async def _runs(address: str) -> Counter[str]:
    client = await Temporal.connect(address)
    return Counter([execution.id async for execution in client.list_workflows()])


@contextlib.contextmanager
def running(folder: Path, services: dict[str, Service]) -> Iterator[tuple[str, str]]:
    """Run a server in `folder` and give its URL and key."""
    postgres, redis = services["database"].server, services["redis"].server
    if not isinstance(postgres, PostgresServer) or not isinstance(redis, RedisServer):
        raise SystemExit("these are other servers")
    key = secrets.token_hex(16)
    (folder / "workflows").mkdir()
    (folder / "workflows" / "outages.yaml").write_text(WORKFLOW)
    (folder / "work.py").write_text(TOOL)
    settings = {
        "COMPOZY_NAME": "outages", "COMPOZY_SERVER__API_KEY": key, "COMPOZY_TEMPORAL__ENCRYPTION_KEY": random_key(),
        "DB_URL": postgres.url.replace(postgres.address, services["database"].relay.address),
        "REDIS_URL": redis.url.replace(redis.address, services["redis"].relay.address),
        "TEMPORAL_HOST_PORT": services["temporal"].relay.address,
    }  # fmt: skip
    command = [sys.executable, "-m", "compozy", "start", "--mode", "distributed", "--port", "0", "--format", "json"]
    environment = {**os.environ, **settings}
    with (folder / "stderr").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=log)
    try:
        line = server.stdout.readline() if server.stdout else ""
        if '"ready"' not in line:
            raise SystemExit(f"the server did not start: {line}{(folder / 'stderr').read_text()}")
        yield json.loads(line)["url"], key
    finally:
        server.terminate()
        server.communicate(timeout=60)


def run(rounds: int, chance: random.Random, folder: Path) -> tuple[list[Outage], Load, dict[str, list[str]]]:
    """Run all outages, and return them with the load and what `verify` found."""
    with PostgresServer() as postgres, RedisServer() as redis, TemporalServer() as temporal:
        named: dict[str, Server] = {"database": postgres, "redis": redis, "temporal": temporal}
        services = {name: Service(name, server, Relay(server.port)) for name, server in named.items()}
        with running(folder, services) as (url, key):
            load = Load(lambda: RemoteClient(url, key))
            load.start()
            done = []
            try:
                for component, way in outages(rounds, chance):
                    time.sleep(chance.uniform(0.5, 1.5))
                    done.append(suffer(services[component], way, load, chance.uniform(0.5, 4)))
            finally:
                load.stop()
            return done, load, verify(RemoteClient(url, key), temporal.address, load.accepted)


def main() -> None:
    """Run the outages and print the verdict."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outages", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        done, load, found = run(arguments.rounds, random.Random(arguments.seed), Path(folder))
    print(f"{len(done)} outages in {time.perf_counter() - began:.0f} s, seed {arguments.seed}")
    for key in sorted({(outage.component, outage.way) for outage in done}):
        print(_line(*key, [outage for outage in done if (outage.component, outage.way) == key]))
    for (path, away), times in sorted(load.answers_s.items()):
        state = "during an outage" if away else "otherwise"
        print(f"{path} {state}: {len(times)} answers, median {median(times):.3f} s, longest {max(times):.3f} s")
    print(f"acknowledged: {len(load.accepted)} executions")
    print(", ".join(f"{name} {len(names)}" for name, names in found.items()))
    for name in (name for names in found.values() for name in names):
        print(f"  {name}")
    missed = [outage for outage in done if float("inf") in (outage.report_s, outage.recover_s)]
    sys.exit(1 if missed or any(found.values()) or not load.accepted else 0)


def _line(component: str, way: str, these: list[Outage]) -> str:
    figures = [
        f"{name} {median(times):.2f} s (longest {max(times):.2f} s)"
        for name, times in (("reported after", [outage.report_s for outage in these]),
                            ("well after", [outage.recover_s for outage in these]))
    ]  # fmt: skip
    return f"{component} {way}, {len(these)} times: {', '.join(figures)}"


if __name__ == "__main__":
    main()
