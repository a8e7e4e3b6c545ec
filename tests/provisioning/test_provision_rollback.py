"""Real backends, a fault at each step in turn: no process, port, lock or file is left."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.polling import eventually_healthy
from tests.support.provisioning import no_threads_left

from compozy.drivers.port import Port
from compozy.drivers.ports import free_port, listening
from compozy.drivers.protocol import Description, Driver, StartContext
from compozy.errors import DriverError, ProvisionError
from compozy.provisioning.plan import Plan
from compozy.provisioning.provision import provision
from compozy.provisioning.step import Step

COMPONENTS = ("database", "redis", "temporal")
HOST = "127.0.0.1"


class FaultyDriver:
    """A real driver whose start fails at its end, when everything is up already."""

    def __init__(self, factory: str, options: dict[str, Any]) -> None:
        module, _, name = factory.partition(":")
        self._real: Driver = getattr(import_module(module), name)(**options)

    @property
    def handle(self) -> Any:
        return self._real.handle

    def start(self, context: StartContext) -> None:
        self._real.start(context)
        raise DriverError("the planted fault")

    def ping(self) -> None:
        self._real.ping()

    def stop(self, grace_s: float) -> None:
        self._real.stop(grace_s)

    def describe(self) -> Description:
        return self._real.describe()


def faulty(step: Step) -> Step:
    options = {"factory": step.factory, "options": dict(step.options)}
    return replace(step, factory="tests.provisioning.test_provision_rollback:FaultyDriver", options=options)


def real_plan(mode: str, directory: Path, port: int, data: str = ".compozy") -> Plan:
    """Return a plan of a project in `directory`, whose components keep what they keep below `data`.

    The key file is in the state directory, because a failed start leaves one elsewhere: it may be shared.
    """
    kept = mode == "persistent"
    state = directory / data
    sqlite = {"path": str(state / "compozy.db") if kept else ":memory:"}
    valkey = {"persistence": kept, "data_dir": str(state / "redis") if kept else None}
    temporal = {
        "database_file": str(state / "temporal.db") if kept else ":memory:", "bind_ip": HOST,
        "frontend_port": Port(port, "temporal.standalone.frontend_port", explicit=True), "enable_ui": False,
        "ui_port": Port(port, "temporal.standalone.ui_port", explicit=False), "require_ui": False,
        "namespace": "default", "log_level": "error",
        "encryption_key_file": str(directory / ".compozy" / "key") if kept else None,
    }  # fmt: skip
    steps = (
        Step("database", "sqlite", "sqlite", "compozy.drivers.sqlite:SqliteDriver", sqlite, (), 30.0),
        Step("redis", "valkey", "valkey", "compozy.drivers.redis_embedded:ValkeyDriver", valkey, (), 30.0),
        Step("temporal", "temporal-embedded", "temporal-embedded",
             "compozy.drivers.temporal_embedded:TemporalEmbeddedDriver", temporal, (), 30.0),
    )  # fmt: skip
    return Plan(mode, steps, str(directory), str(directory / ".compozy") if kept else None)


def servers() -> set[int]:
    """Return the process ids of the servers below this process; other tests may share some."""
    children = psutil.Process().children(recursive=True)
    return {child.pid for child in children if child.name().startswith(("temporal", "valkey"))}


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files of this test alone."""
    folder = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("mode", ["memory", "persistent"])
def test_a_fault_at_any_step_leaves_nothing(mode: str, component: str, tmp_path: Path, scratch: Path) -> None:
    """After a failure of any component the machine is as it was."""
    port, before = free_port(HOST), servers()
    plan = real_plan(mode, tmp_path, port)
    steps = tuple(faulty(step) if step.component == component else step for step in plan.steps)
    with no_threads_left(), pytest.raises(ProvisionError, match="the planted fault") as caught:
        provision(replace(plan, steps=steps))
    assert caught.value.component == component
    assert (servers() - before, listening(HOST, port)) == (set(), False)
    assert [*tmp_path.iterdir(), *scratch.iterdir()] == []


@pytest.mark.parametrize("component", COMPONENTS)
def test_rollback_removes_only_own_files_outside_the_state_directory(component: str, tmp_path: Path) -> None:
    """Data may lie outside the state directory; what a failed start made there goes, what was there stays."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "notes.txt").write_text("mine")
    plan = real_plan("persistent", tmp_path, free_port(HOST), "kept/new/deep")
    steps = tuple(faulty(step) if step.component == component else step for step in plan.steps)
    with pytest.raises(ProvisionError, match="the planted fault"):
        provision(replace(plan, steps=steps))
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["kept", "kept/notes.txt"]


def test_a_failed_start_leaves_earlier_data_alone(tmp_path: Path) -> None:
    """The second start fails when everything is up; a third one finds what the first one wrote."""
    plan = real_plan("persistent", tmp_path, free_port(HOST), "data")
    with provision(plan) as runtime:
        runtime.redis.set("kept", "yes")
        with runtime.database.connection_context():
            runtime.database.execute_sql("CREATE TABLE kept (n)")
    steps = tuple(faulty(step) if step.component == "temporal" else step for step in plan.steps)
    with pytest.raises(ProvisionError, match="the planted fault"):
        provision(replace(plan, steps=steps))
    with provision(plan) as runtime:
        assert (runtime.redis.get("kept"), runtime.database.get_tables()) == (b"yes", ["kept"])


@pytest.mark.parametrize("mode", ["memory", "persistent"])
def test_real_components_start_answer_and_stop(mode: str, tmp_path: Path) -> None:
    """All three are healthy, and after closing only what is to be kept is there."""
    port, before = free_port(HOST), servers()
    with no_threads_left(), provision(real_plan(mode, tmp_path, port)) as runtime:
        assert set(runtime.health()) == {*COMPONENTS}
        eventually_healthy(runtime.health)
        assert runtime.database.execute_sql("SELECT 1").fetchone() == (1,)
        assert runtime.redis.ping()
        assert runtime.temporal.namespace == "default"
        runtime.database.close()
    assert (servers() - before, listening(HOST, port)) == (set(), False)
    kept = {path.name for path in (tmp_path / ".compozy").glob("*")}
    expected = {
        ".gitignore",
        "compozy.db",
        "inventory.json",
        "key",
        "redis",
        "temporal.db",
        "temporal.db.version",
        "version",
    }
    assert {name for name in kept if not name.endswith(("-wal", "-shm"))} == (
        expected if mode == "persistent" else set()
    )
