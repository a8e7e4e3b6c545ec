"""Statements that are compiled once have the text and the values of those compiled each time."""

from __future__ import annotations

from dataclasses import replace

import peewee
import pytest

from compozy.store import Execution, Store, TaskExecution
from compozy.store.prepared import statements
from compozy.store.records import timestamp
from compozy.store.store import _row

ENDED = Execution("e", "w", "2", "failed", {"a": 1}, timestamp(), timestamp(), output=[2], error="no", run_id="r")


def tasks(count: int) -> tuple[TaskExecution, ...]:
    """Return tasks of which no two fields are equal."""
    begun = TaskExecution("e", "a", 0, "basic", "failed", timestamp(), timestamp(), attempt=2, error="no")
    return tuple(replace(begun, path=f"t{number}", iteration=number) for number in range(count))


@pytest.mark.parametrize("count", [None, 0, 1, 3, 1001])
@pytest.mark.parametrize(
    "database",
    [
        pytest.param(peewee.SqliteDatabase(None), id="sqlite"),
        pytest.param(peewee.PostgresqlDatabase(None), id="postgres"),
    ],
)
def test_prepared_statements_are_those_compiled_with_the_values(database: peewee.Database, count: int | None) -> None:
    store = Store(database)
    row, given = _row(ENDED), None if count is None else tasks(count)
    for prepared, build in ((store._started, store._start), (store._ended, store._end)):
        for _ in range(2):
            assert prepared.bind(row, given) == [(sql, list(values)) for sql, values in statements(build(row, given))]
