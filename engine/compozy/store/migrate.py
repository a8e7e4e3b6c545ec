"""Bring the tables of a database to the shipped version, forward and back.

What comes in: a peewee database. What goes out: the names of the migrations that ran. The scripts are the
numbered files of this folder, run by `playhouse.migrations` inside one transaction, so that a failure
leaves the schema as it was; on PostgreSQL the transaction holds an advisory lock, on SQLite the write lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peewee
from playhouse import migrations

HISTORY_TABLE = "compozy_migrations"
SCRIPTS = Path(__file__).parent
_LOCK_KEY = 0x636F6D706F7A79  # "compozy" in ASCII: one number for every process that migrates


def migrate(database: peewee.Database, target: str | None = None) -> tuple[str, ...]:
    """Apply what is missing, in order, up to and with `target`; return the names applied now.

    Raises:
        playhouse.migrations.MigrationError: `target` is not a migration.
        peewee.DatabaseError: the database refused; nothing was changed.
    """
    with _alone(database):
        return tuple(_runner(database).up(target))


def revert(database: peewee.Database, target: str | None = None) -> tuple[str, ...]:
    """Take back the newest migration, or all back through `target`; return the names.

    Raises:
        playhouse.migrations.MigrationError: `target` is not applied.
        peewee.DatabaseError: the database refused; nothing was changed.
    """
    with _alone(database):
        return tuple(_runner(database).down(target))


def pending(database: peewee.Database) -> tuple[str, ...]:
    """Return the names of the migrations that are not applied yet, in order."""
    return tuple(migration.name for migration in _runner(database).status() if not migration.applied)


def unknown(database: peewee.Database) -> tuple[str, ...]:
    """Return the names of applied migrations that this version does not ship: the database is newer."""
    return tuple(migration.name for migration in _runner(database).status() if migration.path is None)


def _runner(database: peewee.Database) -> Any:
    runner: Any = migrations.Runner
    return runner(database, directory=str(SCRIPTS), table_name=HISTORY_TABLE)


@contextmanager
def _alone(database: Any) -> Iterator[None]:
    if isinstance(database, peewee.SqliteDatabase):
        with database.atomic("IMMEDIATE"):
            yield
        return
    with database.atomic():
        database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_LOCK_KEY,))
        yield
