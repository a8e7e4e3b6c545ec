"""Driver of a vector store in PostgreSQL, the database of the project or one of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from compozy.drivers.postgres import PostgresDriver
from compozy.drivers.preflight import reached
from compozy.drivers.protocol import Check, Description, StartContext, Storage
from compozy.errors import DriverError

if TYPE_CHECKING:
    import peewee

    from compozy.drivers.pgvector_table import PgvectorTable

PGVECTOR = "pgvector"
_DATABASE = "database"
_CONNECTIONS = 10
_RUNTIME = ("url", "host", "port", "user", "password", "name", "ssl_mode")
_ELEMENT = "knowledge.vector_dbs[]."


class PgvectorDriver:
    """The store `name`, in a table of its own PostgreSQL if an address is given, else of the project's database.

    `runtime` are the settings of the project's database, for a preflight before it is started.
    """

    def __init__(
        self, *, name: str, url: str | None = None, host: str | None = None, port: int | None = None,
        user: str | None = None, password: str | None = None, database: str | None = None, ssl_mode: str | None = None,
        collection: str | None = None, dimension: int | None = None, metric: str | None = None,
        index_type: str | None = None, m: int | None = None, ef_construction: int | None = None,
        ef_search: int | None = None, lists: int | None = None, probes: int | None = None,
        runtime: Mapping[str, object] | None = None,
    ) -> None:  # fmt: skip
        self._collection = collection or name
        self._own: PostgresDriver | None = None
        if url or host or port:
            self._own = PostgresDriver(
                url=url, host=host, port=port, user=user, password=password, name=database, ssl_mode=ssl_mode,
                max_connections=_CONNECTIONS,
            )  # fmt: skip
        graph = {"m": m, "ef_construction": ef_construction}
        build = {"hnsw": graph, "ivfflat": {"lists": lists}}.get(index_type or "hnsw", {})
        options: dict[str, Any] = {
            "dimension": dimension, "metric": metric, "index_type": index_type, "ef_search": ef_search,
            "probes": probes, "build": {key: value for key, value in build.items() if value is not None},
        }  # fmt: skip
        self._options = {key: value for key, value in options.items() if value is not None}
        given = {key: runtime.get(key) for key in _RUNTIME} if runtime is not None else None
        self._runtime: dict[str, Any] | None = given
        self._store: PgvectorTable | None = None
        self._where = ""

    @property
    def handle(self) -> PgvectorTable | None:
        """The vector store."""
        return self._store

    def start(self, context: StartContext) -> None:
        """Connect, and make the extension and the table where they are missing.

        Raises:
            DriverError: the server is out of reach or refuses, or see `PgvectorTable.open`.
        """
        from compozy.drivers.pgvector_table import PgvectorTable, TableOptions

        try:
            if self._own is not None:
                with _element():
                    self._own.start(context)
            database = context.handle(_DATABASE) if self._own is None else self._own.handle
            self._where = self._own.describe().address or "" if self._own is not None else f"the {_DATABASE}"
            store = PgvectorTable(
                database, TableOptions(self._collection, **self._options), f"pgvector in {self._where}"
            )
            store.open()
        except BaseException:
            self.stop(0)
            raise
        self._store = store

    def ping(self) -> None:
        """Read from the table.

        Raises:
            DriverError: the server did not answer, or the table does not exist any more.
        """
        if self._store is None:
            raise DriverError("the vector store was not started")
        if self._own is not None:
            self._own.ping()
        self._store.count({"": ""})

    def stop(self, grace_s: float) -> None:
        """Close the connections to a server of its own; idempotent."""
        self._store = None
        if self._own is not None:
            self._own.stop(grace_s)

    def preflight(self, context: StartContext) -> Iterator[Check]:
        """Check that the server answers, where it is one of its own, and that the extension can be used."""
        server = self._own or (None if self._runtime is None else PostgresDriver(**self._runtime))
        if server is None:
            return
        with reached(server, context) as check:
            if self._own is not None:
                yield Check(check.id, check.status, check.message, check.fix.replace("database.", _ELEMENT))
            if check.status == "pass":
                yield _extension(server.handle)
            else:
                yield Check(PGVECTOR, "skip", "not asked, because the database was not reached", "start the database")

    def storage(self) -> tuple[Storage, ...]:
        """Return nothing: the server keeps its data itself."""
        return ()

    def describe(self) -> Description:
        """Return the address and the table."""
        return Description(self._where or None, None, {"table": self._collection})


def _extension(database: peewee.Database) -> Check:
    from compozy.drivers.pgvector_table import EXTENSION, connected, extension_problem

    with connected(database):
        row = database.execute_sql(EXTENSION).fetchone()
    problem = extension_problem(row, PGVECTOR)
    if problem is not None:
        return Check(PGVECTOR, "fail", problem.reason, problem.hint or "")
    return Check(PGVECTOR, "pass", f"pgvector {row[0] or row[1]} is {'created' if row[0] else 'available'}")


@contextmanager
def _element() -> Iterator[None]:
    """Name the settings of the vector store, instead of those of the project's database, in errors of the block."""
    try:
        yield
    except DriverError as error:
        hint = None if error.hint is None else error.hint.replace("database.", _ELEMENT)
        raise DriverError(error.reason.replace("database.", _ELEMENT), hint=hint) from error
