"""Check for a listener within a bounded time."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from compozy.drivers.ports import free_port
from compozy.drivers.reach import Symptom, diagnosed, diagnosis, reach
from compozy.errors import DriverError

HOST = "127.0.0.1"
SYMPTOMS = (
    Symptom('no table "(?P<name>[^"]*)"', "unknown table {name}", "create {name}"),
    Symptom("table", "something with a table", "look at it"),
)


@pytest.fixture
def full() -> Iterator[int]:
    """Give the port of a listener whose queue is full: further connections are neither taken nor refused."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((HOST, 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_a_listener_is_reached() -> None:
    """No error is raised, and the connection is returned."""
    with socket.create_server((HOST, 0)) as listener:
        reach("it", HOST, listener.getsockname()[1], 5, setting="its.port")
        taken, _ = listener.accept()
        with taken:
            assert taken.recv(1) == b""


def test_refused_connection_is_reported() -> None:
    """With what to do about it."""
    with pytest.raises(DriverError) as caught:
        reach("it", HOST, free_port(), 5, setting="its.port")
    assert caught.value.reason == "it: connection refused"
    assert caught.value.hint == "start it, or correct its.port"


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "x" * 300])
def test_unknown_host_is_reported(host: str) -> None:
    """Also when it cannot even be asked for."""
    with pytest.raises(DriverError, match="is not known"):
        reach("it", host, 80, 5, setting="its.host")


def test_connection_without_an_answer_is_reported(full: int) -> None:
    """The wait ends, and firewalls are suspected."""
    with pytest.raises(DriverError) as caught:
        reach("it", HOST, full, 0.05, setting="its.port")
    assert caught.value.reason == "it: no answer within 0.05 s"
    assert "firewalls" in (caught.value.hint or "")


def test_first_matching_symptom_is_reported_with_its_facts() -> None:
    """Groups of the pattern fill reason and hint."""
    found = diagnosed('ERROR: No Table "seats" here', "it", SYMPTOMS)
    assert (found.reason, found.hint) == ("it: unknown table seats", "create seats")


def test_unknown_text_is_reported_unchanged() -> None:
    """Its first line, and where more may stand."""
    assert diagnosis("strange\nmore", "it", SYMPTOMS) is None
    found = diagnosed("strange\nmore", "it", SYMPTOMS)
    assert (found.reason, found.hint) == ("it: strange", "see the log of the server")
