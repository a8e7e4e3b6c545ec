"""Driver of vector stores in Redis: that of the project, or a server of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from compozy.drivers.preflight import reached
from compozy.drivers.protocol import Check, Description, Driver, StartContext, Storage
from compozy.drivers.redis_external import RedisExternalDriver
from compozy.errors import DriverError

if TYPE_CHECKING:
    from compozy.drivers.redis_vectors import RedisVectorStore

_PROJECT = "redis"  # the component
_ADDRESS = ("url", "host", "port", "password", "db", "tls")
_SETTING = re.compile(rf"\bredis\.({'|'.join(_ADDRESS)})\b")


class RedisVectorDriver:
    """A store in a Redis by its address, or without one in the Redis of the project.

    `runtime` are the settings of the latter.
    """

    def __init__(
        self, *, name: str, url: str | None = None, host: str | None = None, port: int | None = None,
        password: str | None = None, db: int | None = None, tls: bool | None = None, collection: str | None = None,
        dimension: int | None = None, index_type: str | None = None, m: int | None = None,
        ef_construction: int | None = None, ef_search: int | None = None, runtime: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._index = {"index_type": index_type, "m": m, "ef_construction": ef_construction, "ef_search": ef_search}
        self._collection = collection or name
        self._dimension = dimension
        self._runtime = runtime or {}
        self._own = (
            RedisExternalDriver(url=url, host=host, port=port, password=password, db=db, tls=tls)
            if url or host or port
            else None
        )
        self._server: Driver | None = None
        self._store: RedisVectorStore | None = None

    @property
    def handle(self) -> RedisVectorStore | None:
        """The vector store."""
        return self._store

    def start(self, context: StartContext) -> None:
        """Connect, and open the store in the best form that the server has.

        Raises:
            DriverError: the server is out of reach or refuses, or it holds vectors of another dimension.
        """
        from compozy.drivers.redis_forms import open_store

        client = None if self._own is not None else context.handle(_PROJECT)
        self._server = self._own if self._own is not None else context.needed[_PROJECT]
        try:
            with _settings_named(self._own):
                if self._own is not None:
                    self._own.start(context)
                    client = self._own.handle
                self._store = open_store(client, self._collection, self._dimension, self._index)
        except BaseException:
            self.stop(0)
            raise

    def ping(self) -> None:
        """Ask the server, and count the vectors.

        Raises:
            DriverError: it was not started, or the server does not answer or takes no writes.
        """
        if self._store is None or self._server is None:
            raise DriverError("the vector store was not started")
        with _settings_named(self._own):
            self._server.ping()
        self._store.count()

    def stop(self, grace_s: float) -> None:
        """Close the connections to a server of its own; idempotent."""
        self._store = self._server = None
        if self._own is not None:
            self._own.stop(grace_s)

    def preflight(self, context: StartContext) -> Iterator[Check]:
        """Check that an external server answers, and how it searches."""
        external = self if self._own is not None else self._external()
        if external is None:
            message = "the vectors are in the Redis of the project; compozy status shows how it searches"
            yield Check("reach", "skip", message, "see the checks of redis")
            return
        with reached(external, context) as check:
            yield check
            if check.status == "pass":
                yield Check("search", "pass", f"searches {external.describe().details['search']}")

    def _external(self) -> RedisVectorDriver | None:
        """Return a driver with connections of its own to the Redis of the project, where that is a server outside."""
        if self._runtime.get("mode") != "distributed":
            return None
        address = {name: self._runtime.get(name) for name in _ADDRESS}
        return RedisVectorDriver(name=self._collection, dimension=self._dimension, **address)

    def storage(self) -> tuple[Storage, ...]:
        """Return nothing: the data of Redis holds the vectors."""
        return ()

    def describe(self) -> Description:
        """Return the address of the server, and how it searches."""
        server = self._server.describe() if self._server is not None else Description()
        search = f"by {self._store.form}" if self._store is not None else None
        details = {"search": search, "dimension": self._store.dimension if self._store is not None else self._dimension}
        return Description(server.address, server.data, details)


@contextmanager
def _settings_named(own: Driver | None) -> Iterator[None]:
    """Name the settings of the vector store, not those of the project's Redis, in errors of a server of its own."""
    try:
        yield
    except DriverError as error:
        if own is None:
            raise
        reason, hint = (_SETTING.sub(r"\1 of the vector store", text or "") for text in (error.reason, error.hint))
        raise DriverError(reason, hint=hint or None) from error
