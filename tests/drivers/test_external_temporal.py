"""External Temporal: namespace, certificates, API key, and when TLS is used."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compozy.drivers.child import Child
from compozy.drivers.ports import free_port
from compozy.drivers.temporal_remote import TemporalRemoteDriver
from compozy.errors import DriverError
from compozy.settings.keyring import random_key
from compozy.testing.servers import TemporalServer

from .starting import Starting
from .tls import HOST, Authority, tls_proxy

OTHER_HOST = "127.0.0.2"
KEY = "0" * 64
KEYS = random_key()
# In HPACK's Huffman code (RFC 7541, appendix B) the character 0 is five zero bits.
KEY_ON_THE_WIRE = b"\0" * 30


def failure(started: Starting, **options: Any) -> DriverError:
    with pytest.raises(DriverError) as caught:
        TemporalRemoteDriver(encryption_key=KEYS, **options).start(started.context())
    return caught.value


def begins(driver: TemporalRemoteDriver, started: Starting) -> bool:
    """Return True if the driver could start; a server has no namespace yet when it begins to listen."""
    with contextlib.suppress(DriverError):
        driver.start(started.context())
    return driver.handle is not None


def test_start_without_an_encryption_key_is_refused_before_it_connects(started: Starting) -> None:
    with pytest.raises(DriverError, match=r"needs temporal\.encryption_key"):
        TemporalRemoteDriver(host_port=f"{HOST}:1").start(started.context())


def test_a_missing_namespace_is_named(temporal_server: TemporalServer, started: Starting) -> None:
    """The error contains the command that creates it."""
    error = failure(started, host_port=temporal_server.address, namespace="orders")
    assert error.reason == f'temporal at {temporal_server.address} has no namespace "orders"'
    assert "temporal operator namespace create" in (error.hint or "")


def test_missing_server_is_named(started: Starting) -> None:
    """The address is in the error, the setting in the hint."""
    address = f"{HOST}:{free_port()}"
    error = failure(started, host_port=address)
    assert error.reason == f"temporal at {address}: connection refused"
    assert "temporal.host_port" in (error.hint or "")


@pytest.mark.parametrize(
    ("tls", "api_key", "used"),
    [
        pytest.param({}, None, False, id="unset"),
        pytest.param({"enabled": None, "ca_file": None}, None, False, id="nothing-set"),
        pytest.param({"enabled": True}, None, True, id="enabled"),
        pytest.param({}, "key", True, id="api-key"),
        pytest.param({"cert_file": "c", "key_file": "k"}, None, True, id="certificate"),
        pytest.param({"ca_file": "a"}, None, True, id="authority"),
        pytest.param({"enabled": False}, "key", False, id="switched-off-with-api-key"),
        pytest.param({"enabled": False, "ca_file": "a"}, None, False, id="switched-off-with-authority"),
    ],
)
def test_tls_is_on_when_asked_for_or_when_something_needs_it(
    tls: Mapping[str, Any], api_key: str | None, used: bool
) -> None:
    """`temporal.tls.enabled` decides; unset, a certificate or an API key does."""
    assert (
        TemporalRemoteDriver(encryption_key=KEYS, host_port="localhost:7233", api_key=api_key, tls=tls).uses_tls is used
    )


@pytest.mark.parametrize("name", ["ca_file", "cert_file", "key_file"])
def test_unreadable_certificate_file_is_named(
    temporal_server: TemporalServer, authority: Authority, started: Starting, name: str
) -> None:
    """File and setting are named before the first connection."""
    files = {"ca_file": authority.ca_file, "cert_file": authority.cert_file, "key_file": authority.key_file}
    error = failure(started, host_port=temporal_server.address, tls={**files, name: "/nowhere.pem"})
    assert error.reason == f"/nowhere.pem (temporal.tls.{name}) cannot be read: no such file or directory"


def test_invalid_certificate_file_is_named(temporal_server: TemporalServer, started: Starting, tmp_path: Path) -> None:
    """Its content is not shown: it could be a key in another form."""
    file = tmp_path / "key.der"
    file.write_bytes(b"canary")
    error = failure(started, host_port=temporal_server.address, tls={"ca_file": str(file)})
    assert error.reason == f"{file} (temporal.tls.ca_file) is not a PEM file"


def test_a_certificate_needs_its_key(temporal_server: TemporalServer, authority: Authority, started: Starting) -> None:
    """One of the pair alone is an error of configuration."""
    error = failure(started, host_port=temporal_server.address, tls={"cert_file": authority.cert_file})
    assert error.reason == "temporal.tls.cert_file is set alone"


def test_client_certificate_is_accepted_by_a_server_with_mutual_tls(
    temporal_server: TemporalServer, authority: Authority, started: Starting
) -> None:
    """With it the start succeeds; without it the error names the missing setting."""
    pair = {"cert_file": authority.cert_file, "key_file": authority.key_file}
    context = authority.server_context(client_certificate=True)
    with tls_proxy(temporal_server.port, context) as proxy:
        address = f"{HOST}:{proxy.port}"
        driver = TemporalRemoteDriver(
            encryption_key=KEYS, host_port=address, tls={"ca_file": authority.ca_file, **pair}
        )
        driver.start(started.context())
        driver.stop(0)
        error = failure(started, host_port=address, tls={"ca_file": authority.ca_file})
    assert "temporal.tls.cert_file" in (error.hint or "")


def test_certificate_must_match_the_server_name(
    temporal_server: TemporalServer, authority: Authority, started: Starting
) -> None:
    """A name of the certificate is accepted, another is not."""
    with tls_proxy(temporal_server.port, authority.server_context()) as proxy:
        options = {"host_port": f"{HOST}:{proxy.port}"}
        tls = {"ca_file": authority.ca_file, "server_name": "temporal.test"}
        driver = TemporalRemoteDriver(encryption_key=KEYS, **options, tls=tls)
        driver.start(started.context())
        driver.stop(0)
        error = failure(started, **options, tls={**tls, "server_name": "other.test"})
    assert "could not be verified" in error.reason


@pytest.mark.parametrize(
    ("api_key", "arrives"), [pytest.param(KEY, True, id="with"), pytest.param(None, False, id="without")]
)
def test_the_api_key_arrives_at_the_server(
    temporal_server: TemporalServer, authority: Authority, started: Starting, api_key: str | None, arrives: bool
) -> None:
    """It is sent with the requests, inside TLS."""
    with tls_proxy(temporal_server.port, authority.server_context()) as proxy:
        driver = TemporalRemoteDriver(
            encryption_key=KEYS,
            host_port=f"{HOST}:{proxy.port}",
            api_key=api_key,
            tls={"ca_file": authority.ca_file},
        )
        driver.start(started.context())
        driver.stop(0)
        assert (KEY_ON_THE_WIRE in proxy.seen) is arrives


def test_server_without_working_executions_is_unhealthy(started: Starting, tmp_path: Path) -> None:
    """It has the namespace, but its parts look for each other where they do not listen."""
    server = TemporalServer()
    server.port = free_port(OTHER_HOST)
    command = server._command(tmp_path)
    argv = tuple(OTHER_HOST if part == HOST else part for part in command.argv)
    child = Child(replace(command, argv=argv))
    child.start()
    driver = TemporalRemoteDriver(encryption_key=KEYS, host_port=f"{OTHER_HOST}:{server.port}")
    try:
        child.wait_until(lambda: begins(driver, started), started.context())
        with pytest.raises(DriverError, match=f"temporal at {OTHER_HOST}:{server.port}: it (did not|cannot be)"):
            driver.ping()
    finally:
        child.stop(signal.SIGTERM, 0)
