"""Backup and restore without a server: odd paths, foreign files, and a restore that fails half way."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import tarfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import compozy
from compozy.backup import back_up
from compozy.drivers.file_lock import lock_beside
from compozy.drivers.made import Made
from compozy.errors import BackupError, StateDirectoryError, UsageError
from compozy.resolve import Resolved
from compozy.restore import restore

DATABASE, TEMPORAL, REDIS = (
    "database.path", "temporal.standalone.database_file", "redis.standalone.persistence.data_dir",
)  # fmt: skip


def project(directory: Path, settings: Mapping[str, str] | None = None) -> Resolved:
    directory.mkdir(exist_ok=True)
    given = {"mode": "persistent", **(settings or {})}
    return compozy.load(directory=str(directory), settings=given, environment={}).resolve()


def place(resolved: Resolved, name: str) -> Path:
    return Path(str(resolved.get(name)))


def write_rows(file: Path, *names: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE rows (name)")
        connection.executemany("INSERT INTO rows VALUES (?)", [(name,) for name in names])
        connection.commit()


def read_rows(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM rows")]


def fill(resolved: Resolved, name: str) -> None:
    """Let every component keep something that says `name`."""
    write_rows(place(resolved, DATABASE), name)
    write_rows(place(resolved, TEMPORAL), name)
    Path(f"{place(resolved, TEMPORAL)}.version").write_text(name)
    (place(resolved, REDIS) / "appendonlydir").mkdir(parents=True)
    (place(resolved, REDIS) / "appendonlydir" / "a.aof").write_text(name)


def told(resolved: Resolved) -> list[str]:
    """Return what every component says."""
    return [
        *read_rows(place(resolved, DATABASE)),
        *read_rows(place(resolved, TEMPORAL)),
        Path(f"{place(resolved, TEMPORAL)}.version").read_text(),
        (place(resolved, REDIS) / "appendonlydir" / "a.aof").read_text(),
    ]


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A backup of a project in which everything says "saved"."""
    resolved = project(tmp_path / "source")
    fill(resolved, "saved")
    back_up(resolved, tmp_path / "backup.tar.gz")
    return tmp_path / "backup.tar.gz"


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
    assert told(elsewhere) == ["mine"] * 4


def test_data_may_lie_anywhere(tmp_path: Path, archive: Path) -> None:
    """Every place of the target counts, not those of the source; the state directory is made for the key alone."""
    settings = {DATABASE: str(tmp_path / "x/c.db"), TEMPORAL: str(tmp_path / "y/t.db"), REDIS: str(tmp_path / "z/r")}
    resolved = project(tmp_path / "target", settings)
    restored = restore(resolved, archive, force=False)
    assert (told(resolved), restored.aside, restored.left_out) == (["saved"] * 4, (), ())
    assert names(tmp_path / "target") == [".compozy", ".compozy/.gitignore", ".compozy/version"]


def test_data_in_use_is_not_touched(tmp_path: Path, archive: Path) -> None:
    """The lock beside the data counts, wherever it lies and whatever the project is."""
    resolved = project(tmp_path / "target", {DATABASE: str(tmp_path / "x" / "c.db")})
    fill(resolved, "old")
    lock = lock_beside(str(tmp_path / "x" / "c.db"), Made())
    with pytest.raises(StateDirectoryError, match="c.db is in use by process"):
        restore(resolved, archive, force=True)
    lock.release()
    assert told(resolved) == ["old"] * 4


def test_a_restore_that_fails_half_way_changes_nothing(tmp_path: Path, archive: Path) -> None:
    """The last directory has a name so long that it cannot be moved aside: what was moved before it comes back."""
    resolved = project(tmp_path / "target", {REDIS: str(tmp_path / "target" / ("r" * 240))})
    fill(resolved, "old")
    before = set(names(tmp_path / "target"))
    with pytest.raises(BackupError, match="the restore failed: .*File name too long"):
        restore(resolved, archive, force=True)
    assert told(resolved) == ["old"] * 4
    assert set(names(tmp_path / "target")) - before == {".compozy/.gitignore", ".compozy/version"}


def test_a_log_without_its_database_is_not_replayed_over_the_restored_one(tmp_path: Path, archive: Path) -> None:
    """What a crash left of an older database counts as data, and is moved aside with it."""
    resolved = project(tmp_path / "target")
    log = Path(f"{place(resolved, DATABASE)}-wal")
    log.parent.mkdir(parents=True)
    log.write_bytes(b"an old log")
    with pytest.raises(UsageError, match="data is there already: .*compozy.db-wal"):
        restore(resolved, archive, force=False)
    restored = restore(resolved, archive, force=True)
    assert [path.name.partition(".before")[0] for path in restored.aside] == ["compozy.db-wal"]
    assert told(resolved) == ["saved"] * 4


def test_what_nobody_keeps_is_named(tmp_path: Path, archive: Path) -> None:
    """A mixture that forgets Redis cannot take Redis' part of the backup."""
    resolved = project(tmp_path / "target", {"redis.mode": "memory"})
    assert restore(resolved, archive, force=False).left_out == (REDIS,)


def test_nothing_is_made_for_an_archive_that_is_none(tmp_path: Path) -> None:
    """Not even a state directory."""
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    with pytest.raises(BackupError, match="is not a backup of Compozy"):
        restore(project(tmp_path / "target"), tmp_path / "x.tar.gz", force=False)
    assert names(tmp_path / "target") == []


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
        pytest.param(lambda manifest, files: manifest.update(files=None), "another shape", id="no-list"),
        pytest.param(lambda manifest, files: manifest["sizes"].update({DATABASE: -1}), "another shape", id="negative"),
        pytest.param(lambda manifest, files: manifest["sizes"].update({DATABASE: True}), "another shape", id="boolean"),
        pytest.param(lambda manifest, files: manifest["sizes"].pop(DATABASE), "another shape", id="no-size"),
        pytest.param(lambda manifest, files: manifest.update(format="x"), "another shape", id="no-number"),
        pytest.param(lambda manifest, files: manifest.pop("sizes"), "another shape", id="no-sizes"),
        pytest.param(lambda manifest, files: manifest.update(format=99), "is newer than", id="newer"),
        pytest.param(lambda manifest, files: rename(manifest, files, "../x"), "not a path inside", id="above"),
        pytest.param(lambda manifest, files: rename(manifest, files, "/x"), "not a path inside", id="absolute"),
        pytest.param(lambda manifest, files: rename(manifest, files, "a//x"), "not a path inside", id="empty-part"),
    ],
)
def test_restore_rejects_an_archive_that_differs_from_its_manifest(
    tmp_path: Path, archive: Path, change: Change, reason: str
) -> None:
    resolved = project(tmp_path / "target")
    fill(resolved, "old")
    with pytest.raises(BackupError, match=reason):
        restore(resolved, rewritten(archive, change), force=True)
    assert told(resolved) == ["old"] * 4


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
    monkeypatch.setattr("compozy.archive.new_file", lambda path, **_: written.append(str(path)))
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
    with pytest.raises(BackupError, match=r"holds \d+ bytes and the disk .* free"):
        restore(project(tmp_path / "target"), rewritten(archive, change), force=False)
    assert names(tmp_path / "target") == []


def test_restore_rejects_a_truncated_archive(tmp_path: Path, archive: Path) -> None:
    content = archive.read_bytes()
    for length in (0, 1, 20, len(content) // 2):
        archive.write_bytes(content[:length])
        with pytest.raises(BackupError, match="is damaged"):
            restore(project(tmp_path / "target"), archive, force=False)
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


def test_what_the_backup_does_not_have_is_left_as_it_is(tmp_path: Path) -> None:
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
    assert told(target) == ["saved", "old", "old", "old"]


def test_nothing_to_back_up_is_no_backup(tmp_path: Path) -> None:
    """A directory without data is most likely the wrong one."""
    with pytest.raises(UsageError, match="there is nothing yet: .*compozy.db"):
        back_up(project(tmp_path / "empty"), tmp_path / "backup.tar.gz")
    assert not (tmp_path / "backup.tar.gz").exists()


def test_what_a_killed_restore_left_goes_with_the_next_one(tmp_path: Path, archive: Path) -> None:
    """It could fill the disk."""
    resolved = project(tmp_path / "target")
    left = tmp_path / "target" / ".compozy" / ".compozy-restore-killed"
    left.mkdir(parents=True)
    (left / "half").touch()
    restore(resolved, archive, force=False)
    assert not left.exists()
