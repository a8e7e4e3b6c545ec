"""The record of a running server: found while it lives, and never after."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.polling import eventually

from compozy.errors import DriverError, TrustError
from compozy.state.presence import RECORD, Presence, announced, find_server, runtime_directory

FORKED = """
import os, sys, time
from compozy.state.presence import Presence, announced
with announced(Presence(os.getpid(), "http://127.0.0.1:1", "memory", sys.argv[1], 1.0)):
    if not os.fork():
        print(os.getpid(), flush=True)
    time.sleep(300)
"""


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime directory that no other server uses."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    return tmp_path / "runtime"


def presence(directory: Path, started_at: float = 1.0, pid: int = 1) -> Presence:
    return Presence(pid, "http://127.0.0.1:1", "memory", str(directory), started_at)


def record(directory: Path) -> Path:
    """Return where the record of a server of `directory` lies."""
    with announced(presence(directory)):
        return next(runtime_directory().iterdir())


def test_a_server_is_found_by_its_project_alone_and_only_while_it_runs(tmp_path: Path) -> None:
    """Another directory has no server; afterwards nothing is left."""
    with announced(presence(tmp_path / "ours")):
        assert find_server(str(tmp_path / "ours")) == presence(tmp_path / "ours")
        assert find_server(str(tmp_path / "other")) is None
    assert find_server(str(tmp_path / "ours")) is None
    assert list(runtime_directory().iterdir()) == []


def test_latest_server_answers(tmp_path: Path) -> None:
    """Two servers of one project, announced in the other order."""
    with announced(presence(tmp_path, 2.0, pid=2)), announced(presence(tmp_path, 1.0, pid=1)):
        assert find_server(str(tmp_path)) == presence(tmp_path, 2.0, pid=2)


def test_fork_of_a_dead_server_is_not_reported_as_server(tmp_path: Path) -> None:
    """A worker of a process pool may outlive it; the record goes with the next look."""
    with subprocess.Popen([sys.executable, "-c", FORKED, str(tmp_path)], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        fork = int(server.stdout.readline())
        try:
            found = find_server(str(tmp_path))
            assert found is not None
            assert found.pid == server.pid
            server.kill()
            server.wait()
            assert find_server(str(tmp_path)) is None
        finally:
            os.kill(fork, signal.SIGKILL)
    assert list(runtime_directory().iterdir()) == []


def test_unwritable_record_is_a_clear_error(tmp_path: Path) -> None:
    """Path and fix; a directory stands where the record would go."""
    path = record(tmp_path)
    path.mkdir()
    (path / "kept").touch()
    with pytest.raises(DriverError, match="cannot be written"), announced(presence(tmp_path)):
        pass
    assert [entry.name for entry in runtime_directory().iterdir()] == [path.name]


def test_unwritable_record_leaves_no_descriptor_open(tmp_path: Path) -> None:
    """Neither a descriptor nor its lock outlives the failure."""
    path = record(tmp_path)
    path.mkdir()
    (path / "kept").touch()

    with pytest.raises(DriverError), announced(presence(tmp_path)):
        pass

    opened = [os.path.realpath(f"/dev/fd/{number}") for number in os.listdir("/dev/fd")]
    assert [name for name in opened if name.startswith(str(tmp_path))] == []


@pytest.mark.parametrize("link", [False, True], ids=["directory", "link"])
def test_runtime_directory_writable_by_others_is_refused(
    link: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user would answer in the place of the server, and get its key."""
    folder = tmp_path / "runtime" / "compozy"
    folder.parent.mkdir()
    target = tmp_path / "elsewhere" if link else folder
    target.mkdir()
    target.chmod(0o777)
    if link:
        folder.symlink_to(target)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder.parent))
    with pytest.raises(DriverError, match="every user may write to it"):
        runtime_directory()


def test_server_is_found_in_its_state_directory_from_another_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its runtime directory is not that of the command that looks for it."""
    state = tmp_path / ".compozy"
    state.mkdir()
    with announced(presence(tmp_path), str(state)):
        assert (state / RECORD).stat().st_mode & 0o777 == 0o600
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "other"))
        assert find_server(str(tmp_path)) == presence(tmp_path)
        assert find_server(str(tmp_path), port=2) is None
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_unlocked_or_unreadable_record_is_not_a_server(content: str, tmp_path: Path) -> None:
    """A command that looks leaves it alone; the next start replaces it."""
    record = tmp_path / ".compozy" / RECORD
    record.parent.mkdir()
    record.write_text(content)
    with record.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert find_server(str(tmp_path)) is None
    assert find_server(str(tmp_path)) is None
    assert record.read_text() == content


def test_record_writable_by_others_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command would send the key of the configuration to a server of another user; `compozy trust` allows it."""
    state = tmp_path / ".compozy"
    state.mkdir()
    with announced(presence(tmp_path), str(state)):
        (state / RECORD).chmod(0o666)
        with pytest.raises(TrustError, match="every user may write to it"):
            find_server(str(tmp_path))
        monkeypatch.setenv("COMPOZY_TRUST", str(tmp_path))
        assert find_server(str(tmp_path)) == presence(tmp_path)


def test_deleted_record_is_written_again(tmp_path: Path) -> None:
    """Temporary directories are cleaned of old files while servers run for weeks."""
    with announced(presence(tmp_path), renew_s=0.01):
        (record,) = runtime_directory().iterdir()
        record.unlink()
        record.parent.rmdir()
        eventually(lambda: find_server(str(tmp_path)) == presence(tmp_path), "the new record")
    assert list(runtime_directory().iterdir()) == []
