"""The state directory: one owner, a version stamp, and a lock that dies with its owner."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from tests.support.polling import DEADLINE_S

from compozy import __version__
from compozy.errors import DriverError, InUseError, StateDirectoryError
from compozy.state.file_lock import FileLock, lock_beside
from compozy.state.state_directory import LAYOUT, StateDirectory
from compozy.state.undo import UndoLog

OWNER = """
import sys, time
from compozy.state.state_directory import StateDirectory
StateDirectory(sys.argv[1]).acquire()
print("locked", flush=True)
time.sleep(300)
"""

FORKED = """
import os, sys, time
from compozy.state.state_directory import StateDirectory
StateDirectory(sys.argv[1]).acquire()
if not os.fork():
    print(os.getpid(), flush=True)
time.sleep(300)
"""

SERVING = """
import subprocess, sys, time
from compozy.state.file_lock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire("it")
print(subprocess.Popen(["sleep", "300"], pass_fds=lock.inherited).pid, flush=True)
time.sleep(300)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "project" / ".compozy"


@pytest.fixture
def owner(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the state directory."""
    command = [sys.executable, "-c", OWNER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_it_is_created_for_us_alone(folder: Path) -> None:
    """Mode 0700, with our process id and the version of its layout in it."""
    state = StateDirectory(str(folder))
    state.acquire()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert (folder / "lock").read_text() == f"{os.getpid()}\n"
    assert json.loads((folder / "version").read_text()) == {"layout": LAYOUT, "compozy": __version__}
    assert (folder / ".gitignore").read_text() == "*\n"
    state.release()


def test_directory_readable_by_others_is_closed_to_them(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    StateDirectory(str(folder)).acquire()
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("entries", "refused"),
    [
        pytest.param(["thesis.txt"], True, id="other-files"),
        pytest.param([], False, id="empty"),
        pytest.param(["lock"], False, id="of-a-killed-start"),
        pytest.param(["version", "compozy.db"], False, id="state"),
    ],
)
def test_link_to_a_directory_with_other_files_is_refused(tmp_path: Path, entries: list[str], refused: bool) -> None:
    """Its content and mode are unchanged; a checkout can contain the link."""
    target, link = tmp_path / "target", tmp_path / ".compozy"
    target.mkdir(mode=0o755)
    link.symlink_to(target)
    for name in entries:
        (target / name).write_text('{"layout": 1}' if name == "version" else "", encoding="utf-8")
    for use in (StateDirectory(str(link)).examine, StateDirectory(str(link)).acquire):
        if refused:
            with pytest.raises(StateDirectoryError, match="symbolic link to a directory with other files"):
                use()
        else:
            use()
    assert (target.stat().st_mode & 0o777 == 0o755, sorted(os.listdir(target)) == entries) == (refused, refused)


def test_a_second_owner_is_refused_with_the_first_ones_process_id(folder: Path, owner: subprocess.Popen[str]) -> None:
    """It is another process; nothing in the directory changes."""
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(StateDirectoryError, match=f"{folder} is in use by process {owner.pid}") as caught:
        StateDirectory(str(folder)).acquire()
    assert f"stop process {owner.pid}" in str(caught.value.hint)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_the_lock_of_a_dead_owner_is_taken_over(folder: Path, owner: subprocess.Popen[str]) -> None:
    """Its file is still there after `kill -9`, and is no obstacle."""
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert (folder / "lock").read_text() == f"{owner.pid}\n"
    state = StateDirectory(str(folder))
    state.acquire()
    assert (folder / "lock").read_text() == f"{os.getpid()}\n"
    state.release()


def test_a_fork_of_a_dead_owner_does_not_keep_the_lock(folder: Path) -> None:
    """A worker of a process pool may outlive the process that held the directory."""
    with subprocess.Popen([sys.executable, "-c", FORKED, str(folder)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        fork = int(owner.stdout.readline())
        owner.kill()
        owner.wait()
        state = StateDirectory(str(folder))
        try:
            state.acquire()
            state.release()
        finally:
            os.kill(fork, signal.SIGKILL)


def test_fork_does_not_release_the_lock(folder: Path, tmp_path: Path) -> None:
    """The end of a worker is not the end of the owner."""
    lock, other = FileLock(str(tmp_path / "lock")), FileLock(str(tmp_path / "lock"))
    lock.acquire("it")
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
    with pytest.raises(StateDirectoryError, match=f"process {os.getpid()}"):
        other.acquire("it")
    lock.release()


def test_releasing_removes_the_lock_and_keeps_the_rest(folder: Path) -> None:
    """Twice is no error, and it can be had again."""
    state = StateDirectory(str(folder))
    state.acquire()
    state.release()
    state.release()
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore", "version"]
    state.acquire()
    state.release()


def test_discard_removes_only_files_of_this_start(folder: Path) -> None:
    """The first start leaves nothing; a later one leaves what was there."""
    first = StateDirectory(str(folder))
    first.acquire()
    first.release(discard=True)
    assert not folder.exists()
    for _ in range(2):
        state = StateDirectory(str(folder))
        state.acquire()
        state.release()
    later = StateDirectory(str(folder))
    later.acquire()
    later.release(discard=True)
    assert (folder / "version").exists()


def test_an_older_layout_is_accepted_and_a_newer_one_refused(folder: Path) -> None:
    """The error names both, and the lock is free again."""
    folder.mkdir(parents=True)
    stamp = folder / "version"
    stamp.write_text(json.dumps({"layout": LAYOUT + 1, "compozy": "9.9.9"}))
    with pytest.raises(
        StateDirectoryError, match=rf"newer Compozy \(layout {LAYOUT + 1}; this one knows up to {LAYOUT}\)"
    ):
        StateDirectory(str(folder)).acquire()
    assert [path.name for path in folder.iterdir()] == ["version"]
    stamp.write_text(json.dumps({"layout": LAYOUT, "compozy": "0.0.1"}))
    state = StateDirectory(str(folder))
    state.acquire()
    state.release()


@pytest.mark.parametrize("text", ["", "{}", "[1]", "layout: 1", '{"layout": "new"}'])
def test_unreadable_stamp_is_refused(folder: Path, text: str) -> None:
    """The contents of the directory are not guessed."""
    folder.mkdir(parents=True)
    (folder / "version").write_text(text)
    with pytest.raises(StateDirectoryError, match="version"):
        StateDirectory(str(folder)).acquire()
    assert (folder / "version").read_text() == text


def test_unwritable_state_directory_is_an_error(tmp_path: Path) -> None:
    """Its parent is a file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DriverError, match="cannot be created"):
        StateDirectory(str(tmp_path / "file" / ".compozy")).acquire()


def test_a_lock_removed_under_our_hands_is_taken_anew(tmp_path: Path) -> None:
    """A waiting owner never believes in a file that its predecessor has removed."""
    path = tmp_path / "lock"
    first, second, third = (FileLock(str(path)) for _ in range(3))
    first.acquire("it")
    first.release()
    second.acquire("it")
    with pytest.raises(StateDirectoryError):
        third.acquire("it")
    second.release()
    assert not path.exists()


def test_data_has_a_lock_beside_it(tmp_path: Path) -> None:
    """A second process that reaches the file through another project's configuration is rejected as well."""
    file = tmp_path / "elsewhere" / "temporal.db"
    lock = lock_beside(str(file), UndoLog())
    with pytest.raises(StateDirectoryError, match=f"temporal.db is in use by process {os.getpid()}"):
        lock_beside(str(file), UndoLog())
    lock.release()
    assert list(file.parent.iterdir()) == []


def test_directory_writable_by_others_is_refused_until_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user with write permission there controls what the next start reads."""
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with pytest.raises(StateDirectoryError, match="every user may write to it"):
        StateDirectory(str(folder)).acquire()
    assert list(folder.iterdir()) == []
    monkeypatch.setenv("COMPOZY_TRUST", str(folder))
    state = StateDirectory(str(folder))
    state.acquire()
    state.release()


def test_examining_a_free_lock_changes_nothing_and_does_not_hinder_a_start(tmp_path: Path) -> None:
    """A start that meets a command that looks waits for it instead of being refused."""
    path = tmp_path / "lock"
    FileLock(str(path)).examine("it")
    assert not path.exists()
    path.write_text("")
    with path.open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        FileLock(str(path)).examine("it")
        threading.Timer(0.05, looking.close).start()
        lock = FileLock(str(path))
        lock.acquire("it")
    with pytest.raises(StateDirectoryError, match=f"it is in use by process {os.getpid()}"):
        FileLock(str(path)).examine("it")
    lock.release()


def test_examination_accepts_the_lock_of_a_killed_owner(tmp_path: Path) -> None:
    """A server that outlived its owner still holds it; a start ends that server."""
    path = str(tmp_path / "lock")
    with subprocess.Popen([sys.executable, "-c", SERVING, path], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        server = int(owner.stdout.readline())
        with pytest.raises(InUseError, match=f"in use by process {owner.pid}"):
            FileLock(path).examine("it")
        owner.kill()
    FileLock(path).examine("it")
    os.kill(server, signal.SIGKILL)


def test_examining_a_state_directory_changes_nothing(folder: Path) -> None:
    folder.mkdir(parents=True)
    StateDirectory(str(folder)).examine()
    assert list(folder.iterdir()) == []
    (folder / "version").write_text("garbage")
    with pytest.raises(StateDirectoryError, match="version cannot be read"):
        StateDirectory(str(folder)).examine()
    assert [path.name for path in folder.iterdir()] == ["version"]


def test_examination_does_not_keep_a_start_out(folder: Path) -> None:
    """`doctor` has a shared lock for a moment; a start that comes meanwhile waits for that moment."""
    state = StateDirectory(str(folder))
    state.acquire()
    state.release()
    (folder / "lock").touch()
    before = sorted(path.name for path in folder.iterdir())
    StateDirectory(str(folder)).examine()
    assert sorted(path.name for path in folder.iterdir()) == before
    looking = os.open(folder / "lock", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    with ThreadPoolExecutor(1) as pool:
        start = pool.submit(state.acquire)
        assert wait([start], 0.05).done == set()
        os.close(looking)
        start.result(DEADLINE_S)
    with pytest.raises(InUseError, match=f"in use by process {os.getpid()}"):
        StateDirectory(str(folder)).examine()
    state.release()


def test_release_leaves_the_lock_of_another_owner(folder: Path) -> None:
    """The directory was moved away, and a second server began in its place."""
    first, second = StateDirectory(str(folder)), StateDirectory(str(folder))
    first.acquire()
    folder.rename(folder.with_name("moved"))
    second.acquire()
    first.release()
    assert (folder / "lock").exists()
    second.release()


def test_a_full_disk_is_reported_with_a_fix_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DriverError, match="version cannot be written|gitignore cannot be written") as caught:
        StateDirectory(str(folder)).acquire()
    assert (caught.value.hint, folder.exists()) == ("free some space on the disk", False)


def test_full_disk_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process id does not fit; the error names the file and a fix, and another start may follow."""
    lock = FileLock(str(tmp_path / "lock"))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(StateDirectoryError, match="lock cannot be written: No space left on device") as caught:
            lock.acquire("it")
    assert (caught.value.hint, lock.held, os.listdir(tmp_path)) == ("free some space on the disk", False, [])
