"""Archives that differ from what their manifest announces: nothing of them reaches the data."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.kept_data import (
    DATABASE,
    contents,
    fill,
    names,
    project,
)

from compozy.backup.restore import restore
from compozy.backup.take import back_up
from compozy.errors import BackupError
from compozy.resolution.resolve import Resolved
from compozy.settings.keyring import random_key

Change = Callable[[dict[str, Any], dict[str, bytes]], None]


def members(archive: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the manifest and the other members of an archive; a signature is left out."""
    with tarfile.open(archive) as held:
        files = {info.name: content.read() for info in held if (content := held.extractfile(info))}
    files.pop("manifest.hmac", None)
    return json.loads(files.pop("manifest.json")), files


def write_members(archive: Path, manifest: dict[str, Any], files: dict[str, bytes]) -> Path:
    with tarfile.open(archive, "w:gz") as held:
        for name, content in {"manifest.json": json.dumps(manifest).encode(), **files}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            held.addfile(info, io.BytesIO(content))
    return archive


def rewritten(archive: Path, change: Change) -> Path:
    """Return an archive with another manifest or other files."""
    manifest, files = members(archive)
    change(manifest, files)
    return write_members(archive, manifest, files)


def rename(manifest: dict[str, Any], files: dict[str, bytes], name: str) -> None:
    for mapping in (manifest["files"], manifest["sizes"], files):
        mapping[name] = mapping.pop(DATABASE)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda manifest, files: manifest.update(files={}, sizes={}), "no checksum for", id="unlisted"),
        pytest.param(lambda manifest, files: files.update(more=b"x"), "no checksum for more", id="more"),
        pytest.param(lambda manifest, files: files.pop(DATABASE), f"it lacks {DATABASE}", id="less"),
        pytest.param(
            lambda manifest, files: files.update({DATABASE: b"x" * len(files[DATABASE])}),
            "checksums differ",
            id="same-size",
        ),
        pytest.param(lambda manifest, files: files.update({DATABASE: b"x"}), "is not a file of .* bytes", id="shorter"),
        pytest.param(
            lambda manifest, files: files.update({DATABASE: files[DATABASE] + b"x"}), "is not a file of", id="longer"
        ),
        pytest.param(lambda manifest, files: manifest.update(files=None), "malformed", id="no-list"),
        pytest.param(lambda manifest, files: manifest["sizes"].update({DATABASE: -1}), "malformed", id="negative"),
        pytest.param(lambda manifest, files: manifest["sizes"].update({DATABASE: True}), "malformed", id="boolean"),
        pytest.param(lambda manifest, files: manifest["sizes"].pop(DATABASE), "malformed", id="no-size"),
        pytest.param(lambda manifest, files: manifest.update(format="x"), "malformed", id="no-number"),
        pytest.param(lambda manifest, files: manifest.pop("sizes"), "malformed", id="no-sizes"),
        pytest.param(lambda manifest, files: manifest.update(format=99), "is newer than", id="newer"),
        pytest.param(lambda manifest, files: rename(manifest, files, "../x"), "not a path inside", id="above"),
        pytest.param(lambda manifest, files: rename(manifest, files, "/x"), "not a path inside", id="absolute"),
        pytest.param(lambda manifest, files: rename(manifest, files, "a//x"), "not a path inside", id="empty-part"),
    ],
)
def test_restore_rejects_archive_different_from_its_manifest(
    tmp_path: Path, archive: Path, change: Change, reason: str
) -> None:
    resolved = project(tmp_path / "target")
    fill(resolved, "old")
    with pytest.raises(BackupError, match=reason):
        restore(resolved, rewritten(archive, change), force=True)
    assert contents(resolved) == ["old"] * 4


def forge(archive: Path, *heads: tuple[tarfile.TarInfo, bytes]) -> Path:
    """Write raw members: a header may claim another size than its content has."""
    with gzip.open(archive, "wb") as stream:
        for head, content in heads:
            stream.write(head.tobuf(tarfile.GNU_FORMAT) + content + b"\0" * (-len(content) % 512))
        stream.write(b"\0" * 1024)
    return archive


def head(name: str, size: int, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


@pytest.mark.parametrize(
    ("kind", "size", "reason"),
    [
        pytest.param(tarfile.REGTYPE, 1 << 40, "is not a file of", id="bomb"),
        pytest.param(tarfile.SYMTYPE, 0, "is not a file of", id="link"),
        pytest.param(tarfile.LNKTYPE, 0, "is not a file of", id="hard-link"),
        pytest.param(tarfile.FIFOTYPE, 0, "is not a file of", id="pipe"),
        pytest.param(tarfile.DIRTYPE, 0, "is not a file of", id="directory"),
        pytest.param(tarfile.XHDTYPE, 1 << 40, "a header claims", id="header-bomb"),
        pytest.param(tarfile.GNUTYPE_LONGNAME, 1 << 40, "a header claims", id="name-bomb"),
    ],
)
def test_restore_writes_only_regular_files_of_the_announced_size(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes, size: int, reason: str
) -> None:
    manifest, _ = members(archive)
    text = json.dumps(manifest).encode()
    forge(archive, (head("manifest.json", len(text)), text), (head(DATABASE, size, kind, "manifest.json"), b""))
    written: list[str] = []
    monkeypatch.setattr("compozy.backup.archive.new_file", lambda path, **_: written.append(str(path)))
    with pytest.raises(BackupError, match=reason):
        restore(project(tmp_path / "target"), archive, force=False)
    assert (written, names(tmp_path / "target")) == ([], [])


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(head("other", 0), id="other-name"),
        pytest.param(head("manifest.json", 1 << 40), id="too-large"),
        pytest.param(head("manifest.json", 0, tarfile.SYMTYPE, "/etc/passwd"), id="link"),
    ],
)
def test_restore_reads_the_manifest_first(tmp_path: Path, archive: Path, first: tarfile.TarInfo) -> None:
    with pytest.raises(BackupError, match="it does not begin with manifest.json"):
        restore(project(tmp_path / "target"), forge(archive, (first, b"")), force=False)
    assert names(tmp_path / "target") == []


def test_restore_compares_the_announced_bytes_with_the_free_disk(tmp_path: Path, archive: Path) -> None:
    change: Change = lambda manifest, files: manifest["sizes"].update({DATABASE: 1 << 60})  # noqa: E731
    with pytest.raises(BackupError, match=r"holds \d+ bytes and its disk has .* free"):
        restore(project(tmp_path / "target"), rewritten(archive, change), force=False)
    assert names(tmp_path / "target") == []


def test_restore_rejects_a_truncated_archive(tmp_path: Path, archive: Path) -> None:
    content = archive.read_bytes()
    for length in (0, 1, 20, len(content) // 2):
        archive.write_bytes(content[:length])
        with pytest.raises(BackupError, match="is damaged"):
            restore(project(tmp_path / "target"), archive, force=False)
        assert names(tmp_path / "target") == []


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A backup of a project with a key."""
    resolved = project(tmp_path / "signer")
    fill(resolved, "saved")
    write_key(resolved)
    back_up(resolved, tmp_path / "signed.tar.gz")
    return tmp_path / "signed.tar.gz"


def write_key(resolved: Resolved) -> None:
    file = Path(str(resolved.get("temporal.encryption_key_file")))
    file.parent.mkdir(exist_ok=True)
    file.write_text(random_key())
    file.chmod(0o600)


def test_restore_verifies_the_signature_with_the_key_of_the_project(tmp_path: Path, signed: Path) -> None:
    """A place without a key cannot, and takes the key over from the backup."""
    elsewhere = project(tmp_path / "elsewhere")
    assert not restore(elsewhere, signed, force=False).verified
    assert restore(elsewhere, signed, force=True).verified


FORGED: dict[str, Callable[[dict[str, bytes]], object]] = {
    "is not signed": lambda files: files.pop("manifest.hmac"),
    "signed with a key that this project does not have": lambda files: files.update(
        {"manifest.hmac": b"000000000000 00"}
    ),
    "signature of the backup is not valid": lambda files: files.update(
        {"manifest.json": files["manifest.json"].replace(b'"created_at": "2', b'"created_at": "3')}
    ),
}


@pytest.mark.parametrize("reason", FORGED)
def test_restore_refuses_backup_without_signature_of_the_projects_key(
    tmp_path: Path, signed: Path, reason: str
) -> None:
    with tarfile.open(signed) as held:
        files = {info.name: content.read() for info in held if (content := held.extractfile(info))}
    FORGED[reason](files)
    forge(signed, *((head(name, len(content)), content) for name, content in files.items()))
    resolved = project(tmp_path / "signer")
    before = names(tmp_path / "signer")
    with pytest.raises(BackupError, match=reason):
        restore(resolved, signed, force=True)
    assert set(names(tmp_path / "signer")) - set(before) <= {".compozy/version", ".compozy/.gitignore"}
    restored = restore(resolved, signed, force=True, accept_unsigned=True)
    assert (restored.verified, contents(resolved)) == (False, ["saved"] * 4)


def test_restore_refuses_the_backup_of_another_project(tmp_path: Path, signed: Path) -> None:
    resolved = project(tmp_path / "target")
    fill(resolved, "old")
    write_key(resolved)
    with pytest.raises(BackupError, match="signed with a key that this project does not have"):
        restore(resolved, signed, force=True)
    assert contents(resolved) == ["old"] * 4
