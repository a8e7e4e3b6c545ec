"""Queries of the table `task_executions`, which the store runs: one row for each turn of a task.

An execution replaces all of its rows whenever it writes, so that a repeated or a reset run leaves no row of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import peewee

from compozy.store.connected import SqlTable
from compozy.store.records import RUNNING, TaskExecution

_COLUMNS = tuple(TaskExecution.__slots__)
_KEY = ("execution", "path", "iteration")
_OUTCOME = tuple(name for name in _COLUMNS if name not in _KEY)
# Rows of one statement: SQLite takes 32,766 values, and a row has nine.
_CHUNK = 1000


class TaskRows:
    """The rows of one database."""

    def __init__(self, database: object) -> None:
        self._rows = SqlTable("task_executions", _COLUMNS, _database=database)

    def begin(self, execution_id: object, tasks: Sequence[TaskExecution], running: object) -> Iterator[peewee.Query]:
        """Yield the writes that leave `tasks` to an execution if `running` holds; else what has ended stays."""
        yield self._rows.delete().where((self._rows.execution == execution_id) & peewee.fn.EXISTS(running))
        yield from self.update(tasks)

    def replace(self, execution_id: object, tasks: Sequence[TaskExecution]) -> Iterator[peewee.Query]:
        """Yield the writes that leave exactly `tasks` to an execution."""
        yield self._rows.delete().where(self._rows.execution == execution_id)
        yield from self._upsert(tasks, None)

    def update(self, tasks: Sequence[TaskExecution]) -> Iterator[peewee.Query]:
        """Yield the writes of some tasks of an execution; a row that has ended stays."""
        yield from self._upsert(tasks, self._rows.status == RUNNING)

    def close(self, execution: Mapping[str, object]) -> peewee.Query:
        """Return the write that ends the running tasks of an execution, given by its row, as the execution ended."""
        end = {self._rows.status: execution["status"], self._rows.finished_at: execution["finished_at"]}
        running = self._rows.status == RUNNING
        return self._rows.update(end).where((self._rows.execution == execution["id"]) & running)

    def delete(self, execution_ids: Sequence[str]) -> peewee.Query:
        """Return the write that deletes the rows of executions."""
        return self._rows.delete().where(self._rows.execution.in_(list(execution_ids)))

    def of(self, execution_id: str) -> tuple[TaskExecution, ...]:
        """Return the tasks of an execution in the order in which they began."""
        query = self._rows.select().where(self._rows.execution == execution_id)
        return tuple(TaskExecution(**row) for row in query.order_by(self._rows.started_at, self._rows.path).dicts())

    def _upsert(self, tasks: Sequence[TaskExecution], replaceable: object) -> Iterator[peewee.Query]:
        for first in range(0, len(tasks), _CHUNK):
            insert = self._rows.insert([asdict(task) for task in tasks[first : first + _CHUNK]])
            yield insert.on_conflict(conflict_target=list(_KEY), preserve=_OUTCOME, where=replaceable)
