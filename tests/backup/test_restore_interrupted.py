"""Restores and backups that were killed or failed half way, and what the next command does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.support.kept_data import (
    DATABASE,
    REDIS,
    TEMPORAL,
    contents,
    fill,
    lifecycle,
    names,
    place,
    project,
    read_rows,
    write_rows,
)

from compozy.backup.restore import restore
from compozy.backup.take import back_up
from compozy.base.leftovers import private_directory
from compozy.base.output_file import write_file
from compozy.errors import BackupError, StateDirectoryError
from compozy.provisioning.doctor import examine
from compozy.state import move_journal
from compozy.state.move_journal import JOURNAL, Moves, recover

pytestmark = pytest.mark.persistent


def test_next_restore_removes_the_files_of_a_killed_restore(tmp_path: Path, archive: Path) -> None:
    """It could fill the disk."""
    resolved = project(tmp_path / "target")
    left = tmp_path / "target" / ".compozy" / ".compozy-restore-killed"
    left.mkdir(parents=True)
    (left / "half").touch()
    restore(resolved, archive, force=False)
    assert not left.exists()


def test_backup_removes_remains_of_a_killed_backup(tmp_path: Path) -> None:
    """A directory that a running process has locked stays."""
    resolved = project(tmp_path / "source")
    fill(resolved, "mine")
    (tmp_path / ".compozy-partial-killed").mkdir()
    (tmp_path / ".compozy-partial-killed" / "half").touch()
    (tmp_path / ".compozy-partial-file").touch()
    with private_directory(tmp_path) as used:
        back_up(resolved, tmp_path / "backup.tar.gz")
        assert {path.name for path in tmp_path.iterdir()} == {"source", "backup.tar.gz", used.name}


def test_two_restores_within_a_second_keep_both_earlier_states(tmp_path: Path, archive: Path) -> None:
    resolved = project(tmp_path / "target")
    fill(resolved, "old")
    first = restore(resolved, archive, force=True).aside
    second = restore(resolved, archive, force=True).aside
    assert not set(first) & set(second)
    assert all(path.exists() for path in (*first, *second))
    assert read_rows(first[0]) == ["old"]
    assert read_rows(second[0]) == ["saved"]


def test_restore_with_force_replaces_a_damaged_version_stamp(tmp_path: Path, archive: Path) -> None:
    """Without it, and for a stamp of a newer version, the directory is refused."""
    resolved = project(tmp_path / "target")
    stamp = tmp_path / "target" / ".compozy" / "version"
    stamp.parent.mkdir()
    stamp.write_text("garbage")
    with pytest.raises(StateDirectoryError, match="version cannot be read"):
        restore(resolved, archive, force=False)
    restore(resolved, archive, force=True)
    assert (contents(resolved), json.loads(stamp.read_text())["layout"]) == (["saved"] * 4, 1)
    stamp.write_text('{"layout": 99}')
    with pytest.raises(StateDirectoryError, match="newer"):
        restore(resolved, archive, force=True)


def test_killed_restore_is_completed_or_undone_by_the_next_command(tmp_path: Path) -> None:
    """Every fifth kill point; `python -m benchmarks.kill_restore` takes all of them, and those of the recovery."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "benchmarks.kill_restore", "--every", "5"]
    ended = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    figures = json.loads(ended.stdout)
    assert {name: figures[name] for name in ("mixed", "leftovers", "lost")} == {"mixed": 0, "leftovers": 0, "lost": 0}
    assert min(figures["old"], figures["new"]) > 0


def test_an_interrupted_restore_is_completed_by_start_and_reported_by_doctor(tmp_path: Path, archive: Path) -> None:
    resolved = project(tmp_path / "target")
    fill(resolved, "old")
    state = place(resolved, DATABASE).parent
    room = state / ".compozy-restore-killed"
    room.mkdir()
    place(resolved, DATABASE).rename(state / "aside")
    write_rows(room / "new", "saved")
    moves = (
        (str(place(resolved, DATABASE)), str(state / "aside")),
        (str(room / "new"), str(place(resolved, DATABASE))),
    )
    (state / JOURNAL).write_text(json.dumps(asdict(Moves((str(state),), (str(place(resolved, DATABASE)),), moves))))
    before = names(state)
    checks = {check.id: check.status for check in examine(lifecycle(tmp_path / "target"))}
    assert (checks["restore"], checks["database.intact"], names(state)) == ("warn", "skip", before)
    recover([state])
    assert (contents(resolved)[0], read_rows(state / "aside"), (state / JOURNAL).exists()) == ("saved", ["old"], False)


def test_back_up_completes_an_interrupted_restore_first(tmp_path: Path) -> None:
    resolved = project(tmp_path / "source")
    state = place(resolved, DATABASE).parent
    write_rows(state / ".compozy-restore-killed" / "new", "saved")
    moves = ((str(state / ".compozy-restore-killed" / "new"), str(place(resolved, DATABASE))),)
    (state / JOURNAL).write_text(json.dumps(asdict(Moves((str(state),), (), moves))))
    assert list(back_up(resolved, tmp_path / "backup.tar.gz").files) == [DATABASE]
    assert not (state / ".compozy-restore-killed").exists()


@pytest.mark.parametrize(
    ("folders", "moves"),
    [
        pytest.param(["{state}"], [["{home}/old", "{state}/taken"], ["{state}/new", "{home}/old"]], id="outside"),
        pytest.param(["{state}"], [["{state}/../../home/old", "{state}/taken"]], id="parent"),
        pytest.param(["{state}"], [["{state}/.compozy-restore-link/old", "{state}/taken"]], id="link"),
        pytest.param(["{state}"], [["{home}", "{state}/taken"]], id="directory"),
        pytest.param(["{home}"], [["{home}/old", "{home}/taken"]], id="of-another-directory"),
    ],
)
def test_journal_with_paths_outside_its_directories_is_refused(
    tmp_path: Path, folders: list[str], moves: list[list[str]]
) -> None:
    """A checkout can bring one; looking at it must not move other files of the user."""
    change = {"folders": folders, "data": [], "moves": moves, "undo": False}
    state, refusal = _with_journal(tmp_path, change)
    assert "cannot be read" in refusal
    assert (tmp_path / "home" / "old").read_text() == "precious"
    assert names(state) == [JOURNAL, ".compozy-restore-link", "new"]


def test_journal_missing_in_one_of_its_directories_moves_nothing(tmp_path: Path) -> None:
    """The restore was killed before its first move or after its last one, or another program wrote the journal."""
    moves = [["{home}/old", "{home}/taken"], ["{state}/new", "{home}/old"]]
    change = {"folders": ["{state}", "{home}"], "data": ["{home}/old"], "moves": moves, "undo": False}
    state, refusal = _with_journal(tmp_path, change)
    assert refusal == ""
    assert (tmp_path / "home" / "old").read_text() == "precious"
    assert names(tmp_path / "home") == ["old"]
    assert names(state) == [".compozy-restore-link", "new"]


def _with_journal(tmp_path: Path, change: dict[str, Any]) -> tuple[Path, str]:
    """Return a state directory with a journal and why `recover` refuses it; `home` is a directory beside it."""
    state, home = tmp_path / "project" / ".compozy", tmp_path / "home"
    state.mkdir(parents=True)
    home.mkdir()
    (home / "old").write_text("precious")
    (state / "new").write_text("evil")
    (state / ".compozy-restore-link").symlink_to(home)
    text = json.dumps(change).replace("{state}", str(state)).replace("{home}", str(home))
    (state / JOURNAL).write_text(text)
    try:
        recover([state])
    except StateDirectoryError as error:
        return state, error.message
    return state, ""


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"folders": [], "data": [], "moves": [1], "undo": false}'])
def test_a_damaged_journal_is_refused(tmp_path: Path, text: str) -> None:
    resolved = project(tmp_path / "target")
    fill(resolved, "old")
    journal = place(resolved, DATABASE).parent / JOURNAL
    journal.write_text(text)
    with pytest.raises(StateDirectoryError, match="cannot be read"):
        back_up(resolved, tmp_path / "backup.tar.gz")
    checks = {check.id: check.status for check in examine(lifecycle(tmp_path / "target"))}
    assert (checks["restore"], journal.read_text()) == ("fail", text)


def test_failed_undo_of_restore_keeps_journal_and_data(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails during the moves: the next command completes the restore."""
    resolved = project(tmp_path / "target")
    fill(resolved, "old")
    rename, done = os.rename, list[object]()

    def fail_after_three(*given: Any) -> None:
        if len(done) >= 3:
            raise OSError(5, "Input/output error")
        done.append(rename(*given))

    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", fail_after_three)
        with pytest.raises(BackupError, match="Input/output error"):
            restore(resolved, archive, force=True)
    recover([place(resolved, DATABASE).parent])
    assert contents(resolved) in (["saved"] * 4, ["old"] * 4)
    assert [name for name in names(place(resolved, DATABASE).parent) if name.startswith(".compozy-")] == []


def test_unpacked_data_is_on_the_disk_before_the_journal_is_written(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files with their content, and every directory with its entries; a move keeps their inodes."""
    synced, before = set[int](), set[int]()
    sync, write = os.fsync, write_file

    def record(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        sync(descriptor)

    def write_journal(*given: Any) -> None:
        before.update(synced)
        write(*given)

    monkeypatch.setattr(os, "fsync", record)
    monkeypatch.setattr(move_journal, "write_file", write_journal)
    resolved = project(tmp_path / "target")
    restore(resolved, archive, force=False)
    redis = place(resolved, REDIS)
    moved = [place(resolved, DATABASE), place(resolved, TEMPORAL), redis, *redis.rglob("*")]
    assert {path.stat().st_ino for path in moved} <= before
