"""Driver of a remote Temporal: a cluster, or Temporal Cloud.

The client runs on the loop thread and reconnects after an outage. The API key never appears in a message or a
description.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from compozy.drivers.certificates import read_pem
from compozy.drivers.ports import split_address
from compozy.drivers.preflight import check_reach
from compozy.drivers.protocol import Check, Description, StartContext, Storage
from compozy.drivers.reach import REACH_S, Symptom, diagnosis, reach
from compozy.errors import DriverError
from compozy.state.key_file import load_keyring

if TYPE_CHECKING:
    from compozy.drivers.temporal_client import TemporalConnection

PING_S = 1.0
_SETTING = "temporal.host_port"
_LOG = "see the log of the server, and temporal.host_port"
_CERTIFICATE = "the server closed the connection: it may ask for a client certificate, or for another one"
_SET_CERTIFICATE = "set temporal.tls.cert_file and temporal.tls.key_file to what it trusts"
# A server may close the connection before its reason has arrived.
_SYMPTOMS_OF_TLS = (Symptom("connection closed|connection reset|broken pipe", _CERTIFICATE, _SET_CERTIFICATE),)
_SYMPTOMS = (
    Symptom("CertificateRequired|certificate required|HandshakeFailure|close_notify", _CERTIFICATE, _SET_CERTIFICATE),
    Symptom(
        "UnknownIssuer|UnknownCA|NotValidForName|invalid peer certificate|certificate",
        "the server's certificate could not be verified",
        "give its authority in temporal.tls.ca_file, and the name in the certificate in temporal.tls.server_name",
    ),
    Symptom(
        "InvalidContentType|corrupt message|HTTP/1|wrong version|frame with invalid size|transport error",
        "protocol mismatch: only one side uses TLS, or it is not a Temporal server",
        "correct temporal.tls.enabled, or temporal.host_port",
    ),
)


class TemporalRemoteDriver:
    """One namespace of a remote Temporal.

    `tls` may have `enabled`, `ca_file`, `cert_file`, `key_file` and `server_name`. TLS is on when `enabled`
    is true, and without `enabled` when a certificate or an API key is given.
    """

    def __init__(
        self, *, host_port: str, namespace: str = "default", api_key: str | None = None,
        tls: Mapping[str, Any] | None = None, encryption_key: str | None = None,
        encryption_key_file: str | None = None,
    ) -> None:  # fmt: skip
        self._address = host_port
        self._namespace = namespace
        self._api_key = api_key or None
        self._tls = {name: value for name, value in (tls or {}).items() if value not in (None, "")}
        self._keys = (encryption_key, encryption_key_file)
        self._connection: TemporalConnection | None = None
        self._version: str | None = None
        self._namespace_id = ""

    @property
    def handle(self) -> object:
        """The Temporal client, in the namespace asked for."""
        return self._connection.client if self._connection is not None else None

    @property
    def uses_tls(self) -> bool:
        """Return True if the connection is encrypted."""
        enabled = self._tls.get("enabled")
        return bool(self._tls or self._api_key) if enabled is None else bool(enabled)

    def start(self, context: StartContext) -> None:
        """Connect and look for the namespace.

        Raises:
            DriverError: the encryption key is missing, a certificate cannot be read, the server is out of reach or
                refuses, or has no such namespace.
        """
        if not any(self._keys):
            hint = "set it to the output of `openssl rand -base64 32`, the same for every server and worker"
            raise DriverError("a remote Temporal needs temporal.encryption_key, which is not set", hint=hint)
        host, port = split_address(self._address)
        certificates = self._certificates() if self.uses_tls else {}
        reach(f"temporal at {self._address}", host, port, min(REACH_S, context.left_s()), setting=_SETTING)
        try:
            self._connect(context, certificates)
        except BaseException:
            self.stop(0)
            raise

    def _connect(self, context: StartContext, certificates: Mapping[str, bytes]) -> None:
        from temporalio.service import TLSConfig

        from compozy.drivers.temporal_client import connect

        tls = TLSConfig(
            domain=self._tls.get("server_name"),
            server_root_ca_cert=certificates.get("server_root_ca_cert"),
            client_cert=certificates.get("client_cert"),
            client_private_key=certificates.get("client_private_key"),
        )
        keyring = load_keyring(*self._keys)
        # Begins after the imports and the key file, which take longer than the answer on a busy machine.
        limit_s = min(REACH_S, context.left_s())
        deadline = time.monotonic() + limit_s
        try:
            self._connection = connect(
                context.loop,
                self._address,
                self._namespace,
                limit_s,
                tls=tls if self.uses_tls else False,
                api_key=self._api_key,
                keyring=keyring,
            )
        except DriverError as error:
            raise self._explained(error) from error
        self._connection.ping(max(0.1, deadline - time.monotonic()))
        self._version = self._connection.version()
        self._namespace_id = self._connection.namespace_id

    def _explained(self, error: DriverError) -> DriverError:
        """Return an error with a hint, if a symptom matches the message of the library."""
        text = f"{error.reason} {error.__cause__}"
        symptoms = (*_SYMPTOMS_OF_TLS, *_SYMPTOMS) if self.uses_tls else _SYMPTOMS
        return diagnosis(text, f"temporal at {self._address}", symptoms) or DriverError(error.reason, hint=_LOG)

    def _certificates(self) -> dict[str, bytes]:
        """Return the options of `TLSConfig` that come from files."""
        pair = [name for name in ("cert_file", "key_file") if name in self._tls]
        if len(pair) == 1:
            raise DriverError(
                f"temporal.tls.{pair[0]} is set alone", hint="set both temporal.tls.cert_file and temporal.tls.key_file"
            )
        options = {"server_root_ca_cert": "ca_file", "client_cert": "cert_file", "client_private_key": "key_file"}
        return {
            option: read_pem(str(self._tls[name]), f"temporal.tls.{name}")
            for option, name in options.items()
            if name in self._tls
        }

    def ping(self) -> None:
        """Read the namespace, and see that it is the one of the start and executions can be read.

        Raises:
            DriverError: the server did not answer within about a second, refuses, or is another one.
        """
        if self._connection is None:
            raise DriverError(f"temporal at {self._address}: not started")
        self._connection.ping(PING_S)
        if self._connection.namespace_id != self._namespace_id:
            reason = f'another Temporal answers at {self._address}: namespace "{self._namespace}" has another id'
            raise DriverError(reason, hint="restart the server if that is meant")
        self._connection.read_execution(PING_S)

    def stop(self, grace_s: float) -> None:
        """Release the client; idempotent."""
        self._connection = None

    def preflight(self, context: StartContext) -> Iterator[Check]:
        """Check that the server answers."""
        yield from check_reach(self, context)

    def storage(self) -> tuple[Storage, ...]:
        """Return nothing: the server keeps its data itself."""
        return ()

    def describe(self) -> Description:
        """Return the address and the facts of the server and namespace."""
        details = {"namespace": self._namespace, "tls": self.uses_tls}
        return Description(self._address, None, {**details, **({"version": self._version} if self._version else {})})
