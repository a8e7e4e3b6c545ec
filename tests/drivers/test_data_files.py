"""Files that a checkout plants at data paths: a start refuses them and changes nothing outside."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest

from compozy.drivers.redis_embedded import ValkeyDriver
from compozy.drivers.sqlite import BESIDE, SqliteDriver
from compozy.drivers.temporal_file import examine_database
from compozy.errors import DriverError, StateDirectoryError
from compozy.state.file_lock import FileLock, lock_beside
from compozy.state.state_directory import StateDirectory
from compozy.state.undo import UndoLog

from .starting import Starting

ENTRIES = (
    "lock", "version", ".gitignore", "compozy.db", "compozy.db-wal", "temporal.db", "temporal.db.version", "redis",
    "redis/dump.rdb", "redis/appendonlydir", "redis/appendonlydir/a.manifest", "compozy.db.compozy-lock",
)  # fmt: skip


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the user outside the project."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "victim").write_text("1234\n")
    return tmp_path / "home" / "victim"


def plant(place: Path, victim: Path, kind: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    match kind:
        case "link":
            place.symlink_to(victim)
        case "dangling":
            place.symlink_to(victim.with_name("missing"))
        case "hard-link":
            os.link(victim, place)
        case "pipe":
            os.mkfifo(place)


def outside(victim: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in victim.parent.iterdir()}


@pytest.mark.parametrize("kind", ["link", "dangling", "hard-link", "pipe"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_state_directory_refuses_planted_entries(entry: str, kind: str, tmp_path: Path, victim: Path) -> None:
    plant(tmp_path / ".compozy" / entry, victim, kind)
    for use in (StateDirectory.examine, StateDirectory.acquire):
        with pytest.raises(StateDirectoryError, match="symbolic link|hard link|special file") as caught:
            use(StateDirectory(str(tmp_path / ".compozy")))
    assert (caught.value.hint is not None, outside(victim)) == (True, {"victim": "1234\n"})
    assert os.path.lexists(tmp_path / ".compozy" / entry)
    assert os.listdir(tmp_path / ".compozy") == [entry.partition("/")[0]]


@pytest.mark.parametrize("text", ["[[package]]\nname = 'x'\n", "12 34", "1" * 40, "\0"])
def test_lock_refuses_and_keeps_a_file_with_other_content(text: str, tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(text)
    (tmp_path / "directory").mkdir()
    for use, name in product((FileLock.examine, FileLock.acquire), ("lock", "directory")):
        with pytest.raises(StateDirectoryError, match=f"{name} is not a lock file of Compozy"):
            use(FileLock(str(tmp_path / name)), "it")
    assert (tmp_path / "lock").read_text() == text
    assert (tmp_path / "directory").is_dir()


@pytest.mark.parametrize("name", ["poetry", "package", "a" * 240])
def test_lock_beside_data_leaves_other_lock_files_alone(name: str, tmp_path: Path) -> None:
    """Package managers keep files named like `poetry.lock`."""
    (tmp_path / f"{name}.lock").write_text("")
    lock = lock_beside(str(tmp_path / name), UndoLog())
    assert sorted(os.listdir(tmp_path)) == sorted([f"{name}.lock", f"{name}.compozy-lock"])
    lock.release()
    assert os.listdir(tmp_path) == [f"{name}.lock"]


def test_data_behind_a_linked_directory_has_one_lock(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    lock = lock_beside(str(tmp_path / "real" / "a.db"), UndoLog())
    with pytest.raises(StateDirectoryError, match="in use by process"):
        lock_beside(str(tmp_path / "linked" / "a.db"), UndoLog())
    lock.release()


@pytest.mark.parametrize("kind", ["link", "dangling", "hard-link"])
@pytest.mark.parametrize("suffix", ["", *BESIDE])
def test_sqlite_refuses_links_wherever_the_file_lies(
    suffix: str, kind: str, tmp_path: Path, victim: Path, started: Starting
) -> None:
    plant(tmp_path / f"a.db{suffix}", victim, kind)
    driver = SqliteDriver(str(tmp_path / "a.db"))
    for use in (driver.start, driver.examine):
        with pytest.raises(StateDirectoryError, match="link"):
            use(started.context())
    assert outside(victim) == {"victim": "1234\n"}
    assert [name for name in os.listdir(tmp_path) if name != "home"] == [f"a.db{suffix}"]


@pytest.mark.parametrize("suffix", ["", *BESIDE, ".version"])
def test_temporal_file_refuses_links(suffix: str, tmp_path: Path, victim: Path) -> None:
    plant(tmp_path / f"t.db{suffix}", victim, "link")
    with pytest.raises(StateDirectoryError, match="link"):
        examine_database(str(tmp_path / "t.db"), "/bin/true", print)
    assert outside(victim) == {"victim": "1234\n"}


@pytest.mark.parametrize("entry", ["", "dump.rdb", "appendonlydir", "appendonlydir/x.manifest"])
def test_redis_directory_refuses_links(entry: str, tmp_path: Path, victim: Path, started: Starting) -> None:
    plant(tmp_path / "redis" / entry, victim, "link")
    driver = ValkeyDriver(persistence=True, data_dir=str(tmp_path / "redis"))
    for use in (driver.start, driver.examine):
        with pytest.raises(StateDirectoryError, match="link"):
            use(started.context())
    assert outside(victim) == {"victim": "1234\n"}


def execute(file: Path, *statements: str) -> bytes:
    with closing(sqlite3.connect(file)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return file.read_bytes()


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param(["CREATE TABLE moz_places (id)"], id="no-identifier"),
        pytest.param(["CREATE TABLE features (id)", "PRAGMA application_id = 1196437808"], id="geopackage"),
        pytest.param(["PRAGMA application_id = 1196437808"], id="identifier-alone"),
    ],
)
def test_sqlite_refuses_a_database_of_another_program(statements: list[str], tmp_path: Path, started: Starting) -> None:
    before = execute(tmp_path / "a.db", *statements)
    driver = SqliteDriver(str(tmp_path / "a.db"))
    for use in (driver.start, driver.examine):
        with pytest.raises(DriverError, match="is a database of another program"):
            use(started.context())
    assert ((tmp_path / "a.db").read_bytes(), os.listdir(tmp_path)) == (before, ["a.db"])


@pytest.mark.parametrize("statements", [[], ["CREATE TABLE compozy_migrations (name)", "CREATE TABLE notes (text)"]])
def test_sqlite_accepts_an_empty_database_and_one_of_the_first_release(
    statements: list[str], tmp_path: Path, started: Starting
) -> None:
    """It is marked then; tables that a project adds to it are no obstacle later."""
    execute(tmp_path / "a.db", *statements, "VACUUM")
    for _ in range(2):
        driver = SqliteDriver(str(tmp_path / "a.db"))
        driver.start(started.context())
        driver.stop(0)
        execute(tmp_path / "a.db", "CREATE TABLE IF NOT EXISTS mine (id)", "DROP TABLE IF EXISTS compozy_migrations")
