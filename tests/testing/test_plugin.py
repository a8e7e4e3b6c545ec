"""The pytest plugin as a user's project sees it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from .suite_run import PLUGIN, run_tests

pytestmark = pytest.mark.distributed

MODES = """
import pytest


def test_of_no_mode(compozy_mode):
    assert compozy_mode == "{default}"


@pytest.mark.compozy("persistent")
def test_of_a_mode(compozy_mode):
    assert compozy_mode == "persistent"


@pytest.mark.compozy(mode="persistent")
class TestOfAClass:
    def test_of_its_class(self, compozy_mode):
        assert compozy_mode == "persistent"

    @pytest.mark.compozy("distributed")
    def test_of_the_closest(self, compozy_mode):
        assert compozy_mode == "distributed"


@pytest.mark.parametrize("compozy_mode", ["memory", "persistent"])
def test_of_a_parameter(compozy_mode, request):
    assert compozy_mode in request.node.name


@pytest.mark.parametrize("compozy_mode", ["memory", "persistent"], indirect=True)
def test_of_an_indirect_parameter(compozy_mode, request):
    assert compozy_mode in request.node.name
"""
DATABASES = """
import pytest

from compozy.store import Execution, Store

RECORD = Execution("one", "hello", "1", "running", {}, started_at="2025-01-01T00:00:00.000000Z")


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_a_fresh_database(compozy_database, turn):
    store = Store(compozy_database)
    assert store.execution("one") is None
    store.record_started(RECORD)


def test_several_in_one_test(database_for_mode):
    first, second = Store(database_for_mode("memory")), Store(database_for_mode("memory"))
    first.record_started(RECORD)
    assert second.execution("one") is None


@pytest.mark.compozy(settings={"redis.standalone.engine": "fakeredis"})
def test_settings_come_from_the_marker(compozy_runtime):
    drivers = [step.driver for step in compozy_runtime.plan.steps if step.component == "redis"]
    assert drivers == ["fakeredis"]
    assert all(health.healthy for health in compozy_runtime.health().values())


def test_a_postgres(compozy_postgres):
    with compozy_postgres.database() as url:
        assert url.startswith("postgresql://")
"""
SKIPPED = """
def test_a_workflow_of_the_project(compozy_workflows):
    execution = compozy_workflows.run("nap", {"n": 2}, timeout_s=60)
    assert (execution.status, execution.output) == ("completed", {"doubled": 4})


def test_clock_belongs_to_its_own_test(compozy_workflows):
    name = compozy_workflows.start("nap", {"n": 3})
    assert compozy_workflows.wait(name, 60).output == {"doubled": 6}
"""
NAP = """
id: nap
input: {n: 1}
tasks:
  - {id: rest, type: aggregate, sleep: 30d, output: x}
  - {id: double, type: basic, tool: "doubling:double", with: {n: "{{ workflow.input.n }}"}}
outputs: {doubled: "{{ tasks.double.output }}"}
"""
UNKNOWN = """
import pytest


@pytest.mark.compozy("foo")
def test_a_runtime(compozy_runtime):
    pass


@pytest.mark.compozy("foo")
def test_a_database(compozy_database):
    pass


def test_the_variable(compozy_database):
    pass
"""
LOADED = f"""
import sys
import pytest
before = set(sys.modules)
import {PLUGIN}
print(*sorted(name for name in set(sys.modules) - before if not name.startswith("compozy")))
"""


def test_the_mode_comes_from_marker_or_parameter(tmp_path: Path) -> None:
    """The closest one counts; without any it is memory."""
    run = run_tests(tmp_path, {"test_modes.py": MODES.format(default="memory")})
    assert set(run.outcomes.values()) == {"passed"}, run.output
    assert len(run.outcomes) == 8


def test_variable_sets_the_mode_of_unmarked_tests(tmp_path: Path) -> None:
    """`COMPOZY_TEST_MODE` runs the others in another mode."""
    environment = {"COMPOZY_TEST_MODE": "distributed"}
    run = run_tests(tmp_path, {"test_modes.py": MODES.format(default="distributed")}, environment)
    assert set(run.outcomes.values()) == {"passed"}, run.output


def test_fixtures_give_the_components_of_a_mode(tmp_path: Path) -> None:
    """Each test has its own."""
    run = run_tests(tmp_path, {"test_databases.py": DATABASES})
    assert set(run.outcomes.values()) == {"passed"}, run.output


def test_the_same_tests_run_on_postgres(tmp_path: Path) -> None:
    """One variable moves a suite to another mode."""
    environment = {"COMPOZY_TEST_MODE": "distributed"}
    run = run_tests(tmp_path, {"test_databases.py": DATABASES}, environment)
    outcomes = {name: outcome for name, outcome in run.outcomes.items() if "marker" not in name}
    assert set(outcomes.values()) == {"passed"}, run.output


def test_workflows_of_the_project_run_without_waiting_for_timers(tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "nap.yaml").write_text(NAP)
    (tmp_path / "doubling.py").write_text("def double(n):\n    return 2 * n\n")
    run = run_tests(tmp_path, {"test_skipped.py": SKIPPED})
    assert set(run.outcomes.values()) == {"passed"}, run.output
    assert len(run.outcomes) == 2


def test_an_unknown_mode_fails(tmp_path: Path) -> None:
    """The text is that of the command line, for every source of the mode, without a traceback."""
    run = run_tests(tmp_path, {"test_unknown.py": UNKNOWN}, {"COMPOZY_TEST_MODE": "bar"})
    for name, mode in (("test_a_runtime", "foo"), ("test_a_database", "foo"), ("test_the_variable", "bar")):
        assert f'invalid mode "{mode}". Valid modes: memory, persistent, distributed' in run.outcomes[name]
    assert "Traceback" not in run.output
    assert "testbed.py" not in run.output


def test_loading_the_plugin_costs_nothing() -> None:
    """Every pytest session of the environment loads it; nothing is imported before a fixture is used."""
    loaded = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_pytest_finds_the_plugin() -> None:
    """It is there without `-p`, by the entry point of the distribution."""
    assert [point.value for point in entry_points(group="pytest11") if point.name == "compozy"] == [PLUGIN]
