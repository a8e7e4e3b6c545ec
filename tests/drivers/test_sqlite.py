"""SQLite: many threads at once, exclusive files, and damaged files."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import peewee
import psutil
import pytest
from tests.support.polling import eventually

from compozy.drivers.sqlite import APPLICATION_ID, MEMORY, SqliteDriver
from compozy.drivers.sqlite_turns import Turns, factory
from compozy.errors import DriverError, StateDirectoryError

from .starting import DEADLINE_S, Starting

THREADS, WRITES = 50, 20
Make = Callable[..., SqliteDriver]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[SqliteDriver] = []

    def make_driver(path: Path | str = MEMORY, **options: Any) -> SqliteDriver:
        made.append(SqliteDriver(str(path), **options))
        return made[-1]

    yield make_driver
    for driver in made:
        driver.stop(0)


@pytest.fixture(params=["memory", "file"])
def driver(request: pytest.FixtureRequest, make: Make, started: Starting, tmp_path: Path) -> SqliteDriver:
    """A database with one table, in memory and in a file."""
    made = make(MEMORY if request.param == "memory" else tmp_path / "compozy.db")
    made.start(started.context())
    with made.handle.connection_context():
        made.handle.execute_sql("CREATE TABLE notes (thread INTEGER, text TEXT)")
    return made


def in_threads(work: Callable[[int], None], count: int = THREADS) -> list[BaseException]:
    """Run `work` in threads that begin together; return what they raised."""
    raised: list[BaseException] = []
    together = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            together.wait(DEADLINE_S)
            work(number)
        except (peewee.DatabaseError, peewee.InterfaceError, sqlite3.Error) as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    return raised


def rows(driver: SqliteDriver) -> int:
    with driver.handle.connection_context():
        return int(driver.handle.execute_sql("SELECT count(*) FROM notes").fetchone()[0])


def test_fifty_threads_write_at_once(driver: SqliteDriver) -> None:
    """No thread gets `database is locked`, and every write is kept."""

    def write(number: int) -> None:
        for _ in range(WRITES):
            with driver.handle.connection_context():
                driver.handle.execute_sql("INSERT INTO notes VALUES (?, 'x')", (number,))

    assert in_threads(write) == []
    assert rows(driver) == THREADS * WRITES


def test_fifty_threads_read_and_then_write_in_transactions(driver: SqliteDriver) -> None:
    """Each transaction sees what the one before has written: none is lost."""

    def count_up(number: int) -> None:
        for _ in range(WRITES // 4):
            with driver.handle.connection_context(), driver.handle.atomic():
                (highest,) = driver.handle.execute_sql("SELECT coalesce(max(thread), 0) FROM notes").fetchone()
                driver.handle.execute_sql("INSERT INTO notes VALUES (?, 'x')", (highest + 1,))

    assert in_threads(count_up) == []
    with driver.handle.connection_context():
        (highest,) = driver.handle.execute_sql("SELECT max(thread) FROM notes").fetchone()
    assert highest == rows(driver) == THREADS * (WRITES // 4)


def test_rolled_back_transaction_ends_its_turn(driver: SqliteDriver) -> None:
    """The next writer does not wait for it."""
    with driver.handle.connection_context(), driver.handle.atomic() as transaction:
        driver.handle.execute_sql("INSERT INTO notes VALUES (1, 'x')")
        transaction.rollback()
    assert in_threads(lambda number: write_one(driver), 2) == []
    assert rows(driver) == 2


def write_one(driver: SqliteDriver) -> None:
    with driver.handle.connection_context():
        driver.handle.execute_sql("INSERT INTO notes VALUES (1, 'x')")


def test_a_connection_closed_within_a_transaction_ends_its_turn(driver: SqliteDriver) -> None:
    """A thread that gives up in the middle does not lock the others out."""

    def give_up(number: int) -> None:
        driver.handle.connect()
        driver.handle.begin()
        driver.handle.connection().close()
        driver.handle.close()

    in_threads(give_up, 1)
    assert in_threads(lambda number: write_one(driver), 1) == []


@pytest.mark.parametrize("kept", [False, True], ids=["freed", "referenced"])
def test_transaction_of_ended_thread_is_rolled_back(driver: SqliteDriver, kept: bool) -> None:
    """A thread that begins a transaction and ends does not block other writers, also if its connection lives on."""
    connections: list[Any] = []

    def begin(number: int) -> None:
        driver.handle.connect()
        driver.handle.begin()
        driver.handle.execute_sql("INSERT INTO notes VALUES (1, 'x')")
        connections.append(driver.handle.connection() if kept else None)

    assert in_threads(begin, 1) == []
    assert in_threads(lambda number: write_one(driver), 2) == []
    assert rows(driver) == 2


def test_waiting_writers_go_on_when_holder_thread_ends(driver: SqliteDriver) -> None:
    """Writers that already wait in line notice the end of the thread that holds the transaction."""
    begun, end = threading.Event(), threading.Event()

    def hold(number: int) -> None:
        driver.handle.connect()
        driver.handle.begin()
        begun.set()
        end.wait(DEADLINE_S)

    holder = threading.Thread(target=hold, args=(0,))
    holder.start()
    begun.wait(DEADLINE_S)
    writers = [threading.Thread(target=write_one, args=(driver,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    eventually(lambda: driver._turns.waiting > 0, "a writer in line")
    end.set()
    for thread in (holder, *writers):
        thread.join(DEADLINE_S)
    assert rows(driver) == 2


def test_several_statements_at_once_are_one_turn(driver: SqliteDriver) -> None:
    """A script of statements waits in line like the others."""
    with driver.handle.connection_context():
        driver.handle.connection().executescript(
            "INSERT INTO notes VALUES (1, 'a'); INSERT INTO notes VALUES (2, 'b');"
        )
        driver.handle.cursor().executemany("INSERT INTO notes VALUES (?, 'c')", [(3,), (4,)])
    assert rows(driver) == 4


def test_longest_waiting_writer_is_next() -> None:
    """Writers are served in the order in which they came."""
    turns, served = Turns(DEADLINE_S, readers_wait=True), list[int]()
    connection = factory(turns)(MEMORY)
    turns.take(connection)

    def wait_in_line(number: int) -> None:
        turns.take(connection)
        served.append(number)
        turns.give()

    threads = [threading.Thread(target=wait_in_line, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads):
        thread.start()
        eventually(lambda length=number + 1: turns.waiting == length, "its place in the line")  # type: ignore[misc]
    turns.give()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert served == [0, 1, 2, 3, 4]


def test_lock_timeout_names_holder(make: Make, started: Starting) -> None:
    """After the busy timeout the error names the thread that holds the transaction; writes work after its end."""
    driver = make(busy_timeout_s=0.05)
    driver.start(started.context())
    with driver.handle.connection_context():
        driver.handle.execute_sql("CREATE TABLE notes (thread INTEGER, text TEXT)")
        with driver.handle.atomic():
            raised = in_threads(lambda number: write_one(driver), 2)
    reason = 'database is locked: thread "MainThread" has kept a transaction open for'
    assert [str(error).rpartition(" for ")[0] + " for" for error in raised] == [reason] * 2
    assert in_threads(lambda number: write_one(driver), 2) == []


def open_files(path: Path) -> int:
    return sum(file.path == str(path) for file in psutil.Process().open_files())


def test_connections_are_reused_and_closed_by_stop(make: Make, started: Starting, tmp_path: Path) -> None:
    """One call after another uses one connection; what threads left open is closed too, and nothing after the stop."""
    path = tmp_path / "compozy.db"
    driver = make(path)
    driver.start(started.context())
    create(driver)
    once = open_files(path)
    in_threads(lambda number: write_one(driver), 1)
    assert open_files(path) == once
    for _ in range(5):
        in_threads(lambda number: driver.handle.connect(), 1)
    assert open_files(path) <= once + 1  # that of the last thread
    assert rows(driver) == 1
    driver.stop(0)
    assert open_files(path) == 0


def test_connection_used_during_stop_is_closed_afterwards(make: Make, started: Starting, tmp_path: Path) -> None:
    """A thread that works while the driver stops keeps its connection to the end of its work, and no longer."""
    path = tmp_path / "compozy.db"
    driver = make(path)
    driver.start(started.context())
    begun, end = threading.Event(), threading.Event()

    def work() -> None:
        with driver.handle.connection_context():
            begun.set()
            end.wait(DEADLINE_S)

    worker = threading.Thread(target=work)
    worker.start()
    begun.wait(DEADLINE_S)
    driver.stop(0)
    end.set()
    worker.join(DEADLINE_S)
    assert open_files(path) == 0


def test_calls_are_refused_while_file_is_elsewhere(make: Make, started: Starting, tmp_path: Path) -> None:
    """A pooled connection to a file that was moved is not used; the file is used again when it is back."""
    path, elsewhere = tmp_path / "compozy.db", tmp_path / "moved.db"
    driver = make(path)
    driver.start(started.context())
    create(driver)
    path.rename(elsewhere)
    (refusal,) = in_threads(lambda number: write_one(driver), 1)
    assert "was moved, removed or replaced while it is in use" in str(refusal)
    elsewhere.rename(path)
    assert in_threads(lambda number: write_one(driver), 1) == []


def test_memory_lasts_as_long_as_the_driver(make: Make, started: Starting) -> None:
    """Threads and connections come and go; two databases do not meet; a stopped one is refused, not empty."""
    first, second = make(), make()
    first.start(started.context())
    second.start(started.context())
    in_threads(lambda number: create(first), 1)
    in_threads(lambda number: write_one(first), 3)
    assert rows(first) == 3
    assert len(in_threads(lambda number: write_one(second), 1)) == 1
    first.stop(0)
    assert [str(error) for error in in_threads(lambda number: write_one(first), 1)] == ["the database was closed"]


def create(driver: SqliteDriver) -> None:
    with driver.handle.connection_context():
        driver.handle.execute_sql("CREATE TABLE notes (thread INTEGER, text TEXT)")


def test_a_file_is_created_for_us_alone(make: Make, started: Starting, tmp_path: Path) -> None:
    """Directory 0700, file 0600, also what SQLite puts beside it."""
    driver = make(tmp_path / "state" / "compozy.db")
    driver.start(started.context())
    create(driver)
    with driver.handle.connection_context():
        assert {path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()} == {0o600}
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("name", "value"), [("journal_mode", "wal"), ("synchronous", 1), ("foreign_keys", 1), ("busy_timeout", 5000)]
)
def test_a_file_is_opened_with_care(make: Make, started: Starting, tmp_path: Path, name: str, value: object) -> None:
    """Every connection has the pragmas of the contract."""
    driver = make(tmp_path / "compozy.db")
    driver.start(started.context())
    with driver.handle.connection_context():
        assert driver.handle.pragma(name) == value


def test_a_file_keeps_its_rows(make: Make, started: Starting, tmp_path: Path) -> None:
    """The next driver finds them, even if connections were left open."""
    first = make(tmp_path / "compozy.db")
    first.start(started.context())
    create(first)
    first.handle.connect()
    first.handle.execute_sql("INSERT INTO notes VALUES (1, 'x')")
    first.stop(0)
    second = make(tmp_path / "compozy.db")
    second.start(started.context())
    assert rows(second) == 1


KILLED_WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA application_id = 1131375984")
connection.executescript("PRAGMA cache_size = 1; CREATE TABLE notes (thread, text); BEGIN")
connection.executemany("INSERT INTO notes VALUES (2, ?)", [("x" * 500,)] * 2000)
os.kill(os.getpid(), 9)
"""


def test_unfinished_transaction_of_a_killed_writer_is_rolled_back(
    make: Make, started: Starting, tmp_path: Path
) -> None:
    """A file that had no write-ahead log yet is made whole from its journal, not refused as read-only."""
    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(tmp_path / "compozy.db")], check=False)
    assert (tmp_path / "compozy.db-journal").exists()
    driver = make(tmp_path / "compozy.db")
    driver.start(started.context())
    assert rows(driver) == 0


JOURNAL_HEADER = bytes.fromhex("d9d505f920a163d7 00000000 c0ffee00 00000000 00000200 00001000").ljust(512, b"\0")


@pytest.mark.parametrize("header", [pytest.param(b"", id="begun"), pytest.param(JOURNAL_HEADER, id="written")])
def test_start_accepts_empty_file_beside_rollback_journal(
    make: Make, started: Starting, tmp_path: Path, header: bytes
) -> None:
    """A start that was killed while SQLite created the file leaves it empty beside the journal of its first page."""
    (tmp_path / "compozy.db").touch()
    (tmp_path / "compozy.db-journal").write_bytes(header)
    driver = make(tmp_path / "compozy.db")
    driver.start(started.context())
    create(driver)
    assert rows(driver) == 0


def test_start_rejects_empty_file_beside_write_ahead_log(make: Make, started: Starting, tmp_path: Path) -> None:
    """SQLite would remove the log, which holds what was committed before the file was emptied."""
    (tmp_path / "compozy.db").touch()
    (tmp_path / "compozy.db-wal").write_bytes(b"frames")
    with pytest.raises(DriverError, match="it is empty and has a write-ahead log"):
        make(tmp_path / "compozy.db").start(started.context())
    assert (tmp_path / "compozy.db-wal").read_bytes() == b"frames"


def damaged(path: Path, kind: str) -> bytes:
    if kind == "text":
        path.write_bytes(b"this is not a database " * 50)
    else:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE notes (text TEXT)")
            connection.executemany("INSERT INTO notes VALUES (?)", [("x" * 500,)] * 200)
        content = bytearray(path.read_bytes())
        content[5000:9000] = b"\xff" * 4000
        path.write_bytes(content)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["text", "pages"])
def test_damaged_file_is_reported_and_not_changed(make: Make, started: Starting, tmp_path: Path, kind: str) -> None:
    """The error names the file and what to do; not a byte of it changes and nothing appears beside it."""
    before = damaged(tmp_path / "compozy.db", kind)
    with pytest.raises(DriverError, match="compozy.db is damaged or not a SQLite database") as caught:
        make(tmp_path / "compozy.db").start(started.context())
    assert "restore a backup" in str(caught.value.hint)
    assert (tmp_path / "compozy.db").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["compozy.db"]


def test_uncreatable_path_is_an_error(make: Make, started: Starting, tmp_path: Path) -> None:
    """Its parent is a file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DriverError, match="cannot be used: File exists"):
        make(tmp_path / "file" / "compozy.db").start(started.context())


def test_directory_is_rejected_as_database(make: Make, started: Starting, tmp_path: Path) -> None:
    """The error is a message, not a traceback."""
    with pytest.raises(DriverError, match="cannot be opened"):
        make(tmp_path).start(started.context())


def test_a_file_has_one_owner(make: Make, started: Starting, tmp_path: Path) -> None:
    """Another project that names the same file is refused with the owner's process id, until it is let go."""
    first, second = make(tmp_path / "shared.db"), make(tmp_path / "shared.db")
    first.start(started.context())
    with pytest.raises(StateDirectoryError, match=f"shared.db is in use by process {os.getpid()}"):
        second.start(started.context())
    first.stop(0)
    second.start(started.context())


def test_log_stays_open_between_connections(make: Make, started: Starting, tmp_path: Path) -> None:
    """Short connections reuse the write-ahead log instead of creating and deleting it each time."""
    driver = make(tmp_path / "compozy.db")
    driver.start(started.context())
    create(driver)
    beside = [tmp_path / f"compozy.db{suffix}" for suffix in ("-wal", "-shm")]
    before = [path.stat().st_ino for path in beside]
    write_one(driver)
    assert [path.stat().st_ino for path in beside] == before


def test_read_only_files_beside_database_are_made_writable(make: Make, started: Starting, tmp_path: Path) -> None:
    """A log that was created while the database was read-only does not block the next start."""
    file = tmp_path / "compozy.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("CREATE TABLE notes (thread INTEGER, text TEXT)")
        copies = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name, content in copies.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o400 if name != file.name else 0o600)
    driver = make(file)
    driver.start(started.context())
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if not path.name.endswith("lock")} == {0o600}
    write_one(driver)
    assert rows(driver) == 1


def test_a_disk_without_room_is_not_healthy(
    make: Make, started: Starting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Reads succeed; the health check reports that writes fail."""
    driver = make(tmp_path / "compozy.db")
    driver.start(started.context())
    driver.ping()
    monkeypatch.setattr("compozy.drivers.sqlite._LEAST_BYTES", 1 << 60)
    with pytest.raises(DriverError, match="cannot grow: the disk is full"):
        driver.ping()
