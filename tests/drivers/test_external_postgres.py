"""External PostgreSQL: the message of every kind of failure, and connections that survive a restart."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import peewee
import psutil
import pytest
from tests.support.polling import eventually

from compozy.drivers.ports import free_port
from compozy.drivers.postgres import PostgresDriver
from compozy.drivers.postgres_pool import Pool
from compozy.errors import DriverError
from compozy.testing.postgres_server import PostgresServer

from .starting import Starting
from .suite import PATIENCE_S, eventually_answers
from .tls import HOST, Authority, tls_proxy

CLOSED = free_port()


@pytest.fixture
def driver(postgres_server: PostgresServer, started: Starting) -> Iterator[PostgresDriver]:
    """A started driver with a pool of two."""
    made = PostgresDriver(url=postgres_server.url, max_connections=2, connect_timeout_s=0.2)
    made.start(started.context())
    yield made
    made.stop(0)


def one(database: Any) -> int:
    return int(database.execute_sql("SELECT 1").fetchone()[0])


@pytest.mark.parametrize(
    ("changes", "reason", "fix"),
    [
        pytest.param(
            {"password": "wrong"}, 'the password for user "compozy" was refused', "database.password", id="password"
        ),
        pytest.param({"password": None}, "asks for a password", "set database.password", id="no-password"),
        pytest.param({"name": "nowhere"}, 'database "nowhere" does not exist', "createdb nowhere", id="database"),
        pytest.param({"port": CLOSED}, "connection refused", "database.port", id="refused"),
        pytest.param({"host": "nowhere.invalid"}, '"nowhere.invalid" is not known', "database.host", id="host"),
        pytest.param({"ssl_mode": "require"}, "does not support TLS", "database.ssl_mode", id="tls"),
    ],
)
def test_each_failure_is_reported_with_address_and_fix(
    postgres_server: PostgresServer, started: Starting, changes: dict[str, Any], reason: str, fix: str
) -> None:
    """Host, port and database are named, and what to change."""
    parts = {
        "host": HOST,
        "port": postgres_server.port,
        "password": postgres_server.password,
        "name": "postgres",
        **changes,
    }
    with pytest.raises(DriverError) as caught:
        PostgresDriver(**parts).start(started.context())
    assert f"{parts['host']}:{parts['port']}/{parts['name']}" in caught.value.reason
    assert reason in caught.value.reason
    assert fix in (caught.value.hint or "")


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("mysql://compozy:hush@localhost/x", id="other-scheme"),
        pytest.param("postgresql://compozy:hush@localhost:port/x", id="no-number"),
        pytest.param("postgresql://compozy:hu@sh@localhost/x", id="at-in-password"),
        pytest.param("postgresql://compozy:hu/sh@localhost/x", id="slash-in-password"),
        pytest.param("postgresql://compozy:12/sh@localhost/x", id="number-and-slash-in-password"),
        pytest.param("hush", id="no-url"),
        pytest.param("postgresql://compozy:hush%ff@localhost/x", id="not-utf-8"),
        pytest.param("postgresql://localhost/x?application_name=%ff", id="option-not-utf-8"),
    ],
)
def test_invalid_url_is_not_quoted(started: Starting, url: str) -> None:
    """Its text may be a piece of the password."""
    with pytest.raises(DriverError) as caught:
        PostgresDriver(url=url).start(started.context())
    assert caught.value.reason == "database.url is not the URL of a PostgreSQL"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", ["user", "password", "name"])
@pytest.mark.parametrize("character", ["\0", "\ud800"], ids=["nul", "surrogate"])
def test_unsendable_character_is_an_error(
    postgres_server: PostgresServer, started: Starting, name: str, character: str
) -> None:
    """The error does not quote the value."""
    parts: dict[str, Any] = {"host": HOST, "port": postgres_server.port, "password": "x", "name": "postgres"}
    with pytest.raises(DriverError) as caught:
        PostgresDriver(**{**parts, name: f"hush{character}"}).start(started.context())
    assert "cannot be sent" in caught.value.reason
    assert name == "name" or "hush" not in str(caught.value)


def test_refusal_in_another_language_names_settings(started: Starting) -> None:
    """The advice does not depend on the words of the server."""
    fields = {"S": "FATAL", "C": "28P01", "M": "Passwort-Authentifizierung für Benutzer »x« fehlgeschlagen"}
    body = "".join(f"{code}{value}\0" for code, value in fields.items()).encode() + b"\0"
    answer = b"E" + (len(body) + 4).to_bytes(4, "big") + body

    def serve(listener: socket.socket) -> None:
        for _ in range(2):  # the first connection looks whether anybody listens
            client, _address = listener.accept()
            with client:
                if client.recv(4096):
                    client.sendall(answer)

    with socket.create_server((HOST, 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        parts: dict[str, Any] = {
            "host": HOST,
            "port": listener.getsockname()[1],
            "password": "x",
            "ssl_mode": "disable",
        }
        with pytest.raises(DriverError) as caught:
            PostgresDriver(**parts).start(started.context())
    assert "fehlgeschlagen" in caught.value.reason
    assert "database.password" in str(caught.value.hint)


@pytest.mark.parametrize("path", ["", "/nowhere"], ids=["left-out", "another"])
def test_separate_part_takes_precedence_over_the_url(
    path: str, postgres_server: PostgresServer, started: Starting
) -> None:
    url = postgres_server.url.removesuffix("/postgres") + path
    driver = PostgresDriver(url=url, name="postgres")
    driver.start(started.context())
    with closing(driver.handle):
        assert driver.handle.execute_sql("SELECT current_database()").fetchone() == ("postgres",)
    driver.stop(0)


def test_kept_connection_of_a_thread_recovers_after_a_restart(
    driver: PostgresDriver, postgres_server: PostgresServer
) -> None:
    """The first statement after the restart works already."""
    assert one(driver.handle) == 1
    assert not driver.handle.is_closed()
    postgres_server.stop()
    postgres_server.start()
    assert one(driver.handle) == 1


def test_a_transaction_begins_on_a_living_connection_after_a_restart(
    driver: PostgresDriver, postgres_server: PostgresServer
) -> None:
    """A transaction replaces a dead connection before it begins."""
    assert one(driver.handle) == 1
    postgres_server.kill()
    postgres_server.start()
    with driver.handle.atomic():
        assert one(driver.handle) == 1


def test_pooled_connections_are_replaced_after_a_restart(
    driver: PostgresDriver, postgres_server: PostgresServer
) -> None:
    """Connections that waited in the pool through the restart are not handed out."""
    for _ in range(2):
        with driver.handle.connection_context():
            assert one(driver.handle) == 1
    postgres_server.stop()
    postgres_server.start()
    with driver.handle.connection_context():
        assert one(driver.handle) == 1


def test_connection_context_outlives_its_connection(driver: PostgresDriver, postgres_server: PostgresServer) -> None:
    """Within a context a dead connection is replaced; an outage there raises the error of the database."""
    with driver.handle.connection_context():
        assert one(driver.handle) == 1
        postgres_server.stop()
        postgres_server.start()
        assert one(driver.handle) == 1
    assert driver.handle.is_closed()

    def ask_in_outage() -> None:
        with driver.handle.connection_context():
            postgres_server.stop()
            one(driver.handle)

    try:
        with pytest.raises(peewee.OperationalError):
            ask_in_outage()
    finally:
        postgres_server.start()


def test_a_statement_in_an_outage_fails_as_a_database_error(
    driver: PostgresDriver, postgres_server: PostgresServer
) -> None:
    """The user of the handle gets peewee's error, and the next statement after the outage works."""
    assert one(driver.handle) == 1
    postgres_server.stop()
    with pytest.raises(peewee.OperationalError):
        one(driver.handle)
    postgres_server.start()
    assert one(driver.handle) == 1


def test_exhausted_pool_is_an_error_and_does_not_fail_the_ping(driver: PostgresDriver) -> None:
    """Two threads hold both connections: a third gets an error with the reason, health is not affected."""
    ready, done = threading.Barrier(3, timeout=30), threading.Event()

    def hold() -> None:
        with driver.handle.connection_context():
            ready.wait()
            done.wait(30)

    holders = [threading.Thread(target=hold) for _ in range(2)]
    for holder in holders:
        holder.start()
    ready.wait()
    try:
        driver.ping()
        with pytest.raises(peewee.OperationalError, match="all 2 connections are in use"):
            driver.handle.connect()
    finally:
        done.set()
        for holder in holders:
            holder.join()


def test_a_handle_kept_beyond_the_end_opens_no_connection(driver: PostgresDriver) -> None:
    """After `stop` the handle is dead for good."""
    kept = driver.handle
    driver.stop(0)
    with pytest.raises(peewee.InterfaceError):
        kept.connect()


@pytest.mark.parametrize("ssl_mode", ["require", "prefer"])
def test_tls_follows_the_ssl_mode(
    postgres_server: PostgresServer, authority: Authority, started: Starting, ssl_mode: str
) -> None:
    """If the server offers TLS, it is used, and the description reports it."""
    with tls_proxy(postgres_server.port, authority.server_context(), asks_first=True) as proxy:
        parts: dict[str, Any] = {
            "host": HOST,
            "port": proxy.port,
            "password": postgres_server.password,
            "name": "postgres",
        }
        driver = PostgresDriver(**parts, ssl_mode=ssl_mode)
        driver.start(started.context())
        assert driver.describe().details["tls"] is True
        driver.stop(0)


def test_threads_share_the_failure_of_an_unresponsive_server(started: Starting) -> None:
    """A thread that waited during a failed attempt does not start one of its own."""
    attempts = 0
    with socket.create_server((HOST, 0), backlog=16) as listener:
        pool = Pool("postgres", parameters(listener.getsockname()[1]), size=8, wait_s=30)
        with ThreadPoolExecutor(4) as threads:
            failures = [threads.submit(pool.connect) for _ in range(4)]
            for failure in failures:
                assert isinstance(failure.exception(PATIENCE_S), peewee.OperationalError)
        listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()
                attempts += 1
    assert attempts < 4


def test_silent_connection_does_not_stop_other_threads(driver: PostgresDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooled connection without an answer is replaced; meanwhile others are served, and the health check works."""
    monkeypatch.setattr("compozy.drivers.postgres_pool.FRESH_S", 0.0)
    with driver.handle.connection_context():
        (backend,) = driver.handle.execute_sql("SELECT pg_backend_pid()").fetchone()
    psutil.Process(backend).suspend()
    try:
        with ThreadPoolExecutor(2) as threads:
            answers = [threads.submit(one, driver.handle) for _ in range(2)]
            assert [answer.result(PATIENCE_S) for answer in answers] == [1, 1]
        eventually_answers(driver)
    finally:
        psutil.Process(backend).resume()


@pytest.mark.parametrize("statement", ["SELECT 1", "BEGIN"])
def test_connections_of_ended_threads_are_reclaimed(driver: PostgresDriver, statement: str) -> None:
    """Threads that end without closing their connection do not use up the pool."""
    for _ in range(2 * 2):
        thread = threading.Thread(target=driver.handle.execute_sql, args=(statement,))
        thread.start()
        thread.join(PATIENCE_S)
    assert one(driver.handle) == 1


def test_ping_fails_while_pool_is_blocked(driver: PostgresDriver) -> None:
    """A pool whose lock is kept by a thread is an outage, although the server answers."""
    with ThreadPoolExecutor(1) as threads, driver.handle._pool_lock:
        asking = threads.submit(driver.ping)
        assert isinstance(asking.exception(PATIENCE_S), DriverError)
    eventually_answers(driver)


def parameters(port: int) -> dict[str, Any]:
    return {"host": HOST, "port": port, "user": "compozy", "password": "x", "connect_timeout": 2, "sslmode": "disable"}


@pytest.mark.parametrize("kept", [True, False], ids=["statement", "examination"])
def test_hanging_server_does_not_delay_stop(own_server: PostgresServer, started: Starting, kept: bool) -> None:
    """A thread that queries, or a pool that examines an idle connection, is cut off and gets an error."""
    driver = PostgresDriver(url=own_server.url, max_connections=2, connect_timeout_s=2)
    driver.start(started.context())
    pool, hung = driver.handle, threading.Event()

    def ask() -> int:
        if kept:
            pool.connect()
        hung.wait(PATIENCE_S)
        return one(pool)

    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(ask)
        eventually(lambda: not kept or pool._in_use, "a connection in use")
        with frozen(own_server):
            hung.set()
            eventually(lambda: pool._in_use, "a connection in use")
            driver.stop(10)  # returns while the server is frozen
            assert isinstance(asking.exception(PATIENCE_S), peewee.DatabaseError | peewee.InterfaceError)


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@contextlib.contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """Stop every process of the server for the length of the block."""
    parts = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    for part in parts:
        part.suspend()
    try:
        yield
    finally:
        for part in parts:
            with contextlib.suppress(psutil.NoSuchProcess):
                part.resume()
