"""A backup under load holds all stores at one moment."""

from __future__ import annotations

import re
import sqlite3
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.drivers.starting import starting
from tests.support.kept_data import DATABASE, REDIS, TEMPORAL, place, project
from tests.support.polling import eventually

from compozy.backup.take import back_up
from compozy.drivers.redis_embedded import ValkeyDriver
from compozy.resolution.resolve import Resolved

pytestmark = pytest.mark.persistent

BACKUPS = 12
_WRITTEN = re.compile(rb"counter\r\n\$\d+\r\n(\d+)\r\n")


class Load:
    """A writer that puts each number into Redis, then Temporal's file, then the database, until it is closed."""

    def __init__(self, resolved: Resolved, redis: object) -> None:
        self.number = 0
        self._ended = threading.Event()
        self._files = [sqlite3.connect(place(resolved, name), timeout=30, isolation_level=None, check_same_thread=False)
                       for name in (TEMPORAL, DATABASE)]  # fmt: skip
        for file in self._files:
            file.executescript("PRAGMA journal_mode = wal; CREATE TABLE counter (n); INSERT INTO counter VALUES (0)")
        self._redis = redis
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        while not self._ended.is_set():
            self.number += 1
            self._redis.set("counter", self.number)  # type: ignore[attr-defined]
            for file in self._files:
                file.execute("UPDATE counter SET n = ?", (self.number,))

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for file in self._files:
            file.close()


@pytest.fixture
def resolved(tmp_path: Path) -> Resolved:
    (tmp_path / "project" / ".compozy").mkdir(parents=True)
    return project(tmp_path / "project")


@pytest.fixture
def load(resolved: Resolved) -> Iterator[Load]:
    driver = ValkeyDriver(persistence=True, data_dir=str(place(resolved, REDIS)))
    with starting() as started:
        driver.start(started.context())
        try:
            with closing(Load(resolved, driver.handle)) as load:
                yield load
        finally:
            driver.stop(5)


def counters(archive: Path, room: Path) -> tuple[int, int, int]:
    """Return the number that Redis, Temporal's file and the database of a backup hold."""
    with tarfile.open(archive) as held:
        held.extractall(room, filter="data")
    log = max((room / REDIS / "appendonlydir").glob("*.incr.aof")).read_bytes()
    found = [int(number) for number in _WRITTEN.findall(log)]
    for name in (TEMPORAL, DATABASE):
        with closing(sqlite3.connect(room / name)) as connection:
            found.append(connection.execute("SELECT n FROM counter").fetchone()[0])
    redis, temporal, database = found[-3:]
    return redis, temporal, database


def test_backup_holds_all_stores_at_one_moment(tmp_path: Path, resolved: Resolved, load: Load) -> None:
    """A number is in Redis first: no store is behind by more than the write in progress."""
    for number in range(BACKUPS):
        seen = load.number
        eventually(lambda seen=seen: load.number > seen + 5, "the next writes")  # type: ignore[misc]
        back_up(resolved, tmp_path / f"{number}.tar.gz")
    for number in range(BACKUPS):
        redis, temporal, database = counters(tmp_path / f"{number}.tar.gz", tmp_path / str(number))
        assert redis >= temporal >= database >= redis - 1, number
        assert database > 0
