"""A database that cannot be written, or does not answer, while Temporal keeps running."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.workflows.bench import Bench

from compozy.errors import NotFoundError
from compozy.store import Execution, Store, TaskExecution, UnavailableError
from compozy.workflows.model.definition import Definition
from compozy.workflows.read.loader import definition_from_json
from compozy.workflows.service import Service


class FullStore(Store):
    """A store on a full disk: it can be read, not written."""

    full = True

    def record_started(self, execution: Execution, tasks: Sequence[TaskExecution] = ()) -> None:
        """Write, unless the disk is full."""
        if self.full:
            raise UnavailableError("database", "database or disk is full")
        super().record_started(execution, tasks)


class SilentStore(Store):
    """A store whose server takes a question and does not answer until it is let go."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.answers = threading.Event()

    def executions(self, **_: object) -> tuple[Execution, ...]:
        """Wait."""
        self.answers.wait(30)
        return ()


@pytest.fixture
def nap() -> Definition:
    return definition_from_json({"id": "nap", "tasks": [{"id": "a", "type": "aggregate", "output": 1}]}, "nap")


@pytest.fixture
def silent(bench: Bench, tmp_path: Path) -> Iterator[tuple[Service, SilentStore]]:
    bench.open()
    store = SilentStore(bench.database)
    made = Service(bench.client, store, task_queue=bench.task_queue, directory=str(tmp_path), patience_s=0.2)
    yield made, store
    store.answers.set()
    made.close()


def test_an_accepted_execution_is_known_without_its_row(bench: Bench, tmp_path: Path, nap: Definition) -> None:
    """Its status is not `not found`; after the disk has room again, the row counts."""
    bench.open()
    store = FullStore(bench.database)
    service = Service(bench.client, store, task_queue=bench.task_queue, directory=str(tmp_path))
    name = bench.call(service.start(nap, execution_id="accepted"))
    assert bench.call(service.execution(name)).status in ("running", "completed")
    with pytest.raises(NotFoundError):
        bench.call(service.execution("never-started"))
    store.full = False
    assert bench.call(service.wait(name, 20)).status == "completed"
    service.close()


def test_late_rows_are_bounded_and_written_later(
    bench: Bench, tmp_path: Path, nap: Definition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While rows cannot be written a bounded number waits; then nothing is started. The upkeep writes them."""
    monkeypatch.setattr("compozy.workflows.late_rows.MOST_ROWS", 2)
    bench.open()
    store = FullStore(bench.database)
    service = Service(bench.client, store, task_queue="without-worker", directory=str(tmp_path))
    names = [bench.call(service.start(nap)) for _ in range(2)]
    with pytest.raises(UnavailableError, match="2 executions wait for their rows"):
        bench.call(service.start(nap))
    store.full = False
    bench.call(service.reconcile())
    assert {bench.call(service.execution(name)).status for name in names} == {"running"}
    names.append(bench.call(service.start(nap)))
    for name in names:
        bench.call(service.terminate(name))
    service.close()


def test_a_silent_database_is_not_available(bench: Bench, silent: tuple[Service, SilentStore]) -> None:
    """The answer comes in time, and as soon as the database answers again, so does the service."""
    service, store = silent
    with pytest.raises(UnavailableError, match="database is not available: no answer within 0.2 s"):
        bench.call(service.executions())
    store.answers.set()
    assert bench.call(service.executions()) == ()
