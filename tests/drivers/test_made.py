"""The rollback of a start removes what the start created, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from compozy.state.undo import Made


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_new_directories_and_data_go(tmp_path: Path) -> None:
    """Also what is not there after all; a second time does nothing."""
    made = Made()
    made.directory(tmp_path / "a" / "b")
    made.data(tmp_path / "a" / "b" / "file", tmp_path / "a" / "b" / "never", tmp_path / "a" / "tree")
    (tmp_path / "a" / "b" / "file").touch()
    (tmp_path / "a" / "tree").mkdir()
    (tmp_path / "a" / "tree" / "leaf").touch()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    made.roll_back()
    made.roll_back()
    assert names(tmp_path) == []


def test_what_was_there_or_came_from_others_stays(tmp_path: Path) -> None:
    """A directory is removed only when it is empty and new."""
    (tmp_path / "old").mkdir()
    made = Made()
    made.directory(tmp_path / "old")
    made.directory(tmp_path / "new" / "deep")
    (tmp_path / "new" / "guest").touch()
    made.roll_back()
    assert names(tmp_path) == ["new", "new/guest", "old"]


def test_what_was_moved_aside_comes_back(tmp_path: Path) -> None:
    """After its replacement has been removed."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").touch()
    made = Made()
    (tmp_path / "data").rename(tmp_path / "aside")
    made.moved(tmp_path / "data", tmp_path / "aside")
    made.data(tmp_path / "data")
    made.directory(tmp_path / "data")
    made.roll_back()
    assert names(tmp_path) == ["data", "data/precious"]


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Made().directory(tmp_path / "file" / "below")


@pytest.mark.parametrize("path", ["", ".", "data", "../data"])
def test_roll_back_accepts_only_absolute_paths(path: str) -> None:
    """An emptied path would be the directory of the process."""
    with pytest.raises(ValueError, match="is not absolute"):
        Made().data(path)
