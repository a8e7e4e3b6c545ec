"""Clients that send half a request, read no answer or open many connections do not keep others out."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.server.conftest import Site, serve
from tests.support.polling import eventually
from tests.workflows.bench import Bench

from compozy.server.limits import Limits, limits_for

WAIT_S = 30.0
LONG_S = 3600.0
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
RUN = "/api/v0/workflows/greet/executions"
NAP = {"id": "nap", "tasks": [{"id": "nap", "type": "aggregate", "sleep": "1000h", "output": 1}]}


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    """Close every socket at the end of the test."""
    with ExitStack() as opened:
        yield opened


def connect(site: Site, sockets: ExitStack, sent: bytes = b"") -> socket.socket:
    """Open a connection and send `sent`."""
    client = sockets.enter_context(socket.create_connection(("127.0.0.1", site.server.port), timeout=WAIT_S))
    client.sendall(sent)
    return client


def received(client: socket.socket) -> bytes:
    """Return everything until the server closes the connection."""
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def document(answer: bytes) -> tuple[int, str]:
    """Return the status and the stable id of a problem document."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    return int(head.split()[1]), json.loads(body)["id"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHo", 408, id="half-head"),
        pytest.param(b"", 408, id="silent"),
        pytest.param(HEALTH + b"GET", 200, id="half-second-head"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{", 200, id="unread-body"),
    ],
)
def test_connection_without_whole_request_is_closed(bench: Bench, sockets: ExitStack, sent: bytes, status: int) -> None:
    client = connect(serve(bench, limits=Limits(head_s=0.2, linger_s=0.2)), sockets, sent)

    assert received(client).startswith(b"HTTP/1.1 %d " % status)


def test_trickling_bytes_do_not_extend_the_deadline(bench: Bench, sockets: ExitStack) -> None:
    client = connect(serve(bench, limits=Limits(head_s=0.3, linger_s=0.2)), sockets, b"GET / HTTP/1.1\r\nHost: a\r\n")
    client.settimeout(0.02)

    def closed() -> bool:
        try:
            client.sendall(b"a: b\r\n")
            return client.recv(1024) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    eventually(closed, "the end of the connection")


def test_unread_answer_closes_the_connection(bench: Bench, sockets: ExitStack) -> None:
    site = serve(bench, limits=Limits(write_s=0.2, head_s=LONG_S))
    assert site.server._socket is not None
    site.server._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # taken over by accepted connections
    client = sockets.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", site.server.port))
    client.sendall(f"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {site.key}\r\n\r\n".encode() * 100)
    assert client.recv(15) == b"HTTP/1.1 200 OK"

    eventually(lambda: not site.server.connections, "the end of the connection")


def test_silent_connections_do_not_keep_others_out(bench: Bench, sockets: ExitStack) -> None:
    site = serve(bench, limits=Limits(connections=10, requests=7, head_s=LONG_S))
    silent = [connect(site, sockets, b"GET / HT") for _ in range(40)]

    assert site.get("/healthz").status == 200
    assert site.server.connections <= 10
    assert received(silent[0]) == b""


def test_waiting_requests_leave_room_for_health(bench: Bench, sockets: ExitStack) -> None:
    site = serve(bench, limits=Limits(connections=10, requests=3, head_s=LONG_S))
    name = site.post("/api/v0/workflows/nap/executions", {"definition": NAP}).json["execution_id"]
    for _ in range(3):
        path = f"/api/v0/executions/{name}?wait=600s"
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {site.key}\r\n\r\n"
        connect(site, sockets, head.encode())

    eventually(lambda: site.get("/api/v0/executions").status == 503, "the bound")
    refused = site.get("/api/v0/executions")

    assert (refused.json["id"], refused.headers["retry-after"]) == ("http.busy", "2")
    assert site.get("/healthz").status == site.get("/readyz").status == 200


@pytest.mark.parametrize(
    ("sent", "status", "problem"),
    [
        pytest.param(b"\x16\x03\x01\x00\xa5\r\n\r\n", 400, "http.malformed", id="tls"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, "http.malformed", id="no-host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "http.malformed", id="two-hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nA: " + b"a" * 100_000, 400, "http.malformed", id="long-head"),
        pytest.param(
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" % RUN.encode(),
            400, "http.malformed", id="bad-chunk",
        ),
        pytest.param(
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % RUN.encode() + HEALTH,
            400, "http.framing", id="two-framings",
        ),
    ],
)  # fmt: skip
def test_malformed_requests_close_the_connection(
    site: Site, sockets: ExitStack, sent: bytes, status: int, problem: str
) -> None:
    answer = received(connect(site, sockets, sent))

    assert document(answer) == (status, problem)
    assert b"connection: close" in answer.lower()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert site.get("/api/v0/executions").json["executions"] == []


def test_every_answer_carries_security_headers(site: Site, sockets: ExitStack) -> None:
    for path in ("/healthz", "/docs", "/nowhere", "/api/v0/executions?limit=0"):
        headers = site.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    malformed = received(connect(site, sockets, b"GET / HTTP/1.1\r\n\r\n")).lower()
    assert b"x-content-type-options: nosniff" in malformed


@pytest.mark.parametrize(
    ("open_files", "connections"),
    [(64, 8), (256, 64), (1024, 448), (8192, 1000), (resource.RLIM_INFINITY, 1000)],
)
def test_connections_leave_open_files_to_stores_and_children(open_files: int, connections: int) -> None:
    limits = limits_for(open_files)

    assert limits.connections == connections
    assert limits.requests < connections


def test_soft_limit_of_open_files_is_raised() -> None:
    """A limit belongs to a process, so another one is asked."""
    code = (
        "import resource as r; from compozy.server.limits import raise_file_limit as f;"
        "r.setrlimit(r.RLIMIT_NOFILE, (64, 512)); f(); print(*r.getrlimit(r.RLIMIT_NOFILE))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "512 512\n"
    )
