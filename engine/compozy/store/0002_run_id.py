"""Add the run of an execution: a reset in Temporal gives it a new run, whose end replaces that of the old one."""

from __future__ import annotations

from typing import Any


def up(_migrator: Any, database: Any) -> None:
    """Add the column."""
    database.execute_sql("ALTER TABLE executions ADD COLUMN run_id TEXT")


def down(_migrator: Any, database: Any) -> None:
    """Drop the column."""
    database.execute_sql("ALTER TABLE executions DROP COLUMN run_id")
