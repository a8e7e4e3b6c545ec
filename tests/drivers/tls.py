"""TLS in front of servers that have none: an authority, and a proxy that ends TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from compozy.drivers.driver import LoopThread

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
    """Where the proxy listens, and what clients have sent through it, decrypted."""

    port: int
    seen: bytearray = field(default_factory=bytearray)


@contextlib.contextmanager
def tls_proxy(target: int, context: ssl.SSLContext, *, asks_first: bool = False) -> Iterator[TlsProxy]:
    """End TLS in front of a port of this machine; `asks_first` is PostgreSQL's way to begin it."""
    proxy = TlsProxy(0)
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            if asks_first:
                await reader.readexactly(_SSL_REQUEST)
                writer.write(b"S")
                await writer.start_tls(context)
            inner, outer = await asyncio.open_connection(HOST, target)
            with contextlib.closing(outer):
                both = {asyncio.create_task(_copy(reader, outer, proxy.seen))}
                both.add(asyncio.create_task(_copy(inner, writer, bytearray())))
                running.update(both)
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.get_running_loop().create_task(serve(reader, writer)))

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(accept, HOST, 0, ssl=None if asks_first else context)

    async def close(server: asyncio.Server) -> None:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    loop = LoopThread()
    with contextlib.closing(loop):
        server = loop.call(listen(), PATIENCE_S)
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy
        loop.call(close(server), PATIENCE_S)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, seen: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            seen += data
            target.write(data)
            await target.drain()
