"""Rows of tasks: a read model that an execution replaces whenever it writes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import peewee
import pytest

from compozy.store import Execution, Store, TaskExecution

START, END = "2025-01-01T00:00:00.000000Z", "2025-01-01T00:00:01.000000Z"
RUNNING = Execution("e1", "flow", "1.0", "running", {}, START)
DONE = replace(RUNNING, status="completed", finished_at=END)
FETCH = TaskExecution("e1", "fetch", 0, "basic", "completed", START, END, attempt=2)
SHOW = TaskExecution("e1", "a", 0, "aggregate", "running", START.replace("000Z", "001Z"))


def test_tasks_are_read_in_the_order_of_their_starts(store: Store) -> None:
    store.record_started(RUNNING, [SHOW, FETCH])
    store.record_started(replace(RUNNING, id="e2"), [replace(FETCH, execution="e2", error="x", status="failed")])

    assert store.tasks("e1") == (FETCH, SHOW)
    assert store.tasks("e3") == store.tasks("\0") == ()


@pytest.mark.parametrize("order", sorted(set(itertools.permutations(("start", "end", "end")))), ids="-".join)
def test_repeated_writes_leave_the_tasks_of_the_last_end(store: Store, order: tuple[str, ...]) -> None:
    ended = replace(SHOW, status="completed", finished_at=END)
    writes = {
        "start": ((RUNNING, [FETCH, SHOW]), store.record_started),
        "end": ((DONE, [FETCH, ended]), store.record_finished),
    }
    for name in (*order, "end"):
        given, write = writes[name]
        write(*given)
    store.record_started(RUNNING, [FETCH, SHOW])

    assert store.tasks("e1") == (FETCH, ended)


def test_another_run_leaves_no_task_of_the_earlier_one(store: Store) -> None:
    store.record_finished(DONE, [FETCH, SHOW])
    store.record_finished(replace(DONE, run_id="r2"), [FETCH])
    assert store.tasks("e1") == (FETCH,)


def test_new_run_replaces_ended_tasks(store: Store) -> None:
    store.record_finished(replace(DONE, run_id="r1"), [FETCH, replace(SHOW, status="completed")])
    again = replace(FETCH, status="running", finished_at=None)
    store.record_started(replace(RUNNING, run_id="r2"), [again])
    assert store.tasks("e1") == (again,)


def test_running_tasks_end_with_an_execution_without_writes(store: Store) -> None:
    store.record_started(RUNNING, [FETCH, SHOW])
    store.record_finished(replace(DONE, status="terminated"))
    assert store.tasks("e1") == (FETCH, replace(SHOW, status="terminated", finished_at=END))


def test_an_attempt_changes_a_running_task_only(store: Store) -> None:
    store.record_tasks([SHOW])
    store.record_tasks([replace(SHOW, attempt=3)])
    assert store.tasks("e1") == (replace(SHOW, attempt=3),)

    store.record_finished(DONE, [replace(SHOW, status="failed", attempt=3)])
    store.record_tasks([replace(SHOW, attempt=2)])
    assert store.tasks("e1") == (replace(SHOW, status="failed", attempt=3),)


def test_tasks_are_deleted_with_their_execution(store: Store) -> None:
    store.record_finished(DONE, [FETCH])
    store.record_finished(
        replace(DONE, id="e2", finished_at="2026-01-01T00:00:00.000000Z"), [replace(FETCH, execution="e2")]
    )

    assert store.prune("2025-06-01T00:00:00.000000Z") == 1

    assert store.tasks("e1") == ()
    assert len(store.tasks("e2")) == 1


def test_more_tasks_than_a_statement_takes_are_written(store: Store) -> None:
    tasks = [replace(FETCH, path=f"t{number:04}") for number in range(2500)]
    store.record_finished(DONE, tasks)
    assert store.tasks("e1") == tuple(tasks)


def test_an_end_and_its_tasks_are_one_transaction(store: Store) -> None:
    """A refused write of a task leaves the execution unchanged."""
    missing: Any = None
    bad = replace(FETCH, type=missing)
    with pytest.raises(peewee.IntegrityError):
        store.record_finished(DONE, [SHOW, bad])
    assert store.execution("e1") is None
    assert store.tasks("e1") == ()


def test_an_end_and_its_tasks_take_one_round_trip_to_postgresql(
    store: Store, database: peewee.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    execute: Any = database.execute_sql

    def counted(sql: str, *arguments: Any, **options: Any) -> Any:
        asked.append(sql)
        return execute(sql, *arguments, **options)

    monkeypatch.setattr(database, "execute_sql", counted)
    store.record_finished(DONE, [FETCH, SHOW])
    assert isinstance(database, peewee.SqliteDatabase) or len(asked) == 1
