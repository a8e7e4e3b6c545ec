"""A real PostgreSQL for tests: fresh databases, restarts, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
from tests.support.polling import eventually

from compozy.errors import DriverError
from compozy.testing.databases import Databases
from compozy.testing.postgres_server import PostgresServer
from compozy.testing.server_binaries import VARIABLE, Account, copy_postgres, find_postgres, server_account

pytestmark = pytest.mark.distributed

KILLED = """
import os, signal
from compozy.testing.postgres_server import PostgresServer
from compozy.testing.servers import RedisServer
postgres, redis = PostgresServer(), RedisServer()
postgres.start()
redis.start()
print(postgres.pid, redis.pid, postgres._scratch.path, redis._scratch.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
SEGMENTS = Path("/proc/sysvipc/shm")


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of the test's own."""
    with PostgresServer() as running:
        yield running


def query(url: str, statement: str) -> Any:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone() if cursor.description else None


def numbers(url: str) -> None:
    """Fill a template."""
    query(url, "CREATE TABLE numbers AS SELECT generate_series(1, 3) AS number")


def folder_of(server: PostgresServer) -> Path:
    return Path(query(server.url, "SHOW data_directory")[0]).parent


def test_a_fresh_database_is_empty_and_dropped_afterwards(postgres_server: PostgresServer) -> None:
    """The URL works for the length of the block."""
    with postgres_server.database() as url:
        assert query(url, "SELECT count(*) FROM pg_stat_user_tables") == (0,)
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        query(url, "SELECT 1")


def test_database_with_open_connections_is_dropped(postgres_server: PostgresServer) -> None:
    """A connection that a test forgot does not keep it."""
    with postgres_server.database() as url:
        forgotten = psycopg2.connect(url)
    with closing(forgotten), pytest.raises(psycopg2.OperationalError):
        forgotten.cursor().execute("SELECT 1")


def test_copies_of_a_template_do_not_see_each_other(postgres_server: PostgresServer) -> None:
    """Each copy has what the template has, and its own changes."""
    template = postgres_server.template("three_numbers", numbers)
    with postgres_server.database(template) as first, postgres_server.database(template) as second:
        query(first, "DELETE FROM numbers")
        assert query(first, "SELECT count(*) FROM numbers") == (0,)
        assert query(second, "SELECT count(*) FROM numbers") == (3,)


def test_a_template_is_filled_once(postgres_server: PostgresServer) -> None:
    """The second call finds it done."""
    calls: list[str] = []
    assert postgres_server.template("filled_once", calls.append) == "filled_once"
    assert postgres_server.template("filled_once", calls.append) == "filled_once"
    assert calls == [postgres_server.url_of("filled_once")]


def test_failed_template_is_discarded(postgres_server: PostgresServer) -> None:
    """The next call tries again."""

    def fail(url: str) -> None:
        raise KeyError(url)

    with pytest.raises(KeyError):
        postgres_server.template("filled_later", fail)
    with postgres_server.database(postgres_server.template("filled_later", numbers)) as url:
        assert query(url, "SELECT count(*) FROM numbers") == (3,)


@pytest.mark.parametrize("name", ['with"quote', "with space", "with/slash", "with%percent"])
def test_any_name_is_a_name(postgres_server: PostgresServer, name: str) -> None:
    """Names are quoted in statements and in URLs."""
    postgres_server.create_database(name)
    assert query(postgres_server.url_of(name), "SELECT current_database()") == (name,)
    postgres_server.drop_database(name)


def test_the_password_is_asked_for(postgres_server: PostgresServer) -> None:
    """Other users of this machine cannot connect without it."""
    with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
        psycopg2.connect(postgres_server.url.replace(f":{postgres_server.password}@", "@"))
    assert query(postgres_server.dsn, "SELECT current_database()") == ("postgres",)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_keeps_data_port_and_password(server: PostgresServer, end: str) -> None:
    """Also when it was killed with `kill -9`."""
    name, port = server.create_database(), server.port
    numbers(server.url_of(name))
    getattr(server, end)()
    with pytest.raises(psycopg2.OperationalError):
        query(server.url, "SELECT 1")
    server.start()
    assert server.port == port
    assert query(server.url_of(name), "SELECT count(*) FROM numbers") == (3,)


def test_stopped_server_is_an_error(server: PostgresServer) -> None:
    """Asking for a database is an error with a fix."""
    server.stop()
    server.stop()
    with pytest.raises(DriverError, match="does not run"):
        server.create_database()


def test_nothing_is_left_after_the_end() -> None:
    """Neither process nor file, and a second end is fine."""
    with PostgresServer() as server:
        folder, process = folder_of(server), psutil.Process(server.pid)
    assert not folder.exists()
    assert not process.is_running()
    server.close()


def test_nothing_is_left_when_we_are_killed() -> None:
    """After `kill -9` of the tests no server, file or shared memory remains."""
    result = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr
    *pids, postgres, redis = result.stdout.split()
    eventually(lambda: not any(running(int(pid)) for pid in pids), "the end of the servers")
    eventually(lambda: not Path(postgres).exists() and not Path(redis).exists(), "the removal of their files")
    segments = [line.split() for line in SEGMENTS.read_text().splitlines()[1:]] if SEGMENTS.exists() else []
    assert [segment for segment in segments if segment[4] == pids[0]] == []


def running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_two_servers_do_not_touch_each_other(postgres_server: PostgresServer, server: PostgresServer) -> None:
    """Ports, files and databases are their own."""
    assert postgres_server.port != server.port
    server.create_database("only_here")
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        query(postgres_server.url_of("only_here"), "SELECT 1")


def test_the_data_is_for_its_owner_alone(postgres_server: PostgresServer) -> None:
    """No other user of this machine can read it."""
    assert stat.S_IMODE(folder_of(postgres_server).stat().st_mode) == 0o700


def test_new_cluster_works_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call finds no kept cluster to copy; a damaged one is not used."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with PostgresServer() as first:
        assert query(first.url, "SELECT 1") == (1,)
    (kept,) = (tmp_path / "compozy").iterdir()
    shutil.rmtree(kept)
    kept.write_text("not a folder")
    with PostgresServer() as second:
        assert query(second.url, "SELECT 1") == (1,)


def test_binaries_may_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """`COMPOZY_TEST_PG_BIN` names their folder."""
    found = find_postgres()
    monkeypatch.setenv(VARIABLE, str(found))
    assert find_postgres() == found


def test_a_wrong_choice_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another PostgreSQL is not taken silently."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(DriverError, match=f"{VARIABLE}={tmp_path} holds no postgres and initdb"):
        PostgresServer().start()


def test_binaries_unreadable_for_the_servers_user_are_detected() -> None:
    """A closed folder above them is enough; the root user's servers run as another one."""
    stranger = Account(uid=os.geteuid() + 4321, gid=os.getegid() + 4321, changes=True)
    folder = Path(tempfile.mkdtemp())
    binary = folder / "postgres"
    binary.touch(mode=0o755)
    try:
        assert not stranger.can_run(binary)
        folder.chmod(0o755)
        assert stranger.can_run(binary)
    finally:
        shutil.rmtree(folder)


def test_copied_binaries_work(tmp_path: Path) -> None:
    """They find their libraries beside the copy."""
    copied = copy_postgres(find_postgres(), tmp_path)
    version = subprocess.run([str(copied / "postgres"), "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("postgres (PostgreSQL)")


def test_servers_never_run_as_root(postgres_server: PostgresServer) -> None:
    """PostgreSQL refuses to, so root's servers run as another user; those of other users run as themselves."""
    account = server_account()
    assert account.uid != 0
    assert psutil.Process(postgres_server.pid).uids().effective == account.uid


def test_databases_on_an_external_server_are_dropped_at_the_end(postgres_server: PostgresServer) -> None:
    """Templates and copies are dropped at the end."""
    with Databases(postgres_server.url) as databases:
        template = databases.template("of_a_guest", numbers)
        with databases.database(template) as url:
            assert query(url, "SELECT count(*) FROM numbers") == (3,)
    assert query(postgres_server.url, "SELECT count(*) FROM pg_database WHERE datname LIKE 'of_a_guest'") == (0,)


def test_unreachable_server_is_an_error() -> None:
    """The text comes without the password."""
    with pytest.raises(DriverError, match="cannot be reached") as caught:
        Databases("postgresql://compozy:canary@127.0.0.1:1/postgres").create_database()
    assert "canary" not in str(caught.value)
