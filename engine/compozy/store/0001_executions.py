"""Create the tables of executions and of imported workflows.

The models are frozen copies of the first schema, independent of what the store uses later.
"""

from __future__ import annotations

from typing import Any

import peewee


class Execution(peewee.Model):
    """One run of a workflow."""

    id = peewee.TextField(primary_key=True)
    workflow = peewee.TextField()
    version = peewee.TextField()
    status = peewee.TextField(index=True)
    input = peewee.TextField()
    output = peewee.TextField(null=True)
    error = peewee.TextField(null=True)
    started_at = peewee.TextField(index=True)
    finished_at = peewee.TextField(null=True)

    class Meta:
        """Name and indexes."""

        table_name = "executions"
        indexes = ((("workflow", "started_at"), False),)


class Workflow(peewee.Model):
    """A definition that was imported."""

    id = peewee.TextField(primary_key=True)
    version = peewee.TextField()
    definition = peewee.TextField()
    imported_at = peewee.TextField()

    class Meta:
        """Name."""

        table_name = "workflows"


def up(_migrator: Any, database: peewee.Database) -> None:
    """Create both tables with their indexes."""
    database.bind([Execution, Workflow])
    database.create_tables([Execution, Workflow], safe=False)


def down(_migrator: Any, database: peewee.Database) -> None:
    """Drop both tables."""
    database.bind([Execution, Workflow])
    database.drop_tables([Execution, Workflow])
