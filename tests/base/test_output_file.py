"""The function that writes files: content appears complete, for its owner alone, and never through a link."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compozy.base.output_file import TEMPORARY, copy_file, new_file, open_regular, write_file


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write_while(path: Path, action: Callable[[], object], *, replace: bool) -> None:
    with new_file(path, replace=replace) as stream:
        stream.write(b"new")
        action()


def test_write_file_creates_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    write_file(tmp_path / "a", "text é")
    assert ((tmp_path / "a").read_text(encoding="utf-8"), mode_of(tmp_path / "a")) == ("text é", 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("kept", [False, True], ids=["released", "kept"])
def test_new_file_releases_its_lock_also_during_a_fork(tmp_path: Path, kept: bool) -> None:
    """A child has a duplicate of every descriptor until it executes its program."""
    with new_file(tmp_path / "a", stays_locked=kept) as stream:
        duplicate = os.dup(stream.fileno())
    with (tmp_path / "a").open() as again:
        if kept:
            with pytest.raises(BlockingIOError):
                fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(duplicate)


def test_write_file_replaces_a_file_with_another_inode(tmp_path: Path) -> None:
    """A hard link to the old content keeps it."""
    (tmp_path / "a").write_text("old")
    os.link(tmp_path / "a", tmp_path / "b")
    write_file(tmp_path / "a", b"new", mode=0o644)
    assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("new", "old")


def test_write_file_without_replace_refuses_an_existing_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "a", "new", replace=False)
    assert ((tmp_path / "a").read_text(), os.listdir(tmp_path)) == ("old", ["a"])


def test_write_file_without_replace_refuses_a_name_taken_during_writing(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        write_while(tmp_path / "a", lambda: (tmp_path / "a").write_text("old"), replace=False)
    assert ((tmp_path / "a").read_text(), os.listdir(tmp_path)) == ("old", ["a"])


PLANTED: dict[str, Callable[[Path, Path], object]] = {
    "link": lambda path, victim: path.symlink_to(victim),
    "dangling-link": lambda path, victim: path.symlink_to(victim.with_name("missing")),
    "pipe": lambda path, victim: os.mkfifo(path),
    "directory": lambda path, victim: path.mkdir(),
}


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("planted", PLANTED)
def test_write_file_refuses_other_than_regular_files(planted: str, replace: bool, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    PLANTED[planted](tmp_path / "a", tmp_path / "victim")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(OSError, match="exists already|symbolic link|not a regular file"):
        write_file(tmp_path / "a", "new", replace=replace)
    assert ((tmp_path / "victim").read_text(), sorted(os.listdir(tmp_path))) == ("mine", before)


@pytest.mark.parametrize("link", [False, True], ids=["file", "link"])
def test_temporary_file_of_another_user_is_not_opened(
    link: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if its random part had been guessed: the content would go where the other user reads it."""
    monkeypatch.setattr(secrets, "token_hex", lambda size: "guessed")
    (tmp_path / "victim").write_text("old")
    prepared = tmp_path / f"{TEMPORARY}guessed"
    prepared.symlink_to("victim") if link else prepared.write_text("prepared")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "a", "new")
    assert (tmp_path / "victim").read_text() == "old"
    assert prepared.read_text() == ("old" if link else "prepared")
    assert not (tmp_path / "a").exists()


def test_write_file_refuses_a_file_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process takes another identity, because giving files away needs privileges."""
    (tmp_path / "a").write_text("theirs")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError, match="owned by user id"):
        write_file(tmp_path / "a", "new")
    assert ((tmp_path / "a").read_text(), os.listdir(tmp_path)) == ("theirs", ["a"])


def test_a_failure_while_writing_leaves_the_old_content_and_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_while(tmp_path / "a", lambda: 1 / 0, replace=True)
    assert ((tmp_path / "a").read_text(), os.listdir(tmp_path)) == ("old", ["a"])


def test_a_file_system_without_hard_links_is_supported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as FAT, whose answer to link is EPERM."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_file(tmp_path / "a", "new", replace=False)
    assert ((tmp_path / "a").read_text(), os.listdir(tmp_path)) == ("new", ["a"])
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "a", "newer", replace=False)


def test_file_and_directory_are_synchronised_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content must not reach the disk after the name."""
    events: list[str] = []
    sync, rename = os.fsync, os.replace

    def record(descriptor: int) -> None:
        events.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def record_rename(*given: Any, **named: Any) -> None:
        events.append("rename")
        rename(*given, **named)

    monkeypatch.setattr(os, "fsync", record)
    monkeypatch.setattr(os, "replace", record_rename)
    write_file(tmp_path / "a", "new")
    assert events == ["file", "rename", "directory"]
    write_file(tmp_path / "a", "newer", durable=False)
    assert events[3:] == ["rename"]


@pytest.mark.parametrize("planted", ["link", "pipe", "directory"])
def test_open_regular_and_copy_file_refuse_links_and_pipes(planted: str, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("secret")
    PLANTED[planted](tmp_path / "a", tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links|not a regular file"):
        open_regular(tmp_path / "a")
    with pytest.raises(OSError, match="symbolic links|not a regular file"):
        copy_file(tmp_path / "a", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
