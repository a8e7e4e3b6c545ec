"""The rollback of a start removes what the start created, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from compozy.state.undo import UndoLog


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_roll_back_removes_new_directories_and_data(tmp_path: Path) -> None:
    """A recorded path may be missing; a second call changes nothing."""
    undo = UndoLog()
    undo.create_directory(tmp_path / "a" / "b")
    undo.record_data(tmp_path / "a" / "b" / "file", tmp_path / "a" / "b" / "never", tmp_path / "a" / "tree")
    (tmp_path / "a" / "b" / "file").touch()
    (tmp_path / "a" / "tree").mkdir()
    (tmp_path / "a" / "tree" / "leaf").touch()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    undo.roll_back()
    undo.roll_back()
    assert names(tmp_path) == []


def test_roll_back_keeps_earlier_paths_and_files_of_others(tmp_path: Path) -> None:
    """A directory is removed only when it is empty and new."""
    (tmp_path / "old").mkdir()
    undo = UndoLog()
    undo.create_directory(tmp_path / "old")
    undo.create_directory(tmp_path / "new" / "deep")
    (tmp_path / "new" / "guest").touch()
    undo.roll_back()
    assert names(tmp_path) == ["new", "new/guest", "old"]


def test_roll_back_reverses_moves(tmp_path: Path) -> None:
    """The replacement is removed first."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").touch()
    undo = UndoLog()
    (tmp_path / "data").rename(tmp_path / "aside")
    undo.record_move(tmp_path / "data", tmp_path / "aside")
    undo.record_data(tmp_path / "data")
    undo.create_directory(tmp_path / "data")
    undo.roll_back()
    assert names(tmp_path) == ["data", "data/precious"]


def test_create_directory_raises_os_error_below_file(tmp_path: Path) -> None:
    """A file occupies the place of a parent."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        UndoLog().create_directory(tmp_path / "file" / "below")


@pytest.mark.parametrize("path", ["", ".", "data", "../data"])
def test_roll_back_accepts_only_absolute_paths(path: str) -> None:
    """An empty path would be the working directory."""
    with pytest.raises(ValueError, match="is not absolute"):
        UndoLog().record_data(path)
