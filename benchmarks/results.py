"""Stored measurements: one JSON file for each benchmark, with machine, date and commit.

`benchmarks/results/NAME.json` is the last complete run. A later run is compared with it before it replaces it; the
documentation's page and pictures are generated from these files.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks.measurement import Measurement

FOLDER = Path(__file__).parent / "results"


class Machine(msgspec.Struct, frozen=True):
    """The machine of a run; `load` is the load average of the minute before it."""

    system: str
    processor: str
    cores: int
    python: str
    load: float


class Result(msgspec.Struct, frozen=True):
    """One complete run of a benchmark; `date` is a day in UTC, `commit` ends in `+` when the tree had changes."""

    name: str
    date: str
    commit: str
    machine: Machine
    measurements: tuple[Measurement, ...]

    def ratios(self) -> dict[tuple[str, str], float]:
        """Return the ratio of each measurement by its name and its reference."""
        return {(row.name, row.reference): row.ratio for row in self.measurements if row.reference}


def this_machine() -> Machine:
    """Return the machine that runs this process."""
    return Machine(
        f"{platform.system()} {platform.release()}",
        _processor(),
        os.cpu_count() or 1,
        platform.python_version(),
        round(os.getloadavg()[0], 2),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def measured(name: str, machine: Machine, rows: Sequence[Measurement]) -> Result:
    """Return the result of a run of today's date at the present commit."""
    return Result(name, f"{datetime.now(UTC):%Y-%m-%d}", _commit(), machine, tuple(rows))


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--exclude=*", "--dirty=+"],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def last(name: str, folder: Path = FOLDER) -> Result | None:
    """Return the stored run of a benchmark, or None."""
    file = folder / f"{name}.json"
    return msgspec.json.decode(file.read_bytes(), type=Result) if file.is_file() else None


def save(result: Result, folder: Path = FOLDER) -> None:
    """Replace the stored run of the benchmark."""
    folder.mkdir(exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(result), indent=2)
    (folder / f"{result.name}.json").write_bytes(text + b"\n")


def compared(result: Result, before: Result) -> list[str]:
    """Return a line for each ratio that both runs have: the ratio before, the ratio now, and the change in percent."""
    known = before.ratios()
    return [
        f"{name} / {reference}: {known[name, reference]:.2f} -> {ratio:.2f} ({ratio / known[name, reference] - 1:+.0%})"
        for (name, reference), ratio in result.ratios().items()
        if known.get((name, reference))
    ]
