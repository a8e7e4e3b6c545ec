"""TLS in front of servers that have none: an authority, and a proxy that ends TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trustme

HOST = "127.0.0.1"
PATIENCE_S = 30.0
_SSL_REQUEST = 8  # bytes of PostgreSQL's question whether the server speaks TLS


@dataclass(frozen=True)
class Authority:
    """Files in PEM form; `stranger` is an authority that has signed nothing here."""

    ca_file: str
    cert_file: str
    key_file: str
    stranger: str
    issuer: trustme.CA = field(repr=False)

    def server_context(self, *, client_certificate: bool = False) -> ssl.SSLContext:
        """Return what a server for 127.0.0.1 and temporal.test needs."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["h2"])
        self.issuer.issue_cert(HOST, "localhost", "temporal.test").configure_cert(context)
        if client_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            self.issuer.configure_trust(context)
        return context


def make_authority(folder: Path) -> Authority:
    """Write an authority, a client certificate with its key, and a stranger's authority into `folder`."""
    issuer, stranger = trustme.CA(), trustme.CA()
    client = issuer.issue_cert("client@compozy.test")
    files = {name: str(folder / f"{name}.pem") for name in ("ca", "cert", "key", "stranger")}
    issuer.cert_pem.write_to_path(files["ca"])
    stranger.cert_pem.write_to_path(files["stranger"])
    client.private_key_pem.write_to_path(files["key"])
    for number, blob in enumerate(client.cert_chain_pems):
        blob.write_to_path(files["cert"], append=number > 0)
    return Authority(files["ca"], files["cert"], files["key"], files["stranger"], issuer)


@dataclass
class TlsProxy:
    """The address of the proxy, and the decrypted data of its clients."""

    port: int
    seen: bytearray = field(default_factory=bytearray)


@contextlib.contextmanager
def tls_proxy(target: int, context: ssl.SSLContext, *, asks_first: bool = False) -> Iterator[TlsProxy]:
    """End TLS in front of a port of this machine; `asks_first` is PostgreSQL's way to begin it."""
    with socket.create_server((HOST, 0)) as listener, contextlib.ExitStack() as opened:
        proxy = TlsProxy(listener.getsockname()[1])
        lines: list[_Line] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    lines.append(_Line(listener.accept()[0], target, context, proxy.seen, asks_first))

        def close_all() -> None:
            for line in lines:
                line.close()

        accepting = threading.Thread(target=accept, name="tls-accept", daemon=True)
        accepting.start()
        opened.callback(close_all)
        opened.callback(accepting.join, PATIENCE_S)
        opened.callback(_hang_up, listener)
        yield proxy


class _Line:
    """One connection through the proxy; threads, because OpenSSL then sends the reason of a rejection."""

    def __init__(
        self, client: socket.socket, target: int, context: ssl.SSLContext, seen: bytearray, asks_first: bool
    ) -> None:
        self._ends = [client]
        self._target, self._context, self._seen, self._asks_first = target, context, seen, asks_first
        self._thread = threading.Thread(target=self._serve, name="tls-line", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        (client,) = self._ends
        with client, contextlib.suppress(OSError):
            if self._asks_first:
                client.recv(_SSL_REQUEST, socket.MSG_WAITALL)
                client.sendall(b"S")
            with self._encrypted(client) as outside, socket.create_connection((HOST, self._target)) as inside:
                self._ends += [outside, inside]
                back = threading.Thread(target=_copy, args=(inside, outside, bytearray()), daemon=True)
                back.start()
                _copy(outside, inside, self._seen)
                back.join(PATIENCE_S)

    def _encrypted(self, client: socket.socket) -> ssl.SSLSocket:
        try:
            return self._context.wrap_socket(client, server_side=True)
        except ssl.SSLError:
            # With what the client has sent unread, closing would take the reason away from it.
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
            raise

    def close(self) -> None:
        """Hang up on both sides and wait for the end."""
        for end in self._ends:
            _hang_up(end)
        self._thread.join(PATIENCE_S)


def _hang_up(end: socket.socket) -> None:
    """Wake every thread that waits for this socket, in any state of the socket."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(end, socket.SHUT_RDWR)


def _copy(source: socket.socket, target: socket.socket, seen: bytearray) -> None:
    """Hand on what comes until one side ends, then end the other."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            seen += data
            target.sendall(data)
    _hang_up(source)
    _hang_up(target)
