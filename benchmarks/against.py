"""Compare two checkouts in one run: `python -m benchmarks against OTHER [--short]`.

Starts, single workflows and bursts of workflows are measured alternately, so that any other load of the machine
concerns both alike. Each checkout runs from its own `.venv` (`make start` or `make test` creates it), byte-compiled.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.measurement import Measurement

ROOT = Path(__file__).parent.parent
STEP = 'id: step\ninput: {name: x}\ntasks: [{id: a, type: aggregate, output: "{{ workflow.input.name }}"}]\n'
BURST = 50
END_S = 30.0


class Checkout:
    """One working tree; `directory` is a project of its own, `key` opens the HTTP interface of its servers."""

    def __init__(self, tree: Path, directory: Path) -> None:
        self.command = tree / ".venv" / "bin" / "compozy"
        self.directory = directory
        self.key = secrets.token_urlsafe(24)
        if not self.command.exists():
            raise SystemExit(f"{self.command} does not exist: run make start there once")
        directory.mkdir()
        python = self.command.with_name("python")
        subprocess.run([python, "-m", "compileall", "-q", "engine", "rules"], cwd=tree, check=True)

    @contextmanager
    def server(self, mode: str) -> Iterator[tuple[str, float]]:
        """Start a server; yield its URL and the seconds from the shell to the ready line."""
        environment = {**os.environ, "COMPOZY_SERVER__API_KEY": self.key, "XDG_RUNTIME_DIR": str(self.directory)}
        args: list[str | Path] = [self.command, "start", "--mode", mode, "--format", "json"]
        began = time.perf_counter()
        process = subprocess.Popen(
            args, cwd=self.directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            line = process.stdout.readline() if process.stdout else ""
            took_s = time.perf_counter() - began
            yield json.loads(line)["url"], took_s
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=END_S)

    def start_s(self, mode: str) -> float:
        """Return the seconds of one start."""
        with self.server(mode) as (_, took_s):
            return took_s

    def workflow_s(self, url: str) -> float:
        """Return the seconds of one workflow of one step, through HTTP."""
        body = json.dumps({"input": {"name": "y"}, "source": STEP, "file": "step.yaml"}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(f"{url}/api/v0/workflows/step/executions?wait=30s", body, headers)
        began = time.perf_counter()
        with urllib.request.urlopen(request, timeout=END_S) as answer:
            result = json.load(answer)
        if result["status"] != "completed":
            raise SystemExit(f"a workflow ended as {result['status']}")
        return time.perf_counter() - began

    def burst(self, url: str) -> float:
        """Return the workflows a second of a burst that starts at once."""
        began = time.perf_counter()
        with ThreadPoolExecutor(BURST) as threads:
            list(threads.map(self.workflow_s, [url] * BURST))
        return BURST / (time.perf_counter() - began)


def run(other: Path, short: bool) -> list[Measurement]:
    """Return each measurement of this checkout with that of `other` as the reference."""
    rounds = 5 if short else 15
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        pair = Checkout(ROOT, Path(folder, "this")), Checkout(other.resolve(), Path(folder, "other"))
        rows = []
        for mode in ("memory", "persistent"):
            found = alternately(rounds, [partial(one.start_s, mode) for one in pair])
            rows.append(row(f"start to ready, {mode}", "s", found, other))
        urls = [stack.enter_context(one.server("persistent"))[0] for one in pair]
        lone = [partial(one.workflow_s, url) for one, url in zip(pair, urls, strict=True)]
        rows.append(row("lone workflow, persistent", "s", alternately(rounds * 4, lone), other))
        many = [partial(one.burst, url) for one, url in zip(pair, urls, strict=True)]
        rows.append(row(f"{BURST} workflows at once, persistent", "workflows/s", alternately(rounds, many), other))
    return rows


def alternately(rounds: int, measures: Sequence[Callable[[], float]]) -> list[float]:
    """Return the median of each measure; they take turns, and the first round does not count."""
    found = [[measure() for measure in measures] for _ in range(rounds + 1)][1:]
    return [median(values) for values in zip(*found, strict=True)]


def row(name: str, unit: str, found: Sequence[float], other: Path) -> Measurement:
    """Return a measurement of this checkout beside that of the other one."""
    this, reference = found
    return Measurement(name, this, unit, f"the same in {other}", reference)
