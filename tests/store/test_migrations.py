"""The schema: forward, back, by several processes at once, and the same on every database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import peewee
import pytest
from playhouse.migrations import MigrationError

from compozy.store import Store, UnavailableError, migrate

NAMES = tuple(sorted(path.stem for path in migrate.SCRIPTS.glob("[0-9]*.py")))
COLUMNS = {
    "executions": {
        "id": False, "workflow": False, "version": False, "status": False, "input": False, "output": True,
        "error": True, "started_at": False, "finished_at": True,
    },
    "workflows": {"id": False, "version": False, "definition": False, "imported_at": False},
}  # fmt: skip


def columns(database: peewee.Database) -> dict[str, dict[str, bool]]:
    """Return which columns each of our tables has, and which of them may be null."""
    with database.connection_context():
        return {
            table: {column.name: column.null for column in database.get_columns(table)}
            for table in database.get_tables()
            if table != migrate.HISTORY_TABLE
        }


def test_forward_makes_the_tables(database: peewee.Database) -> None:
    """An empty database gets every migration, once."""
    store = Store(database)
    assert store.pending() == NAMES

    assert store.migrate() == NAMES
    assert store.migrate() == ()

    assert store.pending() == ()
    assert columns(database) == COLUMNS


def test_back_takes_everything_away(database: peewee.Database) -> None:
    """Reverting leaves no table, and forward works again."""
    store = Store(database)
    store.migrate()

    assert store.revert(NAMES[0]) == NAMES[::-1]
    assert columns(database) == {}

    assert store.migrate() == NAMES
    assert columns(database) == COLUMNS


def test_several_processes_migrate_once(database: peewee.Database) -> None:
    """Whoever comes second waits, and finds nothing left to do."""
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: Store(database).migrate(), range(4)))

    assert sorted(done, key=len) == [(), (), (), NAMES]


def test_a_failing_migration_changes_nothing(
    database: peewee.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All migrations of one call are one transaction."""
    for path in migrate.SCRIPTS.glob("[0-9]*.py"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "9999_broken.py").write_text(
        "def up(migrator, database):\n    database.execute_sql('CREATE TABLE extra (id INTEGER)')\n"
        "    database.execute_sql('SELECT * FROM no_such_table')\n"
    )
    monkeypatch.setattr(migrate, "SCRIPTS", tmp_path)

    with pytest.raises((UnavailableError, peewee.ProgrammingError), match="no_such_table"):
        Store(database).migrate()

    assert columns(database) == {}


def test_a_newer_database_is_known(database: peewee.Database) -> None:
    """A migration that this version does not ship is named."""
    store = Store(database)
    store.migrate()
    with database.connection_context():
        assert migrate.unknown(database) == ()
        later = {"name": "9999_later", "applied": "2030-01-01 00:00:00"}
        peewee.Table(migrate.HISTORY_TABLE, ("id", "name", "applied"), "id").insert(later).execute(database)

        assert migrate.unknown(database) == ("9999_later",)


def test_an_unknown_target_is_an_error(database: peewee.Database) -> None:
    """A migration that does not exist is not silently ignored."""
    with pytest.raises(MigrationError, match="0000_nothing"):
        migrate.migrate(database, "0000_nothing")
    database.close()
