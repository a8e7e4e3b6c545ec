"""Coverage traces the tests that reach new code, not those that repeat it: a traced test takes twice the CPU time.

The first case of each test function is traced, and in one process of pytest-xdist what the collection of tests imports.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from coverage import Coverage

# Random input or whole rule sets: much processor time, and next to no line or branch that other tests do not reach.
REPEATING = (
    "property_tests/", "tests/backup/test_backup_vectors.py", "tests/rules/test_rules_resolved.py",
    "tests/rules/test_rules_table_examples.py", "tests/rules/test_rules_verified.py", "tests/rules/test_rules_views.py",
    "tests/schema/test_generated.py", "tests/supply/", "tests/tables/test_tables_budget.py",
)  # fmt: skip
# Their processes are traced too: a whole command, its signals, and the pytest plugin in a project of a user.
STARTING = ("tests/e2e/test_start.py", "tests/e2e/test_signals.py", "tests/testing/test_plugin.py")
# The configuration that coverage leaves for child processes; without it, they are not traced.
CHILDREN = "COVERAGE_PROCESS_CONFIG"


class TracedTests:
    """Starts and stops the measurement of this process around the tests that are traced."""

    def __init__(self, coverage: Coverage) -> None:
        self._coverage = coverage
        self._children = os.environ.pop(CHILDREN)
        self._functions: set[str] = set()
        self._traced: set[str] = set()

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Choose the first case of a function, in the order of the file."""
        function = item.nodeid.partition("[")[0]
        if function not in self._functions and not function.startswith(REPEATING):
            self._traced.add(item.nodeid)
        self._functions.add(function)

    def pytest_collection_finish(self) -> None:
        self._coverage.stop()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        if item.nodeid not in self._traced:
            return (yield)
        if item.nodeid.startswith(STARTING):
            os.environ[CHILDREN] = self._children
        self._coverage.start()
        try:
            return (yield)
        finally:
            self._coverage.stop()
            os.environ.pop(CHILDREN, None)


def pytest_configure(config: pytest.Config) -> None:
    """Measure in the processes that run tests; all collect the same, so one of them traces it."""
    coverage = Coverage.current()
    if coverage is None:
        return
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker != "gw0":
        coverage.stop()
    if worker is not None:
        config.pluginmanager.register(TracedTests(coverage))
