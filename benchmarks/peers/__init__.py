"""The same workflow in other engines: from the shell to its first result, and 50 of them started at once.

Each program in this folder runs one trivial step per workflow, keeps its state in an empty directory on the same disk,
prints a line after the first result, and then workflows a second. Versions and environments: `make bench-peers`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.measurement import Measurement

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / "build" / "peers"
COUNT = 50
REFERENCE = "temporal"
PEERS = {
    "compozy": "Compozy 0.1, mode persistent",
    "temporal": "Temporal 1.32, development server on a file",
    "dbos": "DBOS 3.4 on SQLite",
    "restate": "Restate 1.7",
    "prefect": "Prefect 3.9 with its own server",
}
# Prefect gives up after 20 s of preparing its database; nothing is sent to its makers.
VARIABLES = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180", "PREFECT_LOGGING_LEVEL": "ERROR", "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "RESTATE_DISABLE_TELEMETRY": "true",
}  # fmt: skip


def run(short: bool) -> list[Measurement]:
    """Return both figures of each engine whose environment exists; medians of 3 rounds, `short` takes one."""
    found = {name: python for name in PEERS if (python := environment(name)).exists()}
    rounds = [{name: measure(name, python) for name, python in found.items()} for _ in range(1 if short else 3)]
    first = {name: median(one[name][0] for one in rounds) for name in found}
    rate = {name: median(one[name][1] for one in rounds) for name in found}
    title = PEERS[REFERENCE]
    return [
        *(Measurement(f"{PEERS[name]}: first result", first[name], "s", title, first[REFERENCE]) for name in found),
        *(Measurement(f"{PEERS[name]}, {COUNT} at once", rate[name], "/s", title, rate[REFERENCE]) for name in found),
    ]


def environment(name: str) -> Path:
    """Return the Python that has an engine: this one, or that of its own environment."""
    own = ENVIRONMENTS / name / "bin" / "python"
    return Path(sys.executable) if name in ("compozy", "temporal") else own


def measure(name: str, python: Path) -> tuple[float, float]:
    """Return the seconds from the shell to the first result, and the workflows a second of 50 started at once."""
    with tempfile.TemporaryDirectory() as folder:
        variables = {**os.environ, **VARIABLES, "PREFECT_HOME": folder, "PYTHONPATH": str(ROOT)}
        variables["PATH"] = f"{ENVIRONMENTS / name / 'node_modules' / '.bin'}:{python.parent}:{os.environ['PATH']}"
        command = [str(python), str(Path(__file__).parent / f"{name}_flow.py"), str(COUNT)]
        began = time.perf_counter()
        with subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            first = time.perf_counter() - began
            rate = process.stdout.readline()
        if line != "first\n" or process.returncode:
            raise SystemExit(f"{name} failed with exit code {process.returncode}")
        return first, float(rate)
