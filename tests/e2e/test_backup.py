"""`compozy backup` while the server runs under load, `compozy restore` into an empty place."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import threading
from pathlib import Path

import pytest

from .conftest import Shell
from .test_matrix import TWO_STEPS, run

pytestmark = [pytest.mark.e2e, pytest.mark.persistent]
MODE = ("--mode", "persistent")


def write_workflow(shell: Shell) -> None:
    (shell.directory / "workflows").mkdir()
    (shell.directory / "workflows" / "two-steps.yaml").write_text(TWO_STEPS.replace("SLEEP", "0s"))


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as held:
        return {info.name: content.read() for info in held if (content := held.extractfile(info))}


def write_archive(archive: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(archive, "w:gz") as held:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            held.addfile(info, io.BytesIO(content))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a stopped server with a backup that was taken while it ran."""
    project = Shell(tmp_path_factory.mktemp("saved"), tmp_path_factory.mktemp("runtime"))
    write_workflow(project)
    server = project.start(*MODE)
    run(server, "Ada")
    result = project.run("backup", *MODE, "--output", "backup.tar.gz")
    assert result.returncode == 0, result.stderr
    assert server.stop() == 0
    project.close()
    return project.directory


@pytest.fixture
def archive(saved: Path, shell: Shell) -> Path:
    """A backup in a copy of the project that it was taken of."""
    shutil.copytree(saved, shell.directory, dirs_exist_ok=True)
    return shell.directory / "backup.tar.gz"


def test_backup_under_load_restores_earlier_acknowledged_executions(shell: Shell) -> None:
    """Executions acknowledged before the backup are in it, complete, and the server keeps running."""
    write_workflow(shell)
    server = shell.start(*MODE)
    before = [run(server, f"before-{number}")["execution_id"] for number in range(5)]
    over = threading.Event()
    running: list[str] = []

    def load() -> None:
        while not over.is_set():
            running.append(run(server, f"during-{len(running)}", wait="")["execution_id"])

    writer = threading.Thread(target=load)
    writer.start()
    taken = shell.json("backup", *MODE, "--output", "backup.tar.gz")
    over.set()
    writer.join()
    assert running
    assert {"database.path", "temporal.standalone.database_file"} <= set(taken["files"])
    assert server.stop() == 0

    elsewhere = Shell(shell.directory / "elsewhere", shell.runtime)
    elsewhere.directory.mkdir()
    restored = elsewhere.run("restore", str(shell.directory / "backup.tar.gz"), *MODE)
    assert restored.returncode == 0, restored.stderr
    again = elsewhere.start(*MODE)
    listed = again.request("GET", "/api/v0/executions?limit=1000")[1]["executions"]
    assert set(before) <= {row["id"] for row in listed if row["status"] == "completed"}
    ended = [again.request("GET", f"/api/v0/executions/{row['id']}?wait=20s")[1]["status"] for row in listed]
    assert set(ended) == {"completed"}
    assert again.stop() == 0
    elsewhere.close()


def test_restore_refuses_to_overwrite_without_force(shell: Shell, archive: Path) -> None:
    """Data that is there stays; with --force it is moved aside, never deleted."""
    refused = shell.run("restore", str(archive), *MODE)
    assert (refused.returncode, "--force" in refused.stderr) == (2, True)
    forced = shell.run("restore", str(archive), *MODE, "--force")
    assert forced.returncode == 0, forced.stderr
    aside = [path for path in (shell.directory / ".compozy").iterdir() if ".before-restore-" in path.name]
    assert any(path.name.startswith("compozy.db.before-restore-") for path in aside)
    assert {line for line in forced.stdout.splitlines() if line.startswith("moved aside: ")} == {
        f"moved aside: {path}" for path in aside
    }


def test_restore_refuses_a_damaged_archive_and_touches_nothing(shell: Shell, archive: Path) -> None:
    """A changed byte is found by its checksum before anything is moved."""
    held = members(archive)
    held["database.path"] = held["database.path"][:-1] + b"X"
    write_archive(archive, held)
    before = sorted(path.name for path in (shell.directory / ".compozy").rglob("*"))
    result = shell.run("restore", str(archive), *MODE, "--force")
    assert (result.returncode, "checksums differ for database.path" in result.stderr) == (4, True)
    assert sorted(path.name for path in (shell.directory / ".compozy").rglob("*")) == before


def test_restore_refuses_an_archive_of_a_newer_version(shell: Shell, archive: Path) -> None:
    """A newer layout is named with the version that can read it."""
    held = members(archive)
    manifest = json.loads(held["manifest.json"])
    held["manifest.json"] = json.dumps({**manifest, "layout": 99, "compozy": "9.0.0"}).encode()
    write_archive(archive, held)
    result = shell.run("restore", str(archive), *MODE, "--force")
    assert (result.returncode, "9.0.0" in result.stderr) == (4, True)


def test_restore_refuses_while_a_server_runs(shell: Shell, archive: Path) -> None:
    """The lock of the state directory names the server's process; without a flag the mode is the server's."""
    server = shell.start(*MODE)
    for flags in (MODE, ()):
        result = shell.run("restore", str(archive), *flags, "--force")
        assert (result.returncode, str(server.pid) in result.stderr) == (4, True)
    assert server.stop() == 0


def test_a_backup_is_readable_by_its_owner_alone(saved: Path) -> None:
    """It holds everything that the project keeps."""
    assert (saved / "backup.tar.gz").stat().st_mode & 0o077 == 0


def test_memory_mode_has_nothing_to_back_up(shell: Shell) -> None:
    """The error reports it with a fix; exit code 2."""
    result = shell.run("backup")
    assert (result.returncode, "--mode persistent" in result.stderr) == (2, True)


def test_restore_of_something_else_is_a_clear_error(shell: Shell) -> None:
    """A file that is no backup is named."""
    (shell.directory / "x.tar.gz").write_bytes(b"not an archive")
    result = shell.run("restore", "x.tar.gz", *MODE)
    assert (result.returncode, "is not a backup of Compozy" in result.stderr) == (4, True)
    assert "Traceback" not in result.stderr
