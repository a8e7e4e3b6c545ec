"""Cold starts from the shell: Compozy and its raw parts in the same run.

The environment is byte-compiled (the Makefile sees to it); every figure is a median.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measurement import Measurement

ROOT = Path(__file__).parent.parent
HELLO = ROOT / "examples" / "hello-world.yaml"
BIN = Path(sys.executable).parent
IMPORTS = "import temporalio.client, temporalio.worker"


def run(short: bool) -> list[Measurement]:
    """Return the measurements; `short` takes 3 rounds instead of 7."""
    rounds = 3 if short else 7
    with tempfile.TemporaryDirectory() as folder:
        raw = median(rounds, raw_temporal)
        imports = median(rounds, lambda: command([sys.executable, "-c", IMPORTS], folder))
        python = median(rounds, lambda: command([sys.executable, "-c", "pass"], folder))
        ready = median(rounds, lambda: start_to_ready(folder))
        hello = median(rounds, lambda: command([str(BIN / "compozy"), "workflow", "run", str(HELLO)], folder))
        show = median(rounds, lambda: command([str(BIN / "compozy"), "config", "show"], folder))
        helped = median(rounds, lambda: command([str(BIN / "compozy"), "--help"], folder))
    raw_name, import_name = (
        "temporal server start-dev --headless, to ready",
        "import of Temporal's client and worker",
    )
    return [
        Measurement("compozy start, to ready", ready, "s", raw_name, raw),
        Measurement("compozy start, to ready", ready, "s", import_name, imports),
        Measurement("compozy workflow run hello-world, no server", hello, "s", raw_name, raw),
        Measurement("compozy workflow run hello-world, no server", hello, "s", import_name, imports),
        Measurement("compozy config show", show, "s", "python -c pass", python),
        Measurement("compozy --help", helped, "s", "python -c pass", python),
    ]


def median(rounds: int, measure: Callable[[], float]) -> float:
    """Return the median of `rounds` measurements in seconds, after one that warms the disk."""
    measure()
    return statistics.median(measure() for _ in range(rounds))


def command(args: list[str], folder: str) -> float:
    """Return how long a command takes, in seconds."""
    started = time.perf_counter()
    subprocess.run(args, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - started


def start_to_ready(folder: str) -> float:
    """Return the time from the shell to the ready line, in seconds."""
    started = time.perf_counter()
    args = [str(BIN / "compozy"), "start", "--format", "json"]
    process = subprocess.Popen(args, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        took = time.perf_counter() - started
        if json.loads(line)["event"] != "ready":
            raise SystemExit(f"unexpected output of compozy start: {line}")
        return took
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def raw_temporal() -> float:
    """Return the time from the shell until the raw server accepts a connection and answers, in seconds."""
    port = free_port()
    started = time.perf_counter()
    args = [
        str(BIN / "temporal"),
        "server",
        "start-dev",
        "--headless",
        "--port",
        str(port),
        "--log-level",
        "never",
    ]
    process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        health = [str(BIN / "temporal"), "operator", "cluster", "health", "--address", f"127.0.0.1:{port}"]
        wait_for_port(port)
        while subprocess.run(health, capture_output=True, check=False).returncode:
            time.sleep(0.005)
        return time.perf_counter() - started
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_port(port: int) -> None:
    """Return when something listens on the loopback `port`."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.002)
    raise SystemExit(f"nothing listens on port {port}")


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
