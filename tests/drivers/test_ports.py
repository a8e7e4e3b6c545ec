"""Ports: a busy default port is replaced, a busy explicit port is an error that names the owner."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from glob import glob

import pytest

from compozy.drivers import ports
from compozy.drivers.port import Port
from compozy.drivers.ports import choose_port, free_port, is_free, listening, listens, owner_of, split_address
from compozy.errors import DriverError, PortBusyError

HOST = "127.0.0.1"
SETTING = "temporal.standalone.frontend_port"


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        yield int(taken.getsockname()[1])


def test_a_free_port_is_taken_as_asked() -> None:
    """A free port causes no notice."""
    number, notices = free_port(HOST), list[str]()
    assert choose_port(Port(number, SETTING, explicit=False), HOST, notices.append) == number
    assert notices == []


def test_busy_default_port_is_replaced_with_a_notice(busy: int) -> None:
    """The notice names the port, its owner, the new port and the setting."""
    notices: list[str] = []
    moved = choose_port(Port(busy, SETTING, explicit=False), HOST, notices.append)
    assert is_free(moved, HOST)
    assert notices == [f"port {busy} is busy, {owner_of(busy)} has it; using {moved} for {SETTING}"]


def test_lost_default_port_moves_although_it_is_free_again() -> None:
    """A process that took it between the look and the attempt to listen may do so again."""
    number, notices = free_port(HOST), list[str]()
    moved = choose_port(Port(number, SETTING, explicit=False), HOST, notices.append, lost=True)
    assert moved != number
    assert notices == [f"port {number} is busy; using {moved} for {SETTING}"]


def test_a_busy_chosen_port_is_an_error(busy: int) -> None:
    """It carries port, setting and owner."""
    with pytest.raises(PortBusyError) as caught:
        choose_port(Port(busy, SETTING, explicit=True), HOST, list[str]().append)
    assert (caught.value.port, caught.value.setting) == (busy, SETTING)
    assert caught.value.owner is not None
    assert f"(process {os.getpid()})" in caught.value.owner
    assert caught.value.hint == f"stop that process, or choose another {SETTING}"


def test_free_port_has_no_owner() -> None:
    """No owner is reported."""
    assert owner_of(free_port(HOST)) is None


def test_a_listener_is_seen(busy: int) -> None:
    """Only who listens answers."""
    assert (listening(HOST, busy), listening(HOST, free_port(HOST))) == (True, False)


def test_address_of_another_machine_is_not_reported_as_busy() -> None:
    """The error reports an address on which this machine cannot listen."""
    with pytest.raises(DriverError, match="nothing can listen on 192.0.2.1"):
        is_free(free_port(HOST), "192.0.2.1")


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        pytest.param("localhost:7233", ("localhost", 7233), id="name"),
        pytest.param("[::1]:7233", ("::1", 7233), id="ipv6"),
    ],
)
def test_an_address_is_split(address: str, parts: tuple[str, int]) -> None:
    """Host and port, without the brackets."""
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":7233", "localhost:http"])
def test_half_an_address_is_an_error(address: str) -> None:
    """The error shows the correct form."""
    with pytest.raises(DriverError, match="is not an address"):
        split_address(address)


def test_listener_is_found_while_it_opens_and_closes_files(busy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listed descriptor may be closed before it is read; the search continues with the others."""
    monkeypatch.setattr(ports, "glob", lambda pattern: [pattern.replace("*", "99999"), *glob(pattern)])
    assert listens(os.getpid(), busy) is True
    assert listens(os.getppid(), busy) is False
    assert listens(os.getpid(), free_port(HOST)) is None
