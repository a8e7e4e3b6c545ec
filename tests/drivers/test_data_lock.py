"""The lock on the data: one server per data set, under any path to it and after any process was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from tests.support.polling import eventually

from compozy.drivers.port import Port
from compozy.drivers.ports import free_port
from compozy.drivers.protocol import Driver
from compozy.drivers.redis_embedded import ValkeyDriver
from compozy.drivers.sqlite import SqliteDriver
from compozy.drivers.temporal_embedded import TemporalEmbeddedDriver
from compozy.errors import DriverError, StateDirectoryError
from compozy.state import lock_holders
from compozy.state.data_lock import DataLock

from .starting import Starting

Make = Callable[[str, Path], Driver]
KINDS = ("sqlite", "temporal", "valkey")

# A server of its own that writes, reports what was acknowledged, and is killed together with the guardian.
OWNER = """
import sys, time
from compozy.drivers.protocol import LoopThread, StartContext
from compozy.drivers.redis_embedded import ValkeyDriver
driver = ValkeyDriver(persistence=True, data_dir=sys.argv[1])
driver.start(StartContext(LoopThread(), print, time.monotonic() + 30))
for number in range(20):
    driver.handle.set(f"key-{number}", "value")
print(driver.describe().details["pid"], flush=True)
time.sleep(300)
"""


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Driver] = []

    def make_driver(kind: str, folder: Path) -> Driver:
        made.append(build(kind, folder))
        return made[-1]

    yield make_driver
    for driver in made:
        driver.stop(0)


def build(kind: str, folder: Path) -> Driver:
    if kind == "sqlite":
        return SqliteDriver(str(folder / "compozy.db"))
    if kind == "valkey":
        return ValkeyDriver(persistence=True, data_dir=str(folder / "redis"))
    return TemporalEmbeddedDriver(
        database_file=str(folder / "temporal.db"), bind_ip="127.0.0.1", enable_ui=False, require_ui=False,
        frontend_port=Port(free_port(), "temporal.standalone.frontend_port", explicit=False),
        ui_port=Port(free_port(), "temporal.standalone.ui_port", explicit=False), namespace="default",
        log_level="error",
    )  # fmt: skip


def problem(driver: Driver) -> str:
    try:
        driver.ping()
    except DriverError as error:
        return error.reason
    return ""


@pytest.mark.parametrize("kind", KINDS)
def test_renamed_data_is_refused_to_a_second_server(make: Make, started: Starting, tmp_path: Path, kind: str) -> None:
    """The lock beside it stays behind with another name; the first server reports what became of its data."""
    first = make(kind, tmp_path / "a")
    first.start(started.context())
    assert problem(first) == ""
    (tmp_path / "a").rename(tmp_path / "b")
    for lock in (tmp_path / "b").glob("*.compozy-lock"):
        lock.unlink()
    with pytest.raises(StateDirectoryError, match=f"is in use by process {os.getpid()}"):
        make(kind, tmp_path / "b").start(started.context())
    assert "was moved, removed or replaced while it is in use" in problem(first)


def test_new_connection_is_refused_after_the_database_was_replaced(
    make: Make, started: Starting, tmp_path: Path
) -> None:
    """It would write into the database of the server that took the place."""
    import peewee

    first, second = make("sqlite", tmp_path / "a"), make("sqlite", tmp_path / "a")
    first.start(started.context())
    (tmp_path / "a").rename(tmp_path / "b")
    second.start(started.context())
    with pytest.raises(peewee.OperationalError, match="was moved, removed or replaced"):
        first.handle.connect()
    first.stop(0)
    with pytest.raises(StateDirectoryError, match="is in use"):
        make("sqlite", tmp_path / "a").start(started.context())


def test_crashed_server_is_not_restarted_on_data_of_another(
    make: Make, started: Starting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its directory was renamed and a second server has begun in its place."""
    monkeypatch.setattr("compozy.drivers.child.FIRST_PAUSE_S", 0.001)
    first, second = make("valkey", tmp_path / "a"), make("valkey", tmp_path / "a")
    first.start(started.context())
    (tmp_path / "a").rename(tmp_path / "b")
    second.start(started.context())
    second.handle.set("key", "value")
    psutil.Process(first.describe().details["pid"]).kill()
    eventually(lambda: "cannot be started again" in caplog.text, "the refusal")
    assert (first.describe().details["pid"], second.handle.get("key")) == (None, b"value")


def test_server_of_killed_guardian_and_owner_is_ended_first(
    make: Make, started: Starting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It would write concurrently with the next one; every acknowledged write is kept."""
    folder = tmp_path / "redis"
    with subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        server = psutil.Process(int(owner.stdout.readline()))
        for process in [*server.children(), psutil.Process(owner.pid)]:
            process.send_signal(signal.SIGSTOP)
        for process in [*server.children(), psutil.Process(owner.pid)]:
            process.kill()
    assert server.is_running()
    second = make("valkey", tmp_path)
    second.start(started.context())
    eventually(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, "the end of the first")
    client: redis.Redis = second.handle
    assert client.dbsize() == 20
    assert f"process {server.pid} still used {folder} after its owner was killed" in caplog.text


def test_data_of_a_foreign_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only servers of our kind are ended, and one that does not let go in time is named."""
    monkeypatch.setattr(lock_holders, "WAIT_S", 0.1)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    held = DataLock(str(tmp_path))
    held.acquire()
    with subprocess.Popen(["sleep", "300"], pass_fds=held.inherited) as foreign:
        held.release()
        with pytest.raises(StateDirectoryError, match=f"in use by process {foreign.pid}"):
            DataLock(str(tmp_path), "/usr/bin/valkey-server").acquire()
        assert foreign.poll() is None
        foreign.kill()
    os.close(descriptor)
    DataLock(str(tmp_path)).acquire()
