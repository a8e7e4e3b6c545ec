"""Create the table of the tasks of executions: a read model of their histories, one row for each turn of a task.

The model is a frozen copy, independent of what the store uses later.
"""

from __future__ import annotations

from typing import Any

import peewee


class TaskExecution(peewee.Model):
    """One turn of a task of an execution."""

    execution = peewee.TextField()
    path = peewee.TextField()
    iteration = peewee.IntegerField()
    type = peewee.TextField()
    status = peewee.TextField()
    started_at = peewee.TextField()
    finished_at = peewee.TextField(null=True)
    attempt = peewee.IntegerField()
    error = peewee.TextField(null=True)

    class Meta:
        """Name and key."""

        table_name = "task_executions"
        primary_key = peewee.CompositeKey("execution", "path", "iteration")


def up(_migrator: Any, database: peewee.Database) -> None:
    """Create the table."""
    database.bind([TaskExecution])
    database.create_tables([TaskExecution], safe=False)


def down(_migrator: Any, database: peewee.Database) -> None:
    """Drop the table."""
    database.bind([TaskExecution])
    database.drop_tables([TaskExecution])
