"""The schema: forward, back, by several processes at once, and the same on every database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import peewee
import pytest

from compozy.errors import UsageError
from compozy.store import SchemaError, Store, UnavailableError
from compozy.store import schema_version as migrate

NAMES = tuple(sorted(path.stem for path in migrate.SCRIPTS.glob("[0-9]*.py")))
COLUMNS = {
    "executions": {
        "id": False, "workflow": False, "version": False, "status": False, "input": False, "output": True,
        "error": True, "started_at": False, "finished_at": True, "run_id": True,
    },
    "knowledge_bases": {
        "id": False, "embedder": False, "store": False, "run": False, "status": False, "error": True,
        "removed": False, "started_at": False, "finished_at": True,
    },
    "knowledge_chunks": {
        "number": False, "id": False, "base": False, "source": False, "ordinal": False, "text": False,
        "place": False, "metadata": False,
    },
    "knowledge_discards": {"id": False, "base": False},
    "knowledge_documents": {
        "base": False, "source": False, "version": False, "run": False, "state": False, "error": True,
        "sha256": False, "recipe": False,
    },
    "task_executions": {
        "execution": False, "path": False, "iteration": False, "type": False, "status": False, "started_at": False,
        "finished_at": True, "attempt": False, "error": True,
    },
    "workflows": {"id": False, "version": False, "definition": False, "imported_at": False},
}  # fmt: skip


def pending(store: Store) -> tuple[str, ...]:
    """Return the names of the migrations that are not applied."""
    return tuple(one.name for one in store.migrations() if one.applied_at is None)


def columns(database: peewee.Database) -> dict[str, dict[str, bool]]:
    """Return the columns of each table and which may be null; the index of words is left out."""
    with database.connection_context():
        return {
            table: {column.name: column.null for column in database.get_columns(table) if column.name != "words"}
            for table in database.get_tables()
            if table != migrate.HISTORY_TABLE and not table.startswith("knowledge_words")
        }


def test_forward_makes_the_tables(database: peewee.Database) -> None:
    """An empty database gets every migration, once."""
    store = Store(database)
    assert pending(store) == NAMES

    assert store.migrate() == NAMES
    assert store.migrate() == ()

    assert pending(store) == ()
    store.require_schema()
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
    """The second process waits, and has no migration left to apply."""
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

    with pytest.raises(UnavailableError, match="no_such_table"):
        Store(database).migrate()

    assert columns(database) == {}


def test_schema_of_newer_version_is_refused(database: peewee.Database) -> None:
    """A migration that this version does not ship is named, and nothing is applied over it."""
    store = Store(database)
    store.migrate()
    with database.connection_context():
        later = {"name": "9999_later", "applied": "2030-01-01 00:00:00"}
        peewee.Table(migrate.HISTORY_TABLE, ("id", "name", "applied"), "id").insert(later).execute(database)

    for refuses in (store.migrate, store.require_schema, store.rehearse):
        with pytest.raises(SchemaError, match="a newer version of Compozy has migrated the database: 9999_later"):
            refuses()


def test_missing_schema_is_refused_and_named(database: peewee.Database) -> None:
    """Without automatic migration the error names what is missing and the command that applies it."""
    store = Store(database)
    with pytest.raises(SchemaError, match=f"lacks migrations? {', '.join(NAMES)}") as caught:
        store.require_schema()
    assert "compozy migrate schema" in str(caught.value.hint)
    assert columns(database) == {}


def test_rehearsal_changes_nothing(database: peewee.Database) -> None:
    """It runs every missing migration and leaves no table behind."""
    store = Store(database)
    assert store.rehearse() == NAMES
    assert pending(store) == NAMES
    assert columns(database) == {}
    store.migrate()
    assert store.rehearse() == ()


def test_single_migration_is_applied_and_reverted(database: peewee.Database) -> None:
    """A target bounds both directions."""
    store = Store(database)
    assert store.migrate(NAMES[0]) == NAMES[:1]
    assert store.revert(NAMES[0]) == NAMES[:1]


@pytest.mark.parametrize("direction", ["migrate", "revert"])
def test_unknown_target_is_a_usage_error(database: peewee.Database, direction: str) -> None:
    """A migration that does not exist is not silently ignored."""
    with pytest.raises(UsageError, match="0000_nothing"):
        getattr(Store(database), direction)("0000_nothing")
