"""The contract of every driver, as one suite against real servers.

A driver joins with a row: a function that makes a `Subject` of a driver and its backend.

    class TestEmbeddedDrivers(DriverSuite):
        rows = (Row("valkey", valkey_subject), Row("fakeredis", fakeredis_subject))
"""

from __future__ import annotations

import gc
import json
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import psutil
import pytest
from tests.support.polling import eventually

from compozy.drivers.protocol import Driver, LoopThread
from compozy.errors import DriverError

from .starting import Starting

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Subject:
    """A driver under test.

    `make` returns it, not started; `works` does with a started one what users do with its handle, and returns what
    it read back, which must be `expected`. `failing` make drivers whose start must fail. `secrets` appear in no
    output. For a driver of something external, `outage` ends and restarts the backend, and `freeze` lets it hang.
    """

    make: Callable[[], Driver]
    works: Callable[[Any, LoopThread], object]
    expected: object
    failing: Sequence[Callable[[], Driver]] = ()
    secrets: Sequence[str] = ()
    outage: tuple[Callable[[], None], Callable[[], None]] | None = None
    freeze: tuple[Callable[[], None], Callable[[], None]] | None = None


@dataclass(frozen=True)
class Row:
    """A subject by name; `subject` gets pytest's request, for fixtures."""

    id: str
    subject: Callable[[pytest.FixtureRequest], Subject]


def counted(database: Any, _: LoopThread) -> object:
    """Write to a table of the database, and read it."""
    with database.connection_context():
        database.execute_sql("CREATE TEMPORARY TABLE seen (number int)")
        database.execute_sql("INSERT INTO seen VALUES (41), (1)")
        return database.execute_sql("SELECT sum(number) FROM seen").fetchone()[0]


def remembered(client: Any, _: LoopThread) -> object:
    """Write a key and read it."""
    client.set("answer", 42)
    return int(client.get("answer"))


def described(client: Any, loop: LoopThread) -> object:
    """Ask the server for its namespace."""
    from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest

    request = DescribeNamespaceRequest(namespace=client.namespace)
    return loop.call(client.workflow_service.describe_namespace(request), 10).namespace_info.name


def in_time(action: Callable[[], None]) -> BaseException | None:
    """Return what an action raised; one that hangs fails the test."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(action).exception(PATIENCE_S)


def answers(driver: Driver) -> bool:
    try:
        driver.ping()
    except DriverError:
        return False
    return True


def eventually_answers(driver: Driver) -> None:
    """Return when a ping succeeds; a single one may take too long on a busy machine."""
    eventually(lambda: answers(driver), "an answer")


_OVER = (psutil.CONN_TIME_WAIT, psutil.CONN_CLOSE_WAIT)


def far_ends() -> Counter[object]:
    """Return the open connections of this process, counted by their far end."""
    open_ones = (one for one in psutil.Process().net_connections() if one.status not in _OVER)
    return Counter(one.raddr or one.laddr for one in open_ones)


def traces(others: Collection[object] = ()) -> set[object]:
    """Return the children, the open connections and the threads of this process.

    `others` are far ends that runtimes of other fixtures use: these ask for health, and connect anew at any time.
    """
    gc.collect()  # clients of Temporal hang up when they are collected
    counts = {end: count for end, count in far_ends().items() if end not in others}
    connections = {("connection", end, number) for end, count in counts.items() for number in range(count)}
    return {*running(), *connections}


def running() -> set[object]:
    """Return the children and the threads of this process."""
    children = {("process", child.pid) for child in psutil.Process().children(recursive=True) if alive(child)}
    threads = {("thread", thread.name) for thread in threading.enumerate() if thread.name.startswith("compozy")}
    return {*children, *threads}


def eventually_ended(find_left: Callable[[], set[object]]) -> None:
    """Return when nothing is left; fail with what is."""
    left: set[object] = set()

    def ended() -> bool:
        left.clear()
        left.update(find_left())
        return not left

    eventually(ended, lambda: f"the end of {sorted(map(str, left))}")


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Suite:
    """Runs its tests with each row."""

    rows: ClassVar[Sequence[Row]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        metafunc.parametrize("row", [pytest.param(row, id=row.id) for row in self.rows])

    @pytest.fixture
    def subject(self, row: Row, request: pytest.FixtureRequest) -> Subject:
        return row.subject(request)


class DriverSuite(Suite):
    """The promises of the protocol `Driver`."""

    def test_it_starts_answers_and_works(self, subject: Subject, started: Starting) -> None:
        """After `start` the ping succeeds and the handle does what it is for."""
        driver = subject.make()
        try:
            driver.start(started.context())
            eventually_answers(driver)
            assert subject.works(driver.handle, started.loop) == subject.expected
        finally:
            driver.stop(0)

    def test_it_describes_itself(self, subject: Subject, started: Starting) -> None:
        """A description holds the address of the backend, in values of JSON types."""
        driver = subject.make()
        try:
            driver.start(started.context())
            about = driver.describe()
            assert json.loads(json.dumps(dict(about.details))) == dict(about.details)
            assert about.address or about.data or about.details
        finally:
            driver.stop(0)

    def test_it_stops_twice(self, subject: Subject, started: Starting) -> None:
        """Stopping is idempotent, also with time to spare."""
        driver = subject.make()
        driver.start(started.context())
        driver.stop(5)
        driver.stop(0)

    def test_it_stops_without_a_start(self, subject: Subject) -> None:
        """A driver that never started has nothing to stop."""
        subject.make().stop(0)

    def test_a_stopped_driver_does_not_answer(self, subject: Subject, started: Starting) -> None:
        """After `stop` the ping raises a driver error."""
        driver = subject.make()
        driver.start(started.context())
        driver.stop(0)
        assert isinstance(in_time(driver.ping), DriverError)

    def test_it_leaves_nothing_behind(self, subject: Subject, started: Starting) -> None:
        """After `stop` no process, connection or thread of it is left."""
        others = far_ends()
        warm(subject, started)
        before = traces(others)
        driver = subject.make()
        driver.start(started.context())
        eventually_answers(driver)
        driver.stop(0)
        del driver
        eventually_ended(lambda: traces(others) - before)

    def test_failed_start_gives_a_fix_hides_secrets_and_leaves_nothing(
        self, subject: Subject, started: Starting
    ) -> None:
        """A driver undoes what it had begun before it failed."""
        others = far_ends()
        warm(subject, started)
        before = traces(others)
        for make in subject.failing:
            failed_start(make(), started, subject.secrets)
        eventually_ended(lambda: traces(others) - before)

    def test_no_secret_shows(self, subject: Subject, started: Starting) -> None:
        """A driver that has started is described without its secrets."""
        driver = subject.make()
        driver.start(started.context())
        text = f"{driver!r} {driver.describe()!r}"
        driver.stop(0)
        assert [secret for secret in subject.secrets if secret in text] == []


def failed_start(driver: Driver, started: Starting, secrets: Sequence[str]) -> None:
    """Require that a start fails with a fix, and that neither driver nor error, its causes included, show a secret."""
    error = in_time(partial(driver.start, started.context(5)))
    assert isinstance(error, DriverError)
    assert error.hint
    text = "\n".join([repr(driver), repr(driver.describe()), *traceback.format_exception(error)])
    assert [secret for secret in secrets if secret in text] == []


class OutageSuite(Suite):
    """The additional contract of drivers of external servers."""

    def test_outage_is_reported_until_the_backend_returns(self, subject: Subject, started: Starting) -> None:
        """The ping fails while the backend is down; when it is back, the same driver and handle work."""
        assert subject.outage is not None
        down, up = subject.outage
        driver = subject.make()
        driver.start(started.context())
        try:
            down()
            try:
                assert isinstance(in_time(driver.ping), DriverError)
            finally:
                up()
            eventually_answers(driver)
            assert subject.works(driver.handle, started.loop) == subject.expected
        finally:
            driver.stop(0)


class HangSuite(Suite):
    """The contract for a backend that accepts connections but does not answer."""

    def test_hanging_backend_is_reported(self, subject: Subject, started: Starting) -> None:
        """It cannot hold the ping, and when it answers again, so does the driver."""
        assert subject.freeze is not None
        freeze, thaw = subject.freeze
        driver = subject.make()
        driver.start(started.context())
        try:
            freeze()
            try:
                assert isinstance(in_time(driver.ping), DriverError)
            finally:
                thaw()
            eventually_answers(driver)
        finally:
            driver.stop(0)

    def test_hanging_backend_cannot_delay_the_start_beyond_its_deadline(
        self, subject: Subject, started: Starting
    ) -> None:
        """The start ends with its deadline."""
        assert subject.freeze is not None
        freeze, thaw = subject.freeze
        driver = subject.make()
        freeze()
        try:
            error = in_time(lambda: driver.start(started.context(1)))
        finally:
            thaw()
            driver.stop(0)
        assert isinstance(error, DriverError)


def warm(subject: Subject, started: Starting) -> None:
    """Start once before, because the first start loads libraries that keep threads and connections of their own."""
    driver = subject.make()
    driver.start(started.context())
    eventually_answers(driver)
    driver.stop(0)
