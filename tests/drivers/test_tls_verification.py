"""TLS verification of the external drivers: a server that cannot prove its identity gets no credentials."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from compozy.drivers.postgres import PostgresDriver
from compozy.drivers.protocol import Driver
from compozy.drivers.redis_external import RedisExternalDriver
from compozy.drivers.temporal_remote import TemporalRemoteDriver
from compozy.errors import DriverError
from compozy.settings.keyring import random_key
from compozy.testing.postgres_server import PostgresServer
from compozy.testing.servers import RedisServer, TemporalServer

from .starting import Starting
from .tls import HOST, Authority, tls_proxy

pytestmark = pytest.mark.distributed

PAST = datetime(2020, 1, 1, tzinfo=UTC)
Connect = Callable[[int, str], Driver]


@pytest.fixture(params=["postgres", "redis", "temporal"])
def server(request: pytest.FixtureRequest) -> tuple[int, Connect]:
    """Return a server's port, and a function from port and CA file to a driver that demands a verified server."""
    if request.param == "postgres":
        postgres: PostgresServer = request.getfixturevalue("postgres_server")
        url = f"postgresql://compozy:{postgres.password}@{HOST}:{{port}}/postgres?sslrootcert={{ca}}"
        return postgres.port, lambda port, ca: PostgresDriver(url=url.format(port=port, ca=ca), ssl_mode="verify-full")
    if request.param == "redis":
        redis: RedisServer = request.getfixturevalue("redis_server")
        address = f"rediss://:{redis.password}@{HOST}:{{port}}/0?ssl_ca_certs={{ca}}"
        return redis.port, lambda port, ca: RedisExternalDriver(url=address.format(port=port, ca=ca))
    temporal: TemporalServer = request.getfixturevalue("temporal_server")
    return temporal.port, lambda port, ca: TemporalRemoteDriver(
        encryption_key=random_key(), host_port=f"{HOST}:{port}", api_key="secret", tls={"ca_file": ca}
    )


def context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.set_alpn_protocols(["h2"])
    certificate.configure_cert(made)
    return made


def test_trusted_certificate_is_accepted(server: tuple[int, Connect], authority: Authority, started: Starting) -> None:
    """The same connection works when the certificate is right, so that the refusals below mean something."""
    target, connect = server
    with tls_proxy(target, authority.server_context(), asks_first=asks_first(connect)) as proxy:
        driver = connect(proxy.port, authority.ca_file)
        driver.start(started.context())
        assert driver.describe().details["tls"] is True
        driver.stop(0)
        assert proxy.seen


@pytest.mark.parametrize("fault", ["unknown authority", "other name", "expired", "self-signed"])
def test_unverified_server_gets_no_credentials(
    server: tuple[int, Connect], authority: Authority, started: Starting, fault: str
) -> None:
    """The handshake fails before the driver has sent anything."""
    target, connect = server
    issuer, ca_file = authority.issuer, authority.ca_file
    certificates = {
        "unknown authority": lambda: issuer.issue_cert(HOST),
        "other name": lambda: issuer.issue_cert("other.test"),
        "expired": lambda: issuer.issue_cert(HOST, not_before=PAST, not_after=PAST + timedelta(days=1)),
        "self-signed": lambda: trustme.CA().issue_cert(HOST),
    }
    ca_file = authority.stranger if fault == "unknown authority" else ca_file
    served = context(certificates[fault]())
    with tls_proxy(target, served, asks_first=asks_first(connect)) as proxy:
        with pytest.raises(DriverError) as caught:
            connect(proxy.port, ca_file).start(started.context())
        assert bytes(proxy.seen) == b""
    assert "certificate could not be verified" in caught.value.reason


def asks_first(connect: Connect) -> bool:
    """Return True if the protocol begins with PostgreSQL's TLS request."""
    return isinstance(connect(1, "x"), PostgresDriver)
