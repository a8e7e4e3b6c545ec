"""Ownership of files: what another user controls is refused until a directory is trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compozy.base.ownership import is_trusted, refusal, trust_file, unsafe_owner, unsafe_status

OTHER = 12345


def _status(*, mode: int, uid: int, gid: int = 0) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "reason"),
    [
        pytest.param(0o100644, os.geteuid(), os.getegid(), None, id="own-file"),
        pytest.param(0o100644, 0, 0, None, id="file-of-root"),
        pytest.param(0o100644, OTHER, 0, f"it is owned by user {OTHER}", id="file-of-another-user"),
        pytest.param(0o100646, 0, 0, "every user may write to it (mode 0646)", id="world-writable-file"),
        pytest.param(0o100664, 0, 54321, "group 54321 may write to it (mode 0664)", id="group-writable-file"),
        pytest.param(0o100664, 0, 0, None, id="writable-by-the-group-of-root"),
        pytest.param(0o041777, 0, 0, "every user may write to it (mode 1777)", id="sticky-directory"),
        pytest.param(0o120777, 0, 0, None, id="link-has-no-mode-of-its-own"),
        pytest.param(0o120777, OTHER, 0, f"it is owned by user {OTHER}", id="link-of-another-user"),
    ],
)
def test_status_of_another_user_or_writable_by_others_is_unsafe(
    mode: int, uid: int, gid: int, reason: str | None
) -> None:
    found = unsafe_status(_status(mode=mode, uid=uid, gid=gid))
    assert found is None if reason is None else reason in str(found)


def test_sticky_directory_is_accepted_on_request() -> None:
    assert unsafe_status(_status(mode=0o041777, uid=0), sticky=True) is None
    assert unsafe_status(_status(mode=0o040777, uid=0), sticky=True) is not None


def test_missing_path_is_not_refused(tmp_path: Path) -> None:
    assert unsafe_owner(tmp_path / "missing") is None


def test_target_of_a_link_is_checked(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch(mode=0o644)
    link.symlink_to(target)
    assert unsafe_owner(link) is None
    target.chmod(0o666)
    assert "every user may write to it" in str(unsafe_owner(link))


def test_directory_in_the_environment_is_trusted_with_all_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "project" / "compozy.yaml"
    file.parent.mkdir()
    file.touch()
    file.chmod(0o666)
    assert refusal(file) is not None
    monkeypatch.setenv("COMPOZY_TRUST", f"/nowhere:{file.parent}")
    assert refusal(file) is None
    assert not is_trusted(tmp_path / "project-of-another-name")


def test_relative_directory_in_the_environment_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPOZY_TRUST", f".{os.pathsep}")
    assert not is_trusted(tmp_path)


def test_trust_file_writable_by_others_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = trust_file()
    assert file is not None
    file.parent.mkdir()
    file.write_text(f"{tmp_path}\n", encoding="utf-8")
    assert is_trusted(tmp_path / "project")
    file.chmod(0o666)
    assert not is_trusted(tmp_path / "project")
