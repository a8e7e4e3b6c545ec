"""The same test suite in memory mode and against PostgreSQL, as a user of the pytest plugin runs it.

A suite of tests that each get a fresh, migrated database, write a row and read it back; the whole pytest run counts,
with the start of the servers that the mode needs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measurement import Measurement

SUITE = """
import pytest
from compozy.store import Execution, Store

@pytest.mark.parametrize("number", range({tests}))
def test_a_row_is_read_back(compozy_database, number):
    row = Execution(f"row-{{number}}", "w", "0.1.0", "running", {{"n": number}}, "2026-01-01T00:00:00Z")
    store = Store(compozy_database)
    store.record_started(row)
    assert list(store.executions()) == [row]
"""
MODES = ("memory", "persistent", "distributed")


def run(short: bool) -> list[Measurement]:
    """Return the time of the whole run in each mode; `short` takes one round instead of three."""
    tests, rounds = 100, 1 if short else 3
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "test_rows.py").write_text(SUITE.format(tests=tests))
        took = {mode: statistics.median(suite(folder, mode) for _ in range(rounds)) for mode in MODES}
    name = f"{tests} tests with a fresh database each"
    reference = f"{name}, distributed (PostgreSQL)"
    return [
        Measurement(f"{name}, {mode}", took[mode], "s", reference, took["distributed"])
        for mode in ("memory", "persistent")
    ]


def suite(folder: str, mode: str) -> float:
    """Return how long the run of the suite takes in `mode`, in seconds."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", folder],
        cwd=folder, env={**os.environ, "COMPOZY_TEST_MODE": mode}, check=True, capture_output=True,
    )  # fmt: skip
    return time.perf_counter() - started
