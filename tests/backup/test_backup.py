"""Backup and restore without a server: odd paths, foreign files, and a restore that fails half way."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.kept_data import (
    DATABASE,
    REDIS,
    TEMPORAL,
    contents,
    fill,
    names,
    place,
    project,
    read_rows,
    write_rows,
)

from compozy.backup.restore import restore
from compozy.backup.take import back_up
from compozy.errors import BackupError, StateDirectoryError, UsageError
from compozy.state.file_lock import lock_beside
from compozy.state.undo import UndoLog

pytestmark = pytest.mark.persistent


@pytest.mark.parametrize("name", ["plain", "a#b", "a?b=c", "a%20b", "with blank", "späße"])
def test_a_project_may_have_any_name(tmp_path: Path, name: str) -> None:
    """The copy is of that file and no other, and nothing is made beside it."""
    resolved = project(tmp_path / name)
    fill(resolved, "mine")
    before = names(tmp_path)
    back_up(resolved, tmp_path / "backup.tar.gz")
    assert set(names(tmp_path)) - set(before) - {"backup.tar.gz"} <= {
        f"{name}/.compozy/{file}{end}" for file in ("compozy.db", "temporal.db") for end in ("-wal", "-shm")
    }
    elsewhere = project(tmp_path / "elsewhere")
    restore(elsewhere, tmp_path / "backup.tar.gz", force=False)
    assert contents(elsewhere) == ["mine"] * 4


def test_data_may_lie_anywhere(tmp_path: Path, archive: Path) -> None:
    """Every place of the target counts, not those of the source; the state directory is made for the key alone."""
    settings = {DATABASE: str(tmp_path / "x/c.db"), TEMPORAL: str(tmp_path / "y/t.db"), REDIS: str(tmp_path / "z/r")}
    resolved = project(tmp_path / "target", settings)
    restored = restore(resolved, archive, force=False)
    assert (contents(resolved), restored.aside, restored.left_out) == (["saved"] * 4, (), ())
    assert names(tmp_path / "target") == [".compozy", ".compozy/.gitignore", ".compozy/version"]


def test_data_in_use_is_not_touched(tmp_path: Path, archive: Path) -> None:
    """The lock beside the data counts, at any path and for any project."""
    resolved = project(tmp_path / "target", {DATABASE: str(tmp_path / "x" / "c.db")})
    fill(resolved, "old")
    lock = lock_beside(str(tmp_path / "x" / "c.db"), UndoLog())
    with pytest.raises(StateDirectoryError, match="c.db is in use by process"):
        restore(resolved, archive, force=True)
    lock.release()
    assert contents(resolved) == ["old"] * 4


def test_failed_restore_changes_nothing(tmp_path: Path, archive: Path) -> None:
    """The last directory has a name so long that it cannot be moved aside: what was moved before it comes back."""
    resolved = project(tmp_path / "target", {REDIS: str(tmp_path / "target" / ("r" * 240))})
    fill(resolved, "old")
    before = set(names(tmp_path / "target"))
    with pytest.raises(BackupError, match="the restore failed: .*File name too long"):
        restore(resolved, archive, force=True)
    assert contents(resolved) == ["old"] * 4
    assert set(names(tmp_path / "target")) - before == {".compozy/.gitignore", ".compozy/version"}


def test_a_log_without_its_database_is_not_replayed_over_the_restored_one(tmp_path: Path, archive: Path) -> None:
    """The log of an older database counts as data, and is moved aside with it."""
    resolved = project(tmp_path / "target")
    log = Path(f"{place(resolved, DATABASE)}-wal")
    log.parent.mkdir(parents=True)
    log.write_bytes(b"an old log")
    with pytest.raises(UsageError, match="data exists already: .*compozy.db-wal"):
        restore(resolved, archive, force=False)
    restored = restore(resolved, archive, force=True)
    assert [path.name.partition(".before")[0] for path in restored.aside] == ["compozy.db-wal"]
    assert contents(resolved) == ["saved"] * 4


def test_restore_lists_parts_without_a_component(tmp_path: Path, archive: Path) -> None:
    """A mixture that forgets Redis cannot take Redis' part of the backup."""
    resolved = project(tmp_path / "target", {"redis.mode": "memory"})
    assert restore(resolved, archive, force=False).left_out == (REDIS,)


def test_restore_rejects_invalid_archive_without_changes(tmp_path: Path) -> None:
    """Not even a state directory."""
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    with pytest.raises(BackupError, match="is not a backup of Compozy"):
        restore(project(tmp_path / "target"), tmp_path / "x.tar.gz", force=False)
    assert names(tmp_path / "target") == []


@pytest.mark.parametrize("entry", ["compozy.db", "temporal.db.version", "redis", "redis/appendonlydir/a.aof"])
def test_backup_does_not_follow_links(tmp_path: Path, entry: str) -> None:
    resolved = project(tmp_path / "source")
    fill(resolved, "mine")
    victim = tmp_path / "victim"
    (tmp_path / "source" / ".compozy" / entry).rename(victim)
    (tmp_path / "source" / ".compozy" / entry).symlink_to(victim)
    with pytest.raises(StateDirectoryError, match=f"{entry} is a symbolic link"):
        back_up(resolved, tmp_path / "backup.tar.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "victim"]


def test_restore_keeps_data_missing_in_the_backup(tmp_path: Path) -> None:
    """A backup of a mixture that forgets Redis does not clear the Redis of another project."""
    source, target = project(tmp_path / "source", {"redis.mode": "memory"}), project(tmp_path / "target")
    write_rows(place(source, DATABASE), "saved")
    fill(target, "old")
    back_up(source, tmp_path / "backup.tar.gz")
    assert set(restore(target, tmp_path / "backup.tar.gz", force=True).missing) == {
        TEMPORAL,
        REDIS,
        "temporal.encryption_key_file",
    }
    assert contents(target) == ["saved", "old", "old", "old"]


def test_backup_without_data_is_rejected(tmp_path: Path) -> None:
    """A directory without data is most likely the wrong one."""
    with pytest.raises(UsageError, match="no data yet: .*compozy.db"):
        back_up(project(tmp_path / "empty"), tmp_path / "backup.tar.gz")
    assert not (tmp_path / "backup.tar.gz").exists()


def test_backup_of_a_read_only_disk_writes_nothing_beside_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite cannot open such a database in its place; what a killed writer left in the log is in the backup."""
    resolved = project(tmp_path / "source")
    fill(resolved, "old")
    state = place(resolved, DATABASE).parent
    leave_log(place(resolved, DATABASE))
    before = times_and_contents(state)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith(str(state)) and access(path, mode))
    back_up(resolved, tmp_path / "backup.tar.gz")
    assert times_and_contents(state) == before
    elsewhere = project(tmp_path / "elsewhere")
    restore(elsewhere, tmp_path / "backup.tar.gz", force=False)
    assert read_rows(place(elsewhere, DATABASE)) == ["old", "in the log"]


def leave_log(file: Path) -> None:
    """Write a row as a process that is killed before its log is moved into the file."""
    with closing(sqlite3.connect(file)) as writer:
        writer.execute("INSERT INTO rows VALUES ('in the log')")
        writer.commit()
        copies = {path: path.read_bytes() for path in file.parent.glob(f"{file.name}*")}
    for path, content in copies.items():
        path.write_bytes(content)


def times_and_contents(folder: Path) -> dict[Path, tuple[int, bytes]]:
    found = (folder, *folder.rglob("*"))
    return {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in found}
