"""The keys that encrypt what Temporal stores: written, in a private file, or random."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compozy.base.output_file import write_file
from compozy.drivers.temporal_file import check_key, record_version
from compozy.errors import DriverError
from compozy.settings.keyring import parse_keyring, random_key
from compozy.state.key_file import load_keyring
from compozy.state.undo import UndoLog


def test_key_file_is_created_private_and_read_again(tmp_path: Path) -> None:
    """A failed start removes it."""
    file, undo = tmp_path / "state" / "key", UndoLog()
    first = load_keyring(None, str(file), undo=undo, state_dir=str(file.parent))

    assert file.stat().st_mode & 0o777 == 0o600
    assert load_keyring(None, str(file)).newest == first.newest
    undo.roll_back()
    assert list(tmp_path.iterdir()) == []


def test_written_keys_come_before_the_file(tmp_path: Path) -> None:
    """The file is not created."""
    new, old = random_key(), random_key()
    keyring = load_keyring(f"{new}, {old}", str(tmp_path / "key"), undo=UndoLog())

    assert list(keyring.keys.values()) == [*parse_keyring(new).keys.values(), *parse_keyring(old).keys.values()]
    assert keyring.newest == parse_keyring(new).newest
    assert list(tmp_path.iterdir()) == []


def test_random_keys_differ() -> None:
    """Without a text and a file."""
    assert load_keyring(None, None).newest != load_keyring(None, None).newest


def test_url_safe_base64_without_padding_is_the_same_key() -> None:
    """Tools write keys in either alphabet."""
    standard = "+/" * 21 + "8="
    assert parse_keyring(standard).newest == parse_keyring("-_" * 21 + "8").newest


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "holds no key", id="empty"),
        pytest.param("hunter2!", "key 1 is not base64", id="alphabet"),
        pytest.param("aHVudGVyMg==", "key 1 has 7 bytes", id="short"),
        pytest.param(f"{random_key()} é", "key 2 is not base64", id="second"),
    ],
)
def test_malformed_key_is_named_by_its_number_only(text: str, reason: str) -> None:
    """The message does not quote it."""
    with pytest.raises(ValueError, match=reason) as caught:
        parse_keyring(text)
    assert "hunter2" not in str(caught.value)


def shared(file: Path) -> None:
    file.write_text(random_key())
    file.chmod(0o640)


def linked(file: Path) -> None:
    file.with_name("other").write_text(random_key())
    file.symlink_to("other")


def malformed(file: Path) -> None:
    file.touch(0o600)
    file.write_text("hunter2")


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        pytest.param(shared, "not private", id="readable-by-others"),
        pytest.param(linked, "cannot be read", id="link"),
        pytest.param(malformed, "no usable encryption key", id="malformed"),
        pytest.param(os.mkdir, "cannot be read", id="directory"),
        pytest.param(lambda file: None, "does not exist", id="missing"),
    ],
)
def test_untrusted_key_file_is_refused(prepare: object, reason: str, tmp_path: Path) -> None:
    """Path and reason; the content is not printed."""
    file = tmp_path / "key"
    assert callable(prepare)
    prepare(file)
    with pytest.raises(DriverError, match=reason) as caught:
        load_keyring(None, str(file))
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_histories_without_their_key_are_refused(tmp_path: Path) -> None:
    """A newer key beside the old one opens them; an earlier version's histories give a notice."""
    database, notices = tmp_path / "temporal.db", list[str]()
    database.touch()
    old, new = random_key(), random_key()
    check_key(str(database), parse_keyring(new), notices.append)
    record_version(str(database), "1.32.0", __file__)
    check_key(str(database), parse_keyring(new), notices.append)
    record_version(str(database), "1.32.0", __file__, parse_keyring(old).newest)
    check_key(str(database), parse_keyring(f"{new} {old}"), notices.append)

    assert len(notices) == 1
    with pytest.raises(DriverError, match=f"encrypted with key {parse_keyring(old).newest}, which is missing"):
        check_key(str(database), parse_keyring(new), notices.append)


def test_key_of_a_concurrent_start_is_used_and_survives_a_rollback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two projects that share a key file start for the first time at once, and the start of one of them fails later."""
    file, undo = tmp_path / "keys", UndoLog()
    write_file(file, random_key())
    monkeypatch.setattr(os.path, "lexists", lambda path: False)  # it was created a moment after the question
    assert load_keyring(None, str(file), undo=undo) == parse_keyring(file.read_text())
    undo.roll_back()
    assert file.exists()


@pytest.mark.parametrize(("place", "stays"), [("shared/keys", True), ("a/.compozy/key", False)])
def test_rollback_removes_only_a_key_file_in_the_state_directory(place: str, stays: bool, tmp_path: Path) -> None:
    """A key file elsewhere may be that of another project, which has encrypted with it since."""
    file, undo = tmp_path / place, UndoLog()
    load_keyring(None, str(file), undo=undo, state_dir=str(tmp_path / "a" / ".compozy"))
    other = load_keyring(None, str(file), undo=UndoLog(), state_dir=str(tmp_path / "b" / ".compozy"))
    undo.roll_back()
    assert file.exists() == stays
    if stays:
        assert load_keyring(None, str(file)) == other
