"""Fetching of documents: which addresses are reached, and what an answer may be."""

from __future__ import annotations

import asyncio
import gzip
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import httpx2
import pytest
import trustme
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from tests.support.web_server import HOST, WebServer, web_server

from compozy.knowledge.bases import ReadLimits
from compozy.knowledge.documents import UnreadableDocument
from compozy.knowledge.fetching import Allowed, fetch, redirect_target

LOOPBACK = ReadLimits(fetch_allow=("127.0.0.0/8",))


def resolver(*answers: Sequence[str]) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    """Return a name server that gives one of `answers` after the other."""
    following = itertools.chain(answers, itertools.repeat(()))

    async def resolve(host: str, port: int) -> Sequence[str]:
        return next(following)

    return resolve


def refusal(address: str, limits: ReadLimits = LOOPBACK, *answers: Sequence[str]) -> str:
    """Return why an address is not fetched."""
    with pytest.raises(UnreadableDocument) as caught:
        fetch(address, limits, resolver(*answers) if answers else None)
    return caught.value.reason


def test_answer_has_content_media_type_and_encoding(web: WebServer) -> None:
    web.answers["/a"] = Response("Grüße".encode("latin-1"), headers={"content-type": "Text/HTML; charset=latin-1"})
    found = fetch(web.url("/a"), LOOPBACK)
    assert (found.content, found.media_type, found.encoding) == ("Grüße".encode("latin-1"), "text/html", "latin-1")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:a00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:0:0:0:0:f5ff:fffe",
    ],
)  # fmt: skip
def test_private_address_is_refused(address: str) -> None:
    """The last ones reach 127.0.0.1 or 10.0.0.1 through a gateway."""
    assert "is not public" in refusal("http://docs.example/", ReadLimits(), [address])
    host = f"[{address}]" if ":" in address else address
    assert "is not public" in refusal(f"http://{host}/", ReadLimits(), [address])


def test_host_is_refused_if_one_of_its_addresses_is_not_public() -> None:
    assert "10.0.0.1" in refusal("http://docs.example/", ReadLimits(), ["93.184.215.14", "10.0.0.1"])


@pytest.mark.parametrize("spelled", ["0x7f000001", "2130706433", "127.1", "localhost"])
def test_loopback_is_refused_however_it_is_spelled(spelled: str, web: WebServer) -> None:
    assert "is not public" in refusal(f"http://{spelled}:{web.port}/", ReadLimits())
    assert not web.requests


@pytest.mark.parametrize("allowed", ["127.0.0.0/8", "127.0.0.1", "docs.example", "DOCS.example:{port}"])
def test_named_private_address_is_fetched(allowed: str, web: WebServer) -> None:
    web.answers["/"] = Response("text", media_type="text/plain")
    limits = ReadLimits(fetch_allow=(allowed.format(port=web.port),))
    assert fetch(web.url(host="docs.example"), limits, resolver([HOST])).content == b"text"


@pytest.mark.parametrize("named", ["docs.example:1", "example", "ocs.example", "10.0.0.0/8", "127.0.0.2"])
def test_other_name_does_not_allow_an_address(named: str, web: WebServer) -> None:
    assert "is not public" in refusal(web.url(host="docs.example"), ReadLimits(fetch_allow=(named,)), [HOST])
    assert not web.requests


def test_mapped_ipv6_address_counts_as_ipv4() -> None:
    written = httpx2.URL("http://docs.example/")
    for address, allowed in (("::ffff:127.0.0.1", "127.0.0.0/8"), ("::ffff:93.184.215.14", "other.example")):
        found = Allowed((allowed,), written).addresses(written, resolver([address]))
        assert asyncio.run(found) == [address]


def test_host_is_resolved_once_and_the_checked_address_is_reached(web: WebServer) -> None:
    """A second answer of the name server, another address, would be the one of an attack by rebinding."""
    web.answers["/"] = Response("text", media_type="text/plain")
    fetch(web.url(host="docs.example"), LOOPBACK, resolver([HOST], ["10.0.0.1"]))
    assert web.requests[0].headers["host"] == f"docs.example:{web.port}"


def test_connection_uses_the_next_address_if_one_is_refused(web: WebServer) -> None:
    web.answers["/"] = Response("text", media_type="text/plain")
    assert fetch(web.url(host="docs.example"), LOOPBACK, resolver(["127.0.0.9", HOST])).content == b"text"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        pytest.param("http://169.254.169.254/latest/meta-data", "169.254.169.254", id="metadata"),
        pytest.param("http://10.0.0.1/", "does not allow the host 10.0.0.1", id="private"),
        pytest.param("http://other.example/", "does not allow the host other.example", id="another-host"),
        pytest.param("file:///etc/passwd", 'the scheme "file" is not fetched', id="file"),
        pytest.param("gopher://127.0.0.1/", 'the scheme "gopher" is not fetched', id="gopher"),
        pytest.param("/loop", "more than 5 redirects", id="loop"),
    ],
)
def test_redirect_is_checked_like_the_address(target: str, reason: str, web: WebServer) -> None:
    web.answers["/loop"] = RedirectResponse("/loop")
    web.answers["/"] = RedirectResponse(target)
    found = {"docs.example": [HOST], "other.example": ["93.184.215.14"]}

    async def resolve(host: str, port: int) -> Sequence[str]:
        return found.get(host, [host])

    limits = ReadLimits(fetch_allow=(f"docs.example:{web.port}",))
    with pytest.raises(UnreadableDocument) as caught:
        fetch(web.url(host="docs.example"), limits, resolve)
    assert reason in caught.value.reason


def test_redirect_without_tls_is_refused() -> None:
    secure = httpx2.URL("https://docs.example/a")
    assert str(redirect_target(secure, "b")) == "https://docs.example/b"
    with pytest.raises(UnreadableDocument, match="from https to http"):
        redirect_target(secure, "http://docs.example/b")


def test_redirect_to_an_allowed_host_is_followed_without_credentials(web: WebServer) -> None:
    web.answers["/"] = lambda request: RedirectResponse(web.url("/moved", host="other.example"))
    web.answers["/moved"] = Response("text", media_type="text/plain")
    address = f"http://ada:secret@docs.example:{web.port}/"
    assert fetch(address, LOOPBACK, resolver([HOST], [HOST])).content == b"text"
    assert ["authorization" in request.headers for request in web.requests] == [True, False]


def test_unknown_host_is_refused() -> None:
    assert "cannot be resolved" in refusal("http://name.invalid/")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        pytest.param("ftp://docs.example/", 'the scheme "ftp"', id="scheme"),
        pytest.param("http:///path", "the scheme", id="no-host"),
        pytest.param("http://[::1", "malformed URL", id="malformed"),
        pytest.param(f"http://{'a' * 70}.example/", "cannot be resolved", id="long-label"),
        pytest.param("http://127.0.0.1:1/", "connection failed", id="closed-port"),
    ],
)
def test_unreachable_address_is_refused(address: str, reason: str) -> None:
    assert reason in refusal(address)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(Response(status_code=403), "HTTP 403", id="refused"),
        pytest.param(Response("x" * 1001), "larger than 1000 bytes", id="large"),
        pytest.param(
            Response(gzip.compress(b"x" * 10_000), headers={"content-encoding": "gzip"}), "compresses", id="compressed"
        ),
    ],
)
def test_unusable_answer_is_refused(answer: Response, reason: str, web: WebServer) -> None:
    web.answers["/"] = answer
    assert reason in refusal(web.url(), ReadLimits(size_bytes=1000, fetch_allow=(HOST,)))


def test_size_is_limited_also_without_a_stated_length(web: WebServer) -> None:
    web.answers["/"] = lambda request: StreamingResponse(itertools.repeat(b"x" * 100), media_type="text/plain")
    assert "larger than 1000 bytes" in refusal(web.url(), ReadLimits(size_bytes=1000, fetch_allow=(HOST,)))


def test_time_is_limited_as_a_whole(web: WebServer) -> None:
    """Each part of the answer comes in time, and the answer never ends."""

    async def drops() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.01)

    web.answers["/"] = lambda request: StreamingResponse(drops(), media_type="text/plain")
    assert "timeout" in refusal(web.url(), ReadLimits(fetch_timeout_s=0.3, fetch_allow=(HOST,)))


def test_request_asks_for_no_compression_and_uses_no_proxy(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    web.answers["/"] = Response("text", media_type="text/plain")
    fetch(web.url("/#part"), LOOPBACK)
    seen: Request = web.requests[0]
    assert (seen.headers["accept-encoding"], seen.headers["user-agent"]) == ("identity", "compozy")


def test_certificate_of_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    trustme.CA().issue_cert("docs.example").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "cert.pem"))
    with web_server(ssl_certfile=str(tmp_path / "cert.pem")) as server:
        assert "certificate" in refusal(f"https://docs.example:{server.port}/", LOOPBACK, [HOST])
