"""Kill a server at random moments under write load, start again, and compare with what was acknowledged.

`python -m benchmarks.kill_sweep --rounds 100` kills the whole tree of processes; with `--kill owner` it kills the owner
together with the guardians of its servers, which are left behind. It prints a verdict; exit code 1 when anything
that was acknowledged is lost or there twice, a workflow is stuck or a process stays.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

WORKER = Path(__file__).parent / "kill_sweep_worker.py"
KINDS = ("row", "key", "workflow")
DEADLINE_S = 60.0
Written = tuple[str, str]  # kind and name


@dataclass
class Result:
    """The results of all rounds; `lost`, `doubled`, `stuck` and `orphans` hold names."""

    rounds: int = 0
    acknowledged: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Return True if every store was written to, and nothing was lost, stuck or left."""
        faults = (*self.lost, *self.doubled, *self.stuck, *self.orphans)
        return all(self.acknowledged.get(kind) for kind in KINDS) and not faults


def sweep(
    rounds: int, folder: Path, *, seed: int = 0, shortest_s: float = 0.1, longest_s: float = 1.5, kill: str = "tree"
) -> Result:
    """Run `rounds` rounds in `folder`.

    Each starts again, verifies what the round before it acknowledged, writes more, and is killed between the two
    times after its first write; a last start only verifies. `kill` is `tree`, or `owner` for it and its guardians.
    """
    chance, result = random.Random(seed), Result()
    written: list[Written] = []
    left: list[psutil.Process] = []
    for number in range(rounds):
        process = start(folder, f"r{number}", written, result)
        note_orphans(left, result)
        missing = set(KINDS) - set(result.acknowledged) if number == rounds - 1 else set[str]()
        written, left = write_and_kill(process, chance.uniform(shortest_s, longest_s), VICTIMS[kill], missing)
        if kill == "tree":
            note_orphans(left, result)
        result.rounds += 1
        for kind, _ in written:
            result.acknowledged[kind] = result.acknowledged.get(kind, 0) + 1
    process = start(folder, "", written, result)
    process.wait(DEADLINE_S)
    _close(process)
    note_orphans(left, result)
    return result


def start(folder: Path, prefix: str, written: list[Written], result: Result) -> subprocess.Popen[str]:
    """Start the worker, which verifies `written` before it writes; note what is lost or stuck."""
    process = worker(folder, prefix)
    if process.stdin is None or process.stdout is None:
        raise SystemExit("the worker has no pipes")
    process.stdin.write(json.dumps(written) + "\n")
    process.stdin.close()
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"the worker did not verify: {_errors(process)}")
    answer: dict[str, Any] = json.loads(line)
    result.lost += answer["lost"]
    result.doubled += answer["doubled"]
    result.stuck += answer["stuck"]
    return process


def whole_tree(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and everything below it."""
    return [process, *process.children(recursive=True)]


def owner_and_guardians(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and the guardians of its servers, stopped, so that none of them sees another die."""
    tree = whole_tree(process)
    victims = [part for part in tree if part == process or "kill -9 0" in " ".join(part.cmdline())]
    for part in victims:
        part.suspend()
    return victims


VICTIMS: dict[str, Callable[[psutil.Process], list[psutil.Process]]] = {
    "tree": whole_tree, "owner": owner_and_guardians,
}  # fmt: skip


def write_and_kill(
    process: subprocess.Popen[str],
    after_s: float,
    victims: Callable[[psutil.Process], list[psutil.Process]],
    missing: set[str],
) -> tuple[list[Written], list[psutil.Process]]:
    """Return what was acknowledged before `victims` were killed, and the processes that were below the server.

    They are killed `after_s` seconds after the first write, and not before each kind in `missing` was written.
    """
    written: list[Written] = []
    reader = threading.Thread(target=_collect, args=(process, written))
    reader.start()
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None and time.monotonic() < deadline:
        if written and missing <= {kind for kind, _ in written}:
            break
        time.sleep(0.005)
    if not written:
        raise SystemExit(f"the worker wrote nothing: {_errors(process)}")
    time.sleep(after_s)
    tree = whole_tree(psutil.Process(process.pid))
    for part in victims(psutil.Process(process.pid)):
        _kill(part)
    process.wait(DEADLINE_S)
    reader.join(DEADLINE_S)
    _close(process)
    return written, tree


def note_orphans(tree: list[psutil.Process], result: Result) -> None:
    """Note which of the processes have not ended, after a moment to do so."""
    _, left = psutil.wait_procs(tree, timeout=5)
    result.orphans += [str(part) for part in left if part.is_running() and part.status() != psutil.STATUS_ZOMBIE]


def worker(folder: Path, *args: str) -> subprocess.Popen[str]:
    """Start the worker in `folder`."""
    return subprocess.Popen(
        [sys.executable, str(WORKER), *args], cwd=folder, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _collect(process: subprocess.Popen[str], written: list[Written]) -> None:
    for line in process.stdout or ():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            return  # the line that was cut by the kill: it was not acknowledged
        if event["event"] == "written":
            written.append((event["kind"], event["name"]))


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def _errors(process: subprocess.Popen[str]) -> str:
    process.kill()
    return process.stderr.read() if process.stderr else ""


def _close(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def main() -> None:
    """Run the sweep and print its verdict."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill_sweep", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kill", choices=tuple(VICTIMS), default="tree")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = sweep(arguments.rounds, Path(folder), seed=arguments.seed, kill=arguments.kill)
    print(f"{result.rounds} rounds in {time.perf_counter() - began:.0f} s, seed {arguments.seed}")
    print("acknowledged: " + ", ".join(f"{count} {kind}" for kind, count in sorted(result.acknowledged.items())))
    counts = {name: len(getattr(result, name)) for name in ("lost", "doubled", "stuck", "orphans")}
    print(", ".join(f"{name} {count}" for name, count in counts.items()))
    for name in (*result.lost, *result.doubled, *result.stuck, *result.orphans):
        print(f"  {name}")
    sys.exit(0 if result.clean else 1)


if __name__ == "__main__":
    main()
