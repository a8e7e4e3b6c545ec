"""Driver of a vector store in a Qdrant server, over REST. The API key never appears in a message or a description."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from compozy.base.late_import import LATE_IMPORT
from compozy.drivers.preflight import check_reach
from compozy.drivers.protocol import Check, Description, StartContext, Storage
from compozy.drivers.qdrant_collection import CollectionOptions
from compozy.drivers.reach import REACH_S, reach
from compozy.errors import DriverError

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from compozy.drivers.qdrant_client_collection import QdrantClientCollection

_PORT = 6333
_TIMEOUT_S = 5.0
_PING_S = 1.0
_SETTINGS = "url, or host and port, of the vector store"


class QdrantServerDriver:
    """The store `name`, in a collection of a server; a `url` has its own port and scheme, else `tls` chooses https."""

    def __init__(
        self, *, name: str, url: str | None = None, host: str | None = None, port: int | None = None,
        api_key: str | None = None, tls: bool | None = None, timeout_s: float | None = None,
        collection: str | None = None, dimension: int | None = None, metric: str | None = None, m: int | None = None,
        ef_construction: int | None = None, ef_search: int | None = None,
    ) -> None:  # fmt: skip
        self._url, self._host, self._port, self._tls = url, host, port, tls
        self._headers = {"api-key": api_key} if api_key else {}
        self._timeout_s = timeout_s or _TIMEOUT_S
        self._collection = collection or name
        self._options = CollectionOptions(dimension, metric, m, ef_construction, ef_search)
        self._address: str | None = None
        self._clients: list[QdrantClient] = []
        self._store: QdrantClientCollection | None = None

    @property
    def handle(self) -> QdrantClientCollection | None:
        """The vector store."""
        return self._store

    def start(self, context: StartContext) -> None:
        """Connect, and create the collection where its dimension is known.

        Raises:
            DriverError: the client is not installed, the address cannot be read, the server is out of reach or refuses,
                or it has a collection of another kind, dimension or metric.
        """
        if find_spec("qdrant_client") is None:
            raise DriverError(
                "the client of Qdrant servers is not installed", hint="run: pip install 'compozy[qdrant]'"
            )
        host, port, url = self._connection()
        where = f"qdrant at {host}:{port}"
        reach(where, host, port, min(REACH_S, context.left_s()), setting=_SETTINGS)
        with LATE_IMPORT:
            from compozy.drivers.qdrant_client_collection import QdrantClientCollection, answers

        try:
            probe = self._client(url, _PING_S)
            with answers(where):
                probe.collection_exists(self._collection)
            client = self._client(url, self._timeout_s)
            store = QdrantClientCollection(client, self._collection, self._options, where)
            store.open()
        except BaseException:
            self.stop(0)
            raise
        self._address, self._store = f"{host}:{port}", store

    def _connection(self) -> tuple[str, int, str]:
        """Return host, port and the whole address.

        Raises:
            DriverError: the url cannot be read.
        """
        url = self._url or f"http://{_bracketed(self._host or 'localhost')}"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or self._port or _PORT
        except ValueError:
            host, port, parts = "", 0, urlsplit("")
        if not host or parts.scheme not in ("http", "https") or parts.username:
            raise DriverError("the url of the vector store is not that of a Qdrant", hint="write http://host:6333")
        scheme = "https" if self._tls else parts.scheme
        return host, port, f"{scheme}://{_bracketed(host)}:{port}{parts.path.rstrip('/')}"

    def _client(self, url: str, timeout_s: float) -> QdrantClient:
        import httpx
        from qdrant_client import QdrantClient

        from compozy.drivers.qdrant_client_collection import BoundedTransport

        limits = httpx.Limits(max_connections=None)
        client = QdrantClient(
            url=url, timeout=math.ceil(timeout_s), headers=dict(self._headers), check_compatibility=False,
            trust_env=False, transport=BoundedTransport(trust_env=False, limits=limits),
        )  # fmt: skip
        self._clients.append(client)
        return client

    def ping(self) -> None:
        """Ask for the collection, on a connection of its own.

        Raises:
            DriverError: the server did not answer within about a second.
        """
        if self._store is None:
            raise DriverError("the vector store was not started")
        from compozy.drivers.qdrant_client_collection import answers

        with answers(f"qdrant at {self._address}"):
            self._clients[0].collection_exists(self._collection)

    def stop(self, grace_s: float) -> None:
        """Close the connections; idempotent."""
        self._store = None
        while self._clients:
            self._clients.pop().close()

    def preflight(self, context: StartContext) -> Iterator[Check]:
        """Check that the server answers, and what it has."""
        yield from check_reach(self, context)

    def storage(self) -> tuple[Storage, ...]:
        """Return nothing: the server keeps its data itself."""
        return ()

    def describe(self) -> Description:
        """Return the address and the collection."""
        return Description(self._address, None, {"collection": self._collection})


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
