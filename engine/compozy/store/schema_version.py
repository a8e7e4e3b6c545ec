"""Migrate the tables of a database to the shipped version, forward and back.

The scripts are the numbered files of this package. `playhouse.migrations` runs them in one transaction, so that a
failure leaves the schema as it was; PostgreSQL holds an advisory lock, SQLite the write lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import peewee
from playhouse.migrations import MigrationError, Runner

from compozy.base.record import dataclass
from compozy.errors import UsageError

HISTORY_TABLE = "compozy_migrations"
SCRIPTS = Path(__file__).parent
_LOCK_KEY = 0x636F6D706F7A79  # "compozy" in ASCII: one number for every process that migrates


@dataclass(frozen=True, slots=True)
class SchemaMigration:
    """One migration: `applied_at` is None before it ran, `shipped` is False for one of a newer version."""

    name: str
    applied_at: datetime | None
    shipped: bool


def migrate(database: peewee.Database, target: str | None = None) -> tuple[str, ...]:
    """Apply what is missing, in order, up to and with `target`; return the names applied now.

    Raises:
        UsageError: `target` is not a migration.
        peewee.DatabaseError: the database refused; nothing was changed.
    """
    with _alone(database), _targets():
        return tuple(_runner(database).up(target))


def revert(database: peewee.Database, target: str | None = None) -> tuple[str, ...]:
    """Revert the newest migration, or all back through `target`; return the names.

    Raises:
        UsageError: `target` is not applied.
        peewee.DatabaseError: the database refused; nothing was changed.
    """
    with _alone(database), _targets():
        return tuple(_runner(database).down(target))


def rehearse(database: peewee.Database) -> tuple[str, ...]:
    """Apply what is missing and roll back; return the names.

    Raises:
        peewee.DatabaseError: the database refused.
    """
    with _alone(database) as transaction:
        names = tuple(_runner(database).up())
        transaction.rollback()
        return names


def migrations(database: peewee.Database) -> tuple[SchemaMigration, ...]:
    """Return the shipped and the applied migrations, in order."""
    rows = _runner(database).status()
    return tuple(SchemaMigration(row.name, row.applied, row.path is not None) for row in rows)


@contextmanager
def _targets() -> Iterator[None]:
    try:
        yield
    except MigrationError as error:
        raise UsageError(str(error), hint="compozy migrate schema --list shows the migrations") from error


def _runner(database: peewee.Database) -> Runner:
    return Runner(database, directory=str(SCRIPTS), table_name=HISTORY_TABLE)


@contextmanager
def _alone(database: peewee.Database) -> Iterator[peewee._transaction | peewee._savepoint]:
    if isinstance(database, peewee.SqliteDatabase):
        # Takes the write lock before anything is read, so that two processes do not apply the same migration.
        with database.atomic("IMMEDIATE") as transaction:
            yield transaction
        return
    # The advisory lock ends with the transaction, also when the process is killed.
    with database.atomic() as transaction:
        database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_LOCK_KEY,))
        yield transaction
