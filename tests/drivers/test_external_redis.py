"""External Redis: every kind of failure, and the precedence of URL and parts."""

from __future__ import annotations

import contextlib
import socket
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from compozy.drivers.ports import free_port
from compozy.drivers.redis_external import RedisExternalDriver
from compozy.errors import DriverError
from compozy.testing.servers import RedisServer

from .starting import Starting
from .tls import HOST, Authority, TlsProxy, tls_proxy

CLOSED = free_port()
CANARY = "-".join(("canary", "5f3a"))  # not in the source as it is, because traces show source lines


@pytest.fixture
def encrypted(redis_server: RedisServer, authority: Authority) -> Iterator[TlsProxy]:
    with tls_proxy(redis_server.port, authority.server_context()) as proxy:
        yield proxy


def start(started: Starting, **options: Any) -> RedisExternalDriver:
    driver = RedisExternalDriver(**options)
    driver.start(started.context())
    return driver


@pytest.mark.parametrize(
    ("changes", "reason", "fix"),
    [
        pytest.param({"password": "wrong"}, "the password was refused", "redis.password", id="password"),
        pytest.param({"password": None}, "asks for a password", "redis.password", id="no-password"),
        pytest.param({"db": 99}, "the database number is out of range", "redis.db", id="database"),
        pytest.param({"port": CLOSED}, "connection refused", "redis.port", id="refused"),
        pytest.param({"host": "nowhere.invalid"}, '"nowhere.invalid" is not known', "redis.host", id="host"),
        pytest.param({"tls": True}, "no answer", "redis.tls", id="tls"),
    ],
)
def test_each_failure_is_reported_with_address_and_fix(
    redis_server: RedisServer, started: Starting, changes: dict[str, Any], reason: str, fix: str
) -> None:
    """Host, port and number are named, and what to change."""
    parts = {"host": HOST, "port": redis_server.port, "password": redis_server.password, "db": 0, **changes}
    with pytest.raises(DriverError) as caught:
        start(started, **parts)
    assert f"{parts['host']}:{parts['port']}/{parts['db']}" in caught.value.reason
    assert reason in caught.value.reason
    assert fix in (caught.value.hint or "")


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://:hush@localhost/0", id="other-scheme"),
        pytest.param("redis://:hush@localhost:port/0", id="no-number"),
        pytest.param("redis://:hu/sh@localhost/0", id="slash-in-password"),
        pytest.param("redis://:12/sh@localhost/0", id="number-and-slash-in-password"),
        pytest.param("redis://:12#sh@localhost/0", id="hash-in-password"),
        pytest.param("redis://:hush@localhost/zero", id="database-is-no-number"),
        pytest.param("redis://:hush@localhost/0?secret=hush", id="unknown-option"),
        pytest.param("redis://:hush@localhost/0?socket_timeout=hush", id="bad-option"),
        pytest.param("rediss://:hush@localhost/0?ssl_cert_reqs=CERT_NONE", id="constant-of-ssl"),
        pytest.param("redis://:hush@localhost/0?protocol=7", id="bad-protocol"),
        pytest.param("redis://:hush@localhost/0?credential_provider=x", id="credential-provider"),
        pytest.param("redis://:hush@localhost/0?cache_config=x", id="cache-configuration"),
    ],
)
def test_invalid_url_is_not_quoted(started: Starting, url: str) -> None:
    """Its text may be a piece of the password."""
    with pytest.raises(DriverError) as caught:
        start(started, url=url)
    assert caught.value.reason.startswith("redis.url is not the URL of a Redis")
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "changes", [pytest.param({"password": "\ud800"}, id="surrogate"), pytest.param({}, id="encoding")]
)
def test_error_outside_the_librarys_tree_is_classified(
    redis_server: RedisServer, started: Starting, changes: dict[str, Any]
) -> None:
    """Errors of Python's codecs reach us through the library."""
    url = {} if changes else {"url": f"{redis_server.url}?encoding=nope"}
    with pytest.raises(DriverError) as caught:
        start(started, host=HOST, port=redis_server.port, **url, **changes)
    assert "options in redis.url" in str(caught.value.hint)


def test_separate_host_takes_precedence_over_a_socket(redis_server: RedisServer, started: Starting) -> None:
    """And a socket that is given as the host of its own URL has no port."""
    url, password = "unix:///nowhere.sock?db=2", redis_server.password
    driver = start(started, url=url, host=HOST, port=redis_server.port, password=password, db=2, tls=False)
    assert driver.handle.client_info()["db"] == 2
    driver.stop(0)
    with pytest.raises(DriverError, match="/nowhere.sock/2: "):
        start(started, url=url, host="/nowhere.sock", port=6379, password=password, db=2, tls=False)


@pytest.mark.parametrize(
    ("path", "options", "database"),
    [
        pytest.param("/2", {"db": 5}, 5, id="part-wins"),
        pytest.param("/2", {}, 2, id="url"),
        pytest.param("", {"db": 5}, 5, id="setting-fills"),
        pytest.param("/", {}, 0, id="default"),
    ],
)
def test_separate_part_takes_precedence_over_the_url(
    redis_server: RedisServer, started: Starting, path: str, options: dict[str, int], database: int
) -> None:
    """The password that the server refuses is replaced as well."""
    url = f"redis://:refused@{redis_server.address}{path}"
    driver = start(started, url=url, password=redis_server.password, **options)
    assert driver.describe().details["database"] == database
    assert driver.handle.client_info()["db"] == database
    driver.stop(0)


def test_the_handle_works_again_after_a_restart(redis_server: RedisServer, started: Starting) -> None:
    """The first command after the restart finds the data that was acknowledged before."""
    driver = start(started, url=redis_server.url)
    driver.handle.set("kept", "yes")
    redis_server.kill()
    redis_server.start()
    assert driver.handle.get("kept") == b"yes"
    driver.stop(0)


def test_the_tls_setting_makes_a_plain_url_encrypted(
    redis_server: RedisServer, encrypted: TlsProxy, authority: Authority, started: Starting
) -> None:
    """`redis.tls: true` and `redis://` mean the same as `rediss://`."""
    rest = f":{redis_server.password}@{HOST}:{encrypted.port}/0?ssl_ca_certs={authority.ca_file}"
    for options in ({"url": f"redis://{rest}", "tls": True}, {"url": f"rediss://{rest}"}):
        driver = start(started, **options)
        assert driver.describe().details["tls"] is True
        driver.stop(0)


def test_a_certificate_of_a_stranger_is_refused(encrypted: TlsProxy, authority: Authority, started: Starting) -> None:
    """Encryption without knowing to whom is none."""
    with pytest.raises(DriverError, match="certificate could not be verified"):
        start(started, url=f"rediss://{HOST}:{encrypted.port}/0?ssl_ca_certs={authority.stranger}")


def test_unreadable_certificate_file_is_named(redis_server: RedisServer, started: Starting) -> None:
    """The error names the file, not the server."""
    with pytest.raises(DriverError, match=r"/nowhere\.pem \(ssl_ca_certs in redis\.url\) cannot be read"):
        start(started, url=f"rediss://{redis_server.address}/0?ssl_ca_certs=/nowhere.pem")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `{}`", id="old-server"),
        pytest.param("HTTP/1.1 400 Bad Request: {}", id="no-redis"),
        pytest.param("-ERR strange {}", id="anything"),
    ],
)
def test_password_in_a_server_error_is_not_quoted(started: Starting, answer: str) -> None:
    """Neither the error nor what led to it shows the password."""

    def serve() -> None:
        while True:
            with contextlib.suppress(OSError), listener.accept()[0] as client:
                while client.recv(4096):
                    client.sendall(answer.format(CANARY).encode() + b"\r\n")
            if listener.fileno() < 0:
                return

    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with pytest.raises(DriverError) as caught:
                start(started, host=HOST, port=port, password=CANARY)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join()
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.hint
