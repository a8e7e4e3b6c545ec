"""Coverage is measured in the one run of the tests, for a part of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.traced_tests import CHILDREN, REPEATING, STARTING, TracedTests

ROOT = Path(__file__).parents[2]


class Recorded:
    """Notes when the measurement starts and stops; stands for `coverage.Coverage`."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append(f"start, children {'traced' if CHILDREN in os.environ else 'untraced'}")

    def stop(self) -> None:
        self.calls.append("stop")


UNTRACED = "tests/supply/test_lock.py::test_a"


@pytest.mark.parametrize(
    ("nodeid", "calls"),
    [
        ("tests/cli/test_x.py::test_a[one]", ["start, children untraced", "stop"]),
        ("tests/cli/test_x.py::test_a[two]", []),
        ("tests/e2e/test_start.py::test_a", ["start, children traced", "stop"]),
        (UNTRACED, []),
    ],
)
def test_first_case_of_a_function_is_traced(nodeid: str, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHILDREN, "{}")
    coverage: Any = Recorded()
    plugin = TracedTests(coverage)
    for one in (
        "tests/cli/test_x.py::test_a[one]",
        "tests/cli/test_x.py::test_a[two]",
        STARTING[0] + "::test_a",
        UNTRACED,
    ):
        plugin.pytest_itemcollected(item(one))
    run: Generator[None, object, object] = plugin.pytest_runtest_protocol(item(nodeid))
    assert list(run) == [None]
    assert coverage.calls == calls
    assert CHILDREN not in os.environ


def item(nodeid: str) -> Any:
    return SimpleNamespace(nodeid=nodeid)


def test_lists_of_tests_name_existing_files() -> None:
    assert [path for path in REPEATING + STARTING if not (ROOT / path).exists()] == []


def test_ci_fails_below_the_floor_in_the_one_run_of_the_tests() -> None:
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in steps if line.startswith("make test")] == ["make test COVERAGE=1"]
    command = ["make", "--dry-run", "test", "COVERAGE=1", "VENV=/nonexistent/venv"]
    # Variables of a make around this test would change the output.
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=True, timeout=60)
    planned = done.stdout
    assert [line.split("venv/bin/")[1].split(" -n")[0] for line in planned.splitlines()[-3:]] == [
        "coverage run -m pytest -p tests.support.traced_tests", "coverage combine --quiet", "coverage report"
    ]  # fmt: skip
