"""The drivers of something external against real servers: the shared suite, each driver in each way to reach it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from compozy.drivers.ports import free_port
from compozy.drivers.postgres import PostgresDriver
from compozy.drivers.redis_external import RedisExternalDriver
from compozy.drivers.temporal_remote import TemporalRemoteDriver
from compozy.settings.keyring import random_key
from compozy.testing.postgres_server import PostgresServer
from compozy.testing.servers import RedisServer, TemporalServer

from .suite import DriverSuite, HangSuite, OutageSuite, Row, Subject, counted, described, remembered
from .tls import Authority, TlsProxy, tls_proxy

pytestmark = pytest.mark.distributed

HOST = "127.0.0.1"
CANARY = "canary-5f3a/@:#%x"


def processes(pid: int | None) -> list[psutil.Process]:
    server = psutil.Process(pid)
    return [server, *server.children(recursive=True)]


def _signal_all(server: PostgresServer | RedisServer | TemporalServer, act: Callable[[psutil.Process], None]) -> None:
    """Reach every process of a server; one that ends meanwhile, such as a connection's, is no failure."""
    for process in processes(server.pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            act(process)


def freezing(server: PostgresServer | RedisServer | TemporalServer) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return functions that suspend and resume a server."""

    def freeze() -> None:
        _signal_all(server, psutil.Process.suspend)

    def thaw() -> None:
        _signal_all(server, psutil.Process.resume)

    return freeze, thaw


@contextmanager
def proxied(
    request: pytest.FixtureRequest, port: int, *, mutual: bool = False, asks: bool = False
) -> Iterator[TlsProxy]:
    """End TLS in front of a server for the length of a test."""
    authority: Authority = request.getfixturevalue("authority")
    with tls_proxy(port, authority.server_context(client_certificate=mutual), asks_first=asks) as proxy:
        yield proxy


def postgres_url(server: PostgresServer, port: int, *, password: str | None = None, more: str = "") -> str:
    return f"postgresql://compozy:{quote(password or server.password, safe='')}@{HOST}:{port}/postgres{more}"


def postgres_by_url(request: pytest.FixtureRequest) -> Subject:
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return Subject(
        make=partial(PostgresDriver, url=server.url),
        works=counted,
        expected=42,
        failing=(
            partial(PostgresDriver, url=postgres_url(server, server.port, password=CANARY)),
            partial(PostgresDriver, url=postgres_url(server, free_port())),
            partial(PostgresDriver, url=f"postgresql://compozy:{CANARY}@{HOST}:{server.port}/postgres"),
            partial(PostgresDriver, url=f"mysql://compozy:{CANARY}@{HOST}/postgres"),
        ),
        secrets=(server.password, CANARY, quote(CANARY, safe=""), "canary"),
        outage=(server.stop, server.start),
        freeze=freezing(server),
    )


def postgres_by_parts(request: pytest.FixtureRequest) -> Subject:
    server: PostgresServer = request.getfixturevalue("postgres_server")
    parts: dict[str, Any] = {"host": HOST, "port": server.port, "password": server.password, "name": "postgres"}
    make = partial(PostgresDriver, **parts)
    return Subject(
        make=make,
        works=counted,
        expected=42,
        failing=(
            partial(make, password=CANARY),
            partial(make, name="nowhere"),
            partial(make, user="unknown"),
            partial(make, port=free_port()),
            partial(make, host="nowhere.invalid"),
            partial(make, ssl_mode="require"),
        ),
        secrets=(server.password, CANARY),
        outage=(server.kill, server.start),
        freeze=freezing(server),
    )


def redis_by_url(request: pytest.FixtureRequest) -> Subject:
    server: RedisServer = request.getfixturevalue("redis_server")
    return Subject(
        make=partial(RedisExternalDriver, url=server.url_of(3)),
        works=remembered,
        expected=42,
        failing=(
            partial(RedisExternalDriver, url=f"redis://:{quote(CANARY, safe='')}@{server.address}/0"),
            partial(RedisExternalDriver, url=f"redis://:{CANARY}@{server.address}/0"),
            partial(RedisExternalDriver, url=f"{server.url_of(0)}?canary={CANARY}"),
            partial(RedisExternalDriver, url=f"redis://:{quote(CANARY, safe='')}@{HOST}:{free_port()}/0"),
            partial(RedisExternalDriver, url=f"http://:{CANARY}@{server.address}/0"),
        ),
        secrets=(server.password, CANARY, quote(CANARY, safe=""), "canary"),
        outage=(server.stop, server.start),
        freeze=freezing(server),
    )


def redis_by_parts(request: pytest.FixtureRequest) -> Subject:
    server: RedisServer = request.getfixturevalue("redis_server")
    make = partial(RedisExternalDriver, host=HOST, port=server.port, password=server.password, db=4)
    return Subject(
        make=make,
        works=remembered,
        expected=42,
        failing=(
            partial(make, password=CANARY),
            partial(make, password=None),
            partial(make, db=99),
            partial(make, port=free_port()),
            partial(make, host="nowhere.invalid"),
        ),
        secrets=(server.password, CANARY),
        outage=(server.kill, server.start),
        freeze=freezing(server),
    )


def temporal_in_plain(request: pytest.FixtureRequest) -> Subject:
    server: TemporalServer = request.getfixturevalue("temporal_server")
    make = partial(TemporalRemoteDriver, encryption_key=random_key(), host_port=server.address)
    return Subject(
        make=make,
        works=described,
        expected="default",
        failing=(
            partial(make, namespace="nowhere"),
            partial(make, api_key=CANARY),
            partial(make, host_port=f"{HOST}:{free_port()}", api_key=CANARY),
            partial(make, host_port="nowhere.invalid:7233"),
            partial(make, host_port="nowhere"),
        ),
        secrets=(CANARY, "canary"),
        outage=(server.kill, server.start),
        freeze=freezing(server),
    )


def postgres_with_tls(request: pytest.FixtureRequest) -> Subject:
    server: PostgresServer = request.getfixturevalue("postgres_server")
    authority: Authority = request.getfixturevalue("authority")
    proxy: TlsProxy = request.getfixturevalue("postgres_proxy")
    by_url = partial(postgres_url, server, proxy.port)
    return Subject(
        make=partial(PostgresDriver, url=by_url(more=f"?sslmode=verify-full&sslrootcert={authority.ca_file}")),
        works=counted,
        expected=42,
        failing=(
            partial(PostgresDriver, url=by_url(more=f"?sslmode=verify-ca&sslrootcert={authority.stranger}")),
            partial(PostgresDriver, url=by_url(more="?sslmode=verify-full&sslrootcert=/nowhere.pem")),
            partial(PostgresDriver, url=by_url(password=CANARY), ssl_mode="require"),
        ),
        secrets=(server.password, CANARY, quote(CANARY, safe="")),
    )


def redis_with_tls(request: pytest.FixtureRequest) -> Subject:
    server: RedisServer = request.getfixturevalue("redis_server")
    authority: Authority = request.getfixturevalue("authority")
    proxy: TlsProxy = request.getfixturevalue("redis_proxy")
    url = f"redis://:{server.password}@{HOST}:{proxy.port}/5"
    return Subject(
        make=partial(RedisExternalDriver, url=f"{url}?ssl_ca_certs={authority.ca_file}", tls=True),
        works=remembered,
        expected=42,
        failing=(
            partial(RedisExternalDriver, url=f"{url}?ssl_ca_certs={authority.stranger}", tls=True),
            partial(RedisExternalDriver, url=f"{url}?ssl_ca_certs=/nowhere.pem", tls=True),
            partial(RedisExternalDriver, url=url),
        ),
        secrets=(server.password,),
    )


def temporal_with_tls(request: pytest.FixtureRequest) -> Subject:
    authority: Authority = request.getfixturevalue("authority")
    proxy: TlsProxy = request.getfixturevalue("temporal_proxy")
    make = partial(TemporalRemoteDriver, encryption_key=random_key(), host_port=f"{HOST}:{proxy.port}")
    return Subject(
        make=partial(make, api_key=CANARY, tls={"ca_file": authority.ca_file, "server_name": "temporal.test"}),
        works=described,
        expected="default",
        failing=(
            partial(make, tls={"ca_file": authority.stranger}),
            partial(make, tls={"ca_file": authority.ca_file, "server_name": "other.test"}),
            partial(make, tls={"enabled": False, "ca_file": authority.ca_file}),
            partial(make, tls={"ca_file": "/nowhere.pem"}),
        ),
        secrets=(CANARY, "canary"),
    )


def temporal_with_certificates(request: pytest.FixtureRequest) -> Subject:
    authority: Authority = request.getfixturevalue("authority")
    proxy: TlsProxy = request.getfixturevalue("temporal_mutual_proxy")
    make = partial(TemporalRemoteDriver, encryption_key=random_key(), host_port=f"{HOST}:{proxy.port}")
    pair = {"cert_file": authority.cert_file, "key_file": authority.key_file}
    return Subject(
        make=partial(make, tls={"ca_file": authority.ca_file, **pair}),
        works=described,
        expected="default",
        failing=(
            partial(make, tls={"ca_file": authority.ca_file}),
            partial(make, tls={"ca_file": authority.ca_file, "cert_file": authority.cert_file}),
            partial(make, tls={"ca_file": authority.ca_file, **pair, "key_file": __file__}),
        ),
    )


@pytest.fixture
def postgres_proxy(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[TlsProxy]:
    with proxied(request, postgres_server.port, asks=True) as proxy:
        yield proxy


@pytest.fixture
def redis_proxy(request: pytest.FixtureRequest, redis_server: RedisServer) -> Iterator[TlsProxy]:
    with proxied(request, redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def temporal_proxy(request: pytest.FixtureRequest, temporal_server: TemporalServer) -> Iterator[TlsProxy]:
    with proxied(request, temporal_server.port) as proxy:
        yield proxy


@pytest.fixture
def temporal_mutual_proxy(request: pytest.FixtureRequest, temporal_server: TemporalServer) -> Iterator[TlsProxy]:
    with proxied(request, temporal_server.port, mutual=True) as proxy:
        yield proxy


PLAIN = (
    Row("postgres-url", postgres_by_url),
    Row("postgres-parts", postgres_by_parts),
    Row("redis-external-url", redis_by_url),
    Row("redis-external-parts", redis_by_parts),
    Row("temporal-remote", temporal_in_plain),
)
ENCRYPTED = (
    Row("postgres-tls", postgres_with_tls),
    Row("redis-external-tls", redis_with_tls),
    Row("temporal-remote-tls", temporal_with_tls),
    Row("temporal-remote-mtls", temporal_with_certificates),
)


class TestExternalDrivers(DriverSuite):
    """Drivers that speak to the server itself."""

    rows = PLAIN


class TestOutages(OutageSuite):
    """Servers that are shut down or killed, and come back."""

    rows = PLAIN


class TestHangs(HangSuite):
    """Servers that stand still."""

    rows = tuple(row for row in PLAIN if "parts" not in row.id)


class TestExternalDriversWithTls(DriverSuite):
    """Drivers that speak to the server through TLS."""

    rows = ENCRYPTED
