"""The vector store in a Qdrant server."""

from __future__ import annotations

import contextlib
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.qdrant_server import HOST, Listening, qdrant_server

from compozy.drivers.ports import free_port
from compozy.drivers.vector_qdrant import QdrantServerDriver
from compozy.errors import DriverError
from compozy.vector.vector_store import VectorRecord

from .starting import Starting

if TYPE_CHECKING:  # the driver imports the client when it starts
    from compozy.drivers.qdrant_client_collection import QdrantClientCollection

KEY = "hushhushhush"
Opened = Callable[..., "QdrantClientCollection"]


@pytest.fixture(scope="module")
def server() -> Iterator[Listening]:
    with qdrant_server(KEY) as listening:
        yield listening


@pytest.fixture
def opened(server: Listening, started: Starting) -> Iterator[Opened]:
    drivers = []

    def start(**options: Any) -> QdrantClientCollection:
        driver = QdrantServerDriver(**{"name": "docs", "url": server.url, "api_key": KEY, **options})
        drivers.append(driver)
        driver.start(started.context())
        driver.ping()
        assert driver.handle is not None
        return driver.handle

    yield start
    for driver in drivers:
        driver.stop(0)


def records(count: int) -> list[VectorRecord]:
    chance = random.Random(1)
    return [
        VectorRecord(f"r{n:03}", [chance.gauss(0, 1) for _ in range(4)], f"t{n}", {"n": n % 7}) for n in range(count)
    ]


@pytest.mark.parametrize("metric", ["cosine", "l2", "ip"])
def test_records_are_written_searched_and_deleted(metric: str, opened: Opened) -> None:
    store, found = opened(collection=metric, metric=metric), records(150)
    store.upsert(found)
    assert (store.count(), store.dimension) == (150, 4)
    best = store.search(found[3].vector, 3)
    assert (best[0].id, best[0].score, best[0].text, best[0].metadata) == ("r003", 1.0, "t3", {"n": 3})
    assert 1 > best[1].score > best[2].score
    assert {match.metadata["n"] for match in store.search(found[3].vector, 50, {"n": [1, 2]})} == {1, 2}
    assert store.delete(where={"n": 3}) == len(range(3, 150, 7))
    assert store.delete(ids=["r000", "missing"]) == 1
    assert [one.id for one in store.export()] == [one.id for one in found[1:] if one.metadata["n"] != 3]


@pytest.mark.parametrize(
    ("options", "reason", "fix"),
    [
        pytest.param({"api_key": "wrongwrongwrong"}, "API key was refused", "api_key", id="key"),
        pytest.param(
            {"url": None, "host": HOST, "port": free_port()}, "connection refused", "host and port", id="port"
        ),
        pytest.param({"url": "http://nowhere.invalid:6333"}, '"nowhere.invalid" is not known', "url", id="host"),
        pytest.param({"tls": True}, "expects TLS", "tls", id="tls"),
        pytest.param({"url": "redis://localhost"}, "not that of a Qdrant", "http://", id="scheme"),
        pytest.param({"url": "http://a:b@localhost"}, "not that of a Qdrant", "http://", id="user"),
    ],
)
def test_each_failure_is_reported_with_address_and_fix(
    options: dict[str, Any], reason: str, fix: str, opened: Opened, server: Listening
) -> None:
    """The key is in none of them."""
    with pytest.raises(DriverError) as caught:
        opened(**options)
    assert reason in caught.value.reason
    assert fix in (caught.value.hint or "")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(None, "no answer in time", id="silent"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nhello", "not a Qdrant server", id="other"),
        pytest.param(b"+PONG\r\n", "expects TLS", id="no-http"),
    ],
)
def test_server_of_another_kind_is_reported(answer: bytes | None, reason: str, opened: Opened) -> None:
    """Within the time of a health check."""
    with socket.create_server((HOST, 0)) as listener:
        threading.Thread(target=reply, args=(listener, answer), daemon=True).start()
        with pytest.raises(DriverError, match=reason):
            opened(url=f"http://{HOST}:{listener.getsockname()[1]}")


@pytest.mark.parametrize("encoding", ["", "content-encoding: gzip\r\n"])
def test_answer_above_the_size_limit_is_refused(encoding: str, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compozy.drivers.qdrant_client_collection._LONGEST_BYTES", 1_000_000)
    body = f"HTTP/1.0 200 OK\r\n{encoding}\r\n".encode() + b" " * 2_000_000
    with socket.create_server((HOST, 0)) as listener:
        threading.Thread(target=reply, args=(listener, body), daemon=True).start()
        with pytest.raises(DriverError, match="longer or in another encoding"):
            opened(url=f"http://{HOST}:{listener.getsockname()[1]}")


def test_endless_answer_is_a_timeout(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compozy.drivers.qdrant_client_collection._LONGEST_BYTES", 1 << 60)
    with socket.create_server((HOST, 0)) as listener:
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        with pytest.raises(DriverError, match="no answer in time"):
            opened(url=f"http://{HOST}:{listener.getsockname()[1]}")


def drip(listener: socket.socket) -> None:
    """Send a body without an end to each client, until it leaves."""
    with contextlib.suppress(OSError):
        while True:
            client = listener.accept()[0]
            with client, contextlib.suppress(OSError):
                if client.recv(4096):
                    client.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                    while True:
                        client.sendall(b" ")
                        time.sleep(0.01)


def reply(listener: socket.socket, answer: bytes | None) -> None:
    """Send the same answer to every request, until the listener is closed."""
    with contextlib.ExitStack() as kept, contextlib.suppress(OSError):
        while True:
            client = kept.enter_context(listener.accept()[0])
            if answer is not None and client.recv(4096):
                client.sendall(answer)
                client.shutdown(socket.SHUT_RDWR)


def test_another_dimension_or_metric_is_refused(opened: Opened) -> None:
    opened(collection="small", dimension=3)
    for options in ({"dimension": 4}, {"metric": "l2"}):
        with pytest.raises(DriverError, match="collection small has the"):
            opened(collection="small", **options)


def test_collection_of_another_process_is_found(opened: Opened) -> None:
    first, second = opened(collection="shared"), opened(collection="shared")
    assert (first.search([1, 2, 3, 4]), first.count(), first.delete(["r000"]), list(first.export())) == ([], 0, 0, [])
    second.upsert(records(2))
    assert first.count() == 2


def test_preflight_names_unresponsive_server(started: Starting) -> None:
    port = free_port()
    driver = QdrantServerDriver(name="docs", host=HOST, port=port)
    checks = list(driver.preflight(started.context()))
    assert [(check.id, check.status) for check in checks] == [("reach", "fail")]
    assert f"{HOST}:{port}" in checks[0].message
    assert checks[0].fix


def test_missing_client_is_named_with_its_extra(started: Starting, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is an extra: its dependencies would take a fifth of the time of every start."""
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    driver = QdrantServerDriver(name="docs")
    with pytest.raises(DriverError, match=r"pip install 'compozy\[qdrant\]'"):
        driver.start(started.context())
