"""Rows of executions and imported workflows: idempotent, ordered, and apart for each store."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import peewee
import pytest
from tests.store.conftest import POOL, Opener

from compozy.store import FINISHED, LOST, Execution, Store, StoredWorkflow, UnavailableError
from compozy.store.records import Position, read_cursor, timestamp
from compozy.testing.postgres_server import PostgresServer

RUNNING = Execution("e1", "flow", "1.0", "running", {"n": 1}, "2025-01-01T00:00:00.000000Z")
DONE = replace(RUNNING, status="completed", output={"x": [1, None]}, finished_at="2025-01-01T00:00:01.000000Z")


def test_written_values_are_read_back(store: Store) -> None:
    """Input and output keep their JSON types; None and null are one."""
    store.record_started(RUNNING)
    assert store.execution("e1") == RUNNING

    store.record_finished(DONE)
    assert store.execution("e1") == DONE
    assert store.execution("e2") is None


@pytest.mark.parametrize("output", [0, False, "", [], {}, "text", 1.5])
def test_every_json_output_is_kept(store: Store, output: object) -> None:
    """Values that are false in Python are values."""
    store.record_finished(replace(DONE, output=output))

    found = store.execution("e1")
    assert found is not None
    assert (found.output, type(found.output)) == (output, type(output))


@pytest.mark.parametrize("order", sorted(set(itertools.permutations(("start", "start", "end", "end")))), ids="-".join)
def test_delivery_in_any_order_and_twice_gives_one_row(store: Store, order: tuple[str, ...]) -> None:
    """Writes are delivered at least once, late ones too: the end stays the end."""
    writes = {"start": lambda: store.record_started(RUNNING), "end": lambda: store.record_finished(DONE)}

    for write in order:
        writes[write]()

    assert store.executions() == (DONE,)


@pytest.mark.parametrize("first", FINISHED)
def test_the_first_end_stays(store: Store, first: str) -> None:
    """A finished status is never changed again."""
    store.record_finished(replace(DONE, status=first))

    store.record_finished(replace(DONE, status="failed", error="later", output=None))
    store.record_started(RUNNING)

    found = store.execution("e1")
    assert found is not None
    assert (found.status, found.error) == (first, None)


def test_execution_reported_as_lost_may_return(store: Store) -> None:
    """A loss is a guess: the execution itself knows better, when another Temporal has it."""
    lost = replace(DONE, status="terminated", error=LOST, output=None)
    store.record_finished(lost)

    store.record_started(RUNNING)
    assert store.execution("e1") == RUNNING

    store.record_finished(lost)
    store.record_finished(DONE)
    assert store.execution("e1") == DONE


def test_the_newest_come_first(store: Store) -> None:
    """Executions are ordered by their start, then by id; filters and limits apply."""
    rows = [
        replace(RUNNING, id=f"e{n}", workflow="ab"[n % 2], started_at=f"2025-01-0{n // 2 + 1}T00:00:00.000000Z")
        for n in range(6)
    ]
    for row in rows:
        store.record_started(row)
    store.record_finished(replace(rows[0], status="failed", error="x", finished_at=timestamp()))

    assert [row.id for row in store.executions()] == ["e5", "e4", "e3", "e2", "e1", "e0"]
    assert [row.id for row in store.executions(limit=2)] == ["e5", "e4"]
    assert [row.id for row in store.executions(limit=2, before=rows[3].position)] == ["e2", "e1"]
    assert [row.id for row in store.executions(workflow="a")] == ["e4", "e2", "e0"]
    assert [row.id for row in store.executions(workflow="a", status="running")] == ["e4", "e2"]
    assert store.count_by_status() == {"running": 5, "failed": 1}


@pytest.mark.parametrize("limit", [0, -5])
def test_a_limit_is_at_least_one(store: Store, limit: int) -> None:
    """A senseless limit does not mean everything."""
    store.record_started(RUNNING)
    store.record_started(replace(RUNNING, id="e2"))

    assert len(store.executions(limit=limit)) == 1


def test_workflows_are_replaced_by_id(store: Store) -> None:
    """The last import of an id counts."""
    first = StoredWorkflow("b", "1", {"id": "b", "tasks": []}, timestamp())
    again = replace(first, version="2", definition={"id": "b", "tasks": [1]})
    other = replace(first, id="a")
    for workflow in (first, other, again, again):
        store.save_workflow(workflow)

    assert store.workflows() == (other, again)
    assert store.workflow("b") == again
    assert store.workflow("c") is None


def test_names_are_data(store: Store) -> None:
    """Text is never part of a statement."""
    name = "x'; DROP TABLE executions; -- %s ? \" é 😀"
    row = replace(RUNNING, id=name, workflow=name, input={name: name})
    store.record_started(row)

    assert store.executions(workflow=name) == (row,)


@pytest.mark.parametrize("name", ["\0", "a\0b", "\ud800"])
def test_names_invalid_in_databases_are_not_found(store: Store, name: str) -> None:
    """Asking for an impossible name is no error."""
    assert store.execution(name) is None
    assert store.workflow(name) is None
    assert store.executions(workflow=name) == ()


def test_threads_share_one_store(store: Store) -> None:
    """Many threads write and read at once, and nothing is lost or locked out."""

    def work(number: int) -> None:
        row = replace(RUNNING, id=f"t{number}")
        store.record_started(row)
        store.record_finished(replace(row, status="completed", finished_at=timestamp()))
        store.executions(limit=5)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(80)))

    assert store.count_by_status() == {"completed": 80}


def test_two_stores_do_not_know_each_other(opened: Opener) -> None:
    """Tables are bound to their store, not to the program."""
    one, two = Store(opened("sqlite-memory")), Store(opened("sqlite-memory"))
    one.migrate()
    two.migrate()
    one.record_started(RUNNING)

    assert one.executions() == (RUNNING,)
    assert two.executions() == ()


def test_calls_leave_no_connection_behind(store: Store, database: peewee.Database) -> None:
    """Each call closes the connection that it opened, and only that."""
    store.executions()
    assert database.is_closed()

    with database.connection_context():
        store.executions()
        assert not database.is_closed()


def test_missing_database_is_an_outage() -> None:
    """An outage is one kind of error with a clear text."""
    store = Store(peewee.SqliteDatabase("/nowhere/at/all.db"))

    with pytest.raises(UnavailableError) as caught:
        store.ping()

    assert caught.value.component == "database"
    assert caught.value.message == (
        "database is not available: the file cannot be opened (unable to open database file)"
    )


def test_times_sort_as_text() -> None:
    """Timestamps are UTC and of one length."""
    assert len(timestamp()) == len("2025-01-01T00:00:00.000000Z")
    assert timestamp().endswith("Z")


def test_outage_of_postgres_is_reported_and_survived(postgres_server: PostgresServer, opened: Opener) -> None:
    """Connections of before the outage do no harm after it."""
    store = Store(opened("postgres"))
    store.migrate()
    store.record_started(RUNNING)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: store.executions(), range(40)))

    postgres_server.stop()
    with pytest.raises(UnavailableError, match="database is not available"):
        store.executions()
    postgres_server.start()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: store.executions(), range(40))) == [(RUNNING,)] * 40
    store.record_finished(DONE)
    assert store.execution("e1") == DONE


def test_a_pool_without_a_free_connection_is_an_outage(postgres_server: PostgresServer) -> None:
    """A caller that gets no connection receives an error that can be retried."""
    with postgres_server.database() as url:
        pool = POOL(url, max_connections=1)
        with pool.connection_context(), ThreadPoolExecutor(1) as other:
            asking = other.submit(Store(pool).ping)
            with pytest.raises(UnavailableError, match="database is not available"):
                asking.result()
        pool.close_all()


def test_changes_are_the_running_the_new_and_the_named(store: Store) -> None:
    """Everything else stays out, and the order is that of the starts."""
    for name, status, day in (
        ("old", "failed", 1),
        ("runs", "running", 2),
        ("named", "failed", 3),
        ("new", "failed", 5),
    ):
        row = replace(DONE, id=name, status=status, started_at=f"2025-01-0{day}T00:00:00.000000Z")
        (store.record_finished if row.finished else store.record_started)(row)

    assert [change.id for change in store.changes("2025-01-04", ["named"])] == ["runs", "named", "new"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "e30", "W10", "WzEsMl0", "Wzw", "\ud800"),
        pytest.param(Position(DONE.started_at, "\ud800").cursor(), id="surrogate"),
        pytest.param(Position(DONE.started_at, "\0").cursor(), id="nul"),
        pytest.param(Position("x", "y").cursor(), id="no-moment"),
        pytest.param(Position("2025-01-02T00:00:00.1Z", "y").cursor(), id="moment-in-another-form"),
        pytest.param(Position("9" * 5000, "y").cursor(), id="long-moment"),
        pytest.param(Position("0001-01-01T00:00:00+14:00", "y").cursor(), id="moment-before-all-others"),
    ],
)
def test_unknown_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        read_cursor(text)


def test_cursor_round_trip() -> None:
    assert read_cursor(DONE.position.cursor()) == DONE.position
