"""A vector store in a table of PostgreSQL with the extension pgvector.

The table is made with the first vector, whose length the type of its column has, and its index when it has many rows.
Searches read the index in the order of the exact distance and continue where a filter rejects rows
(https://github.com/pgvector/pgvector#iterative-index-scans).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import Any

import peewee

from compozy.base.record import dataclass
from compozy.errors import DriverError
from compozy.vector.checked_records import check_selection, checked
from compozy.vector.metadata_filter import Condition, accepted, is_json, metadata_json
from compozy.vector.ranking import best, rounded
from compozy.vector.vector_store import VectorMatch, VectorRecord, unit_vector

# The first version with iterative scans.
OLDEST = (0, 8)
CREATE = "CREATE EXTENSION IF NOT EXISTS vector"
EXTENSION = """
SELECT (SELECT extversion FROM pg_extension WHERE extname = 'vector'), offer.default_version, current_database(),
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
       OR (known.trusted AND has_database_privilege(current_database(), 'CREATE'))
FROM pg_available_extensions AS offer
JOIN pg_available_extension_versions AS known ON known.name = offer.name AND known.version = offer.default_version
WHERE offer.name = 'vector'"""
_COLUMNS = """
SELECT attname, atttypmod, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"""
_INDEXES = """
SELECT index.oid::regclass::text, method.amname, class.opcname, coalesce(index.reloptions, '{}')
FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid JOIN pg_am AS method ON method.oid = index.relam
JOIN pg_opclass AS class ON class.oid = indclass[0]
WHERE indrelid = to_regclass(%s) AND method.amname IN ('hnsw', 'ivfflat')"""
_FILTER_INDEX = """
SELECT 1 FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid JOIN pg_am AS method ON method.oid = index.relam
WHERE indrelid = to_regclass(%s) AND method.amname = 'gin'"""
_LOCK_KEY = 0x436F6D7056  # "CompV"
# PostgreSQL truncates longer names without an error, so that two collections could share a table.
_LONGEST_BYTES = 63
# The longest vectors that an index takes, by type.
_MOST = {"vector": 2000, "halfvec": 4000}
_EXPORTED = "SELECT id, embedding::text, text, metadata::text"
_BATCH = 500
_DIGITS = len(str(-(2**63)))
# Fewer rows are searched exactly. An index of all rows at once takes a quarter of the time of row by row.
INDEXED_ROWS = 10_000
_MOST_CANDIDATES = 1000
_OPERATORS = {"cosine": "<=>", "l2": "<->", "ip": "<#>"}
_SCORES = {
    "cosine": "1 - (embedding <=> %s::vector)",
    "l2": "1 - (embedding <-> %s::vector) ^ 2 / 2",
    "ip": "-(embedding <#> %s::vector)",
}


@dataclass(frozen=True, slots=True)
class TableOptions:
    """Options of a table and its index; `build` are parameters of the index."""

    collection: str
    dimension: int | None = None
    metric: str = "cosine"
    index_type: str = "hnsw"
    build: Mapping[str, int] = field(default_factory=dict)
    ef_search: int = 100
    probes: int = 10


@contextmanager
def answers(where: str) -> Iterator[None]:
    """Raise what the database raises within the block as DriverError."""
    try:
        yield
    except (peewee.DatabaseError, peewee.InterfaceError) as error:
        text = str(error).strip().partition("\n")[0] or "the connection was closed"
        raise DriverError(f"{where}: {text}", hint="see the log of the server") from error


@contextmanager
def connected(database: peewee.Database) -> Iterator[peewee.Database]:
    """Yield the database, with a connection of the calling thread."""
    opened = database.connect(reuse_if_open=True)
    try:
        yield database
    finally:
        if opened:
            database.close()


class PgvectorTable:
    """The vector store in one table, for any number of threads and processes; `where` begins the texts of errors."""

    def __init__(self, database: Any, options: TableOptions, where: str) -> None:
        self._database, self._options, self._where = database, options, where
        self._table = quoted(options.collection)
        self._dimension: int | None = None
        self._complete = False
        self._making = threading.Lock()

    @property
    def dimension(self) -> int | None:
        """Length of the vectors."""
        return self._dimension or self._options.dimension

    def open(self) -> None:
        """Make the extension where that is allowed, and the table where its dimension is known.

        Raises:
            DriverError: the server does not have the extension, or an older one; the user may not make it; or there is
                a table of another kind, or of another dimension.
        """
        with self._schema():
            self._extension()
            self._dimension = self._found()
            if self.dimension is not None:
                self._make(self.dimension)

    @contextmanager
    def _schema(self) -> Iterator[None]:
        """Hold the lock under which one process at a time changes the schema."""
        with answers(self._where), connected(self._database), self._database.atomic():
            # `CREATE ... IF NOT EXISTS` in two sessions at once can fail with a unique violation.
            self._sql("SELECT pg_advisory_xact_lock(%s)", _LOCK_KEY)
            yield

    def _sql(self, text: str, *parameters: object) -> Any:
        return self._database.execute_sql(text, parameters or None)

    def _extension(self) -> None:
        row = self._sql(EXTENSION).fetchone()
        problem = extension_problem(row, self._where)
        if problem is not None:
            raise problem
        if row[0] is None:
            self._sql(CREATE)

    def _found(self) -> int | None:
        """Return the dimension of the table; None before the table exists."""
        columns = {name: (size, kind) for name, size, kind in self._sql(_COLUMNS, self._table.replace("%%", "%"))}
        if not columns:
            return None
        size, kind = columns.get("embedding", (0, "none"))
        if kind != "vector" or not {"id", "text", "metadata"} <= columns.keys():
            reason = f"{self._where}: the table {self._options.collection} is not one of vectors of Compozy"
            raise DriverError(reason, hint="choose another `collection` (`table`) for the vector store")
        wanted = self._options.dimension
        if wanted not in (None, size):
            reason = f"{self._where}: the table {self._options.collection} has the dimension {size}"
            raise DriverError(f"{reason}, and the configuration {wanted}", hint="correct `dimension` or `collection`")
        return int(size)

    def _make(self, dimension: int) -> None:
        """Create what is missing of the table and its indexes; the caller holds the lock."""
        table = self._table
        self._sql(
            f'CREATE TABLE IF NOT EXISTS {table} (id text COLLATE "C" PRIMARY KEY, text text NOT NULL,'
            f" metadata jsonb NOT NULL, embedding vector({dimension}) NOT NULL)"
        )
        self._dimension = dimension
        found = self._sql(_FILTER_INDEX, table.replace("%%", "%")).fetchone()
        if found is None:
            self._sql(f"CREATE INDEX ON {table} USING gin (metadata jsonb_path_ops)")
        self._index()

    def _index(self) -> None:
        """Create the index of vectors, in the place of one of another kind or with other parameters."""
        options, kind = self._options, self._kind()
        if kind is None:
            self._complete = True
            return
        build = [f"{name}={value}" for name, value in options.build.items()]
        operators = f"{kind}_{options.metric}_ops"
        found = self._sql(_INDEXES, self._table.replace("%%", "%")).fetchall()
        if any((method, names, given) == (options.index_type, operators, build) for _, method, names, given in found):
            self._complete = True
            return
        if not self._many():
            return
        for name, *_ in found:
            self._sql("DROP INDEX " + name.replace("%", "%%"))
        parameters = f" WITH ({', '.join(build)})" if build else ""
        expression = f"({self._expression()}) {operators}"
        self._sql(f"CREATE INDEX ON {self._table} USING {options.index_type} ({expression}){parameters}")
        self._complete = True

    def _kind(self) -> str | None:
        """Return the type whose index holds vectors of this dimension; None where a search is exact."""
        if self._options.index_type == "none":
            return None
        return next((kind for kind, most in _MOST.items() if (self.dimension or 0) <= most), None)

    def _expression(self) -> str:
        return "embedding" if self._kind() != "halfvec" else f"embedding::halfvec({self.dimension})"

    def _many(self) -> bool:
        rows = self._sql(f"SELECT count(*) FROM (SELECT 1 FROM {self._table} LIMIT {INDEXED_ROWS}) AS part").fetchone()
        return bool(rows[0] == INDEXED_ROWS)

    def upsert(self, records: Sequence[VectorRecord]) -> None:
        """See `VectorStore.upsert`."""
        found = checked(records, self.dimension)
        if not found:
            return
        if self._dimension is None:
            self._first(len(next(iter(found.values())).vector))
            found = checked(records, self.dimension)
        # In the order of the ids, so that two writers of the same rows wait for each other instead of deadlocking.
        rows = sorted(found.values(), key=lambda record: record.id)
        with answers(self._where), connected(self._database), self._database.atomic():
            for begin in range(0, len(rows), _BATCH):
                self._write(rows[begin : begin + _BATCH])
        # In a transaction of its own, so that building the index does not hold the locks of the written rows.
        if not self._complete:
            with self._schema():
                self._index()

    def _first(self, dimension: int) -> None:
        with self._making, self._schema():
            self._dimension = self._found()
            self._make(self._dimension or dimension)

    def _write(self, rows: Sequence[VectorRecord]) -> None:
        values = [(row.id, row.text, metadata_json(row.metadata).decode(), _text(row.vector)) for row in rows]
        self._sql(
            f"INSERT INTO {self._table} (id, text, metadata, embedding) VALUES "
            + ", ".join(["(%s, %s, %s, %s)"] * len(values))
            + " ON CONFLICT (id) DO UPDATE SET text = EXCLUDED.text, metadata = EXCLUDED.metadata,"
            " embedding = EXCLUDED.embedding",
            *(value for row in values for value in row),
        )

    def delete(self, ids: Sequence[str] | None = None, where: Mapping[str, Condition] | None = None) -> int:
        """See `VectorStore.delete`."""
        check_selection(ids, where)
        text, parameters = _condition(where)
        if ids is not None:
            text, parameters = "id = ANY(%s)", [[key for key in ids if is_json(key)]]
        if self._dimension is None and not self._refreshed():
            return 0
        with answers(self._where), connected(self._database):
            return int(self._sql(f"DELETE FROM {self._table} WHERE {text}", *parameters).rowcount)

    def search(
        self, vector: Sequence[float], k: int = 10, where: Mapping[str, Condition] | None = None,
        min_score: float | None = None,
    ) -> list[VectorMatch]:  # fmt: skip
        """See `VectorStore.search`."""
        wanted, (text, parameters) = _text(unit_vector(vector, self.dimension)), _condition(where)
        if self._dimension is None and not self._refreshed():
            return []
        distance = f"{self._expression()} {_OPERATORS[self._options.metric]} %s::{self._type()}"
        select = (
            f"SELECT id, text, metadata::text, {_SCORES[self._options.metric]} FROM {self._table}"
            f" WHERE {text} ORDER BY {distance} LIMIT %s"
        )

        def fetch(limit: int) -> list[VectorMatch]:
            found: list[Any] = []
            # An index scan ends after a bounded number of rejected rows; only if that left too few are all rows
            # compared.
            for exact in (False, True):
                if len(found) < limit:
                    query = self._settings(limit, exact=exact) + select
                    found = self._sql(query, wanted, *parameters, wanted, limit).fetchall()
            return [VectorMatch(id_, rounded(score), content, _metadata(meta)) for id_, content, meta, score in found]

        with answers(self._where), connected(self._database):
            return best(fetch, k, min_score)

    def _type(self) -> str:
        return f"{self._kind() or 'vector'}({self.dimension})"

    def _settings(self, limit: int, *, exact: bool) -> str:
        """Return statements that are sent together with a query, which PostgreSQL runs in one transaction."""
        candidates = min(_MOST_CANDIDATES, max(limit, self._options.ef_search))
        values = {
            "hnsw.iterative_scan": "strict_order", "hnsw.ef_search": candidates, "enable_indexscan": not exact,
            "ivfflat.iterative_scan": "relaxed_order", "ivfflat.probes": self._options.probes,
        }  # fmt: skip
        return "".join(f"SET LOCAL {name} = {value}; " for name, value in values.items())

    def count(self, where: Mapping[str, Condition] | None = None) -> int:
        """See `VectorStore.count`."""
        text, parameters = _condition(where)
        if self._dimension is None and not self._refreshed():
            return 0
        with answers(self._where), connected(self._database):
            return int(self._sql(f"SELECT count(*) FROM {self._table} WHERE {text}", *parameters).fetchone()[0])

    def export(self) -> Iterator[VectorRecord]:
        """See `VectorStore.export`."""
        last = ""
        while self._dimension is not None or self._refreshed():
            with answers(self._where), connected(self._database):
                # Pages by key instead of offset: concurrent writes shift none, and no transaction stays open between
                # pages.
                rows = self._sql(f"{_EXPORTED} FROM {self._table} WHERE id > %s ORDER BY id LIMIT %s", last, _BATCH)
                found = [
                    VectorRecord(id_, json.loads(vector), text, _metadata(meta)) for id_, vector, text, meta in rows
                ]
            yield from found
            if len(found) < _BATCH:
                return
            last = found[-1].id

    def _refreshed(self) -> bool:
        """Return True if another process has made the table meanwhile."""
        with answers(self._where), connected(self._database):
            self._dimension = self._found()
        return self._dimension is not None


def extension_problem(row: tuple[Any, ...] | None, where: str) -> DriverError | None:
    """Return why the extension cannot be used, with the remedy; `row` is that of `EXTENSION`."""
    if row is None:
        return DriverError(
            f"{where}: the server does not have the extension vector",
            hint="install pgvector on the database server, for example the Debian package postgresql-17-pgvector",
        )
    created, offered, database, allowed = row
    if _version(created or offered) < OLDEST:
        version = ".".join(map(str, OLDEST))
        return DriverError(
            f"{where}: the extension vector has the version {created or offered}, and {version} is needed",
            hint=f"install pgvector {version}, then run in database {database}: ALTER EXTENSION vector UPDATE;",
        )
    if created is None and not allowed:
        return DriverError(
            f"{where}: the extension vector is not created, and this user may not create it",
            hint=f"run as superuser in database {database}: {CREATE};",
        )
    return None


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def quoted(collection: str) -> str:
    """Return the name of a table, or schema.table, as SQL for statements with parameters.

    Raises:
        DriverError: it is too long or has characters that PostgreSQL cannot store.
    """
    parts = collection.split(".")
    usable = len(parts) <= len(("schema", "table")) and all(
        part.isprintable() and 0 < len(part.encode(errors="replace")) <= _LONGEST_BYTES for part in parts
    )
    if not usable:
        raise DriverError(
            f'"{collection}" cannot be the name of a table',
            hint=f"write `table` or `schema.table`, each of at most {_LONGEST_BYTES} bytes, as `collection`",
        )
    return ".".join('"' + part.replace('"', '""').replace("%", "%%") + '"' for part in parts)


def _text(vector: Sequence[float]) -> str:
    """Return a vector as text; nine digits are a number of single precision."""
    return f"[{','.join(['%.9g'] * len(vector)) % tuple(vector)}]"


def _metadata(text: str) -> dict[str, object]:
    """Return metadata; PostgreSQL writes large numbers without exponent, and larger integers are not accepted."""
    found: dict[str, object] = json.loads(
        text, parse_int=lambda digits: (float if len(digits) > _DIGITS else int)(digits)
    )
    return found


def _condition(where: Mapping[str, Condition] | None) -> tuple[str, list[object]]:
    """Return a condition on rows as SQL and its parameters; `@>` is in the index, and equality is exact."""
    texts, parameters = ["true"], list[object]()
    for key, condition in (where or {}).items():
        values = [json.dumps({key: value}) for value in accepted(condition) if is_json(key)]
        texts.append(f"({' OR '.join(['metadata @> %s::jsonb'] * len(values)) or 'false'})")
        parameters += values
    return " AND ".join(texts), parameters
