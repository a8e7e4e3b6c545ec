"""A vector store in a SQLite database with sqlite-vec: every search compares with all vectors and is exact."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from compozy.drivers.vec_connections import VecConnections
from compozy.errors import DriverError, VectorError
from compozy.vector.checked_records import check_selection, checked
from compozy.vector.metadata_filter import Condition, Scalar, accepted, is_json, metadata_json
from compozy.vector.ranking import best, rounded
from compozy.vector.vector_store import VectorMatch, VectorRecord, packed, unit_vector

if TYPE_CHECKING:
    import apsw

APPLICATION_ID = 0x436F6D56  # "ComV": identifies a file of vectors (https://www.sqlite.org/pragma.html)
_FORMAT = 1
_MOST_NEAREST = 4096  # the largest k of vec0
_PAGE = 500
_LARGEST = 2**63
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS records (rowid INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, text TEXT, metadata TEXT);
CREATE TABLE IF NOT EXISTS store (key TEXT PRIMARY KEY, value);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {_FORMAT};
"""
_NEAREST = """
SELECT records.id, vectors.distance, records.text, records.metadata
FROM vectors JOIN records ON records.rowid = vectors.rowid
WHERE vectors.embedding MATCH ? AND vectors.k = ?
"""
_FILTERED = _NEAREST + " AND vectors.rowid IN (SELECT rowid FROM records WHERE {where})"
_ALL = """
SELECT records.id, vec_distance_cosine(vectors.embedding, ?) AS distance, records.text, records.metadata
FROM vectors JOIN records ON records.rowid = vectors.rowid WHERE {where} ORDER BY distance, records.id LIMIT ?
"""
_EXPORTED = """
SELECT records.id, vectors.embedding, records.text, records.metadata
FROM records JOIN vectors ON vectors.rowid = records.rowid WHERE records.id > ? ORDER BY records.id LIMIT ?
"""
_LISTED = "records.id IN (SELECT value FROM json_each(?))"


class Vec0Store:
    """The vectors in one database; `name` is that of the store, for errors."""

    def __init__(self, connections: VecConnections, name: str, dimension: int | None = None) -> None:
        self._connections = connections
        self._name = name
        with connections.writing() as connection:
            found = connection.execute("PRAGMA user_version").get
            if found > _FORMAT:
                raise DriverError("the vectors were written by a newer version of Compozy", hint="install that version")
            connection.execute(_SCHEMA)
            self._dimension = self._fixed(connection, dimension) if dimension else _stored(connection)

    @property
    def dimension(self) -> int | None:
        """Length of the vectors; None until it is fixed."""
        return self._dimension

    def _fixed(self, connection: apsw.Connection, dimension: int) -> int:
        """Fix the length of the vectors in a transaction, and make their table.

        Raises:
            DriverError: it is fixed already, and another one.
        """
        stored = _stored(connection)
        if stored not in (None, dimension):
            raise wrong_dimension(self._name, stored, dimension)
        if stored is None:
            connection.execute(
                f"CREATE VIRTUAL TABLE vectors USING vec0(embedding float[{dimension}] distance_metric=cosine)"
            )
            connection.execute("INSERT INTO store VALUES ('dimension', ?)", (dimension,))
        return dimension

    def upsert(self, records: Sequence[VectorRecord]) -> None:
        """Write records in one transaction, replacing those with the same ids.

        Raises:
            VectorError: a record cannot be stored.
            DriverError: the database cannot be written.
        """
        found = checked(records, self._dimension)
        if not found:
            return
        with self._connections.writing() as connection:
            dimension = self._dimension or self._first(connection, len(next(iter(found.values())).vector))
            self._write(connection, found)
        # Only after the commit: a transaction that was rolled back has fixed no length.
        self._dimension = dimension

    def _first(self, connection: apsw.Connection, dimension: int) -> int:
        """Return the length of the vectors, which the first writer of several fixes."""
        fixed = _stored(connection) or self._fixed(connection, dimension)
        if fixed != dimension:
            raise VectorError(f"wrong dimension: the vector has {dimension} numbers, the store {fixed}")
        return fixed

    def _write(self, connection: apsw.Connection, found: Mapping[str, VectorRecord]) -> None:
        ids = json.dumps(list(found))
        known = dict(connection.execute(f"SELECT id, rowid FROM records WHERE {_LISTED}", (ids,)))
        # Within the write transaction, so that no other writer takes the same numbers.
        free = connection.execute("SELECT coalesce(max(rowid), 0) + 1 FROM records").get
        new = [record for record in found.values() if record.id not in known]
        old = [record for record in found.values() if record.id in known]
        numbers = {**known, **{record.id: free + at for at, record in enumerate(new)}}
        rows = partial(map, lambda one: (one.text, metadata_json(one.metadata).decode(), one.id, numbers[one.id]))
        vectors = partial(map, lambda record: (packed(record.vector), numbers[record.id]))
        connection.executemany("INSERT INTO records (text, metadata, id, rowid) VALUES (?, ?, ?, ?)", rows(new))
        connection.executemany("INSERT INTO vectors (embedding, rowid) VALUES (?, ?)", vectors(new))
        connection.executemany("UPDATE records SET text = ?, metadata = ?, id = ? WHERE rowid = ?", rows(old))
        connection.executemany("UPDATE vectors SET embedding = ? WHERE rowid = ?", vectors(old))

    def delete(self, ids: Sequence[str] | None = None, where: Mapping[str, Condition] | None = None) -> int:
        """Delete the records with `ids`, or those that match `where`, in one transaction; return how many.

        Raises:
            VectorError: not exactly one of them is given, or a condition cannot be compared.
            DriverError: the database cannot be written.
        """
        check_selection(ids, where)
        sql, values = _matching(where) if ids is None else (_LISTED, [json.dumps(list(ids))])
        with self._connections.writing() as connection:
            numbers = [(number,) for (number,) in connection.execute(f"SELECT rowid FROM records WHERE {sql}", values)]
            if numbers:
                connection.executemany("DELETE FROM vectors WHERE rowid = ?", numbers)
                connection.executemany("DELETE FROM records WHERE rowid = ?", numbers)
        return len(numbers)

    def search(
        self,
        vector: Sequence[float],
        k: int = 10,
        where: Mapping[str, Condition] | None = None,
        min_score: float | None = None,
    ) -> list[VectorMatch]:
        """Return at most `k` records by descending score, those that match `where` and reach `min_score`.

        Raises:
            VectorError: the vector has another length or no direction, or a condition cannot be compared.
            DriverError: the database cannot be read.
        """
        wanted = packed(unit_vector(vector, self._dimension))
        sql, values = _matching(where)
        nearest = _FILTERED if where else _NEAREST

        def fetch(limit: int) -> list[VectorMatch]:
            # vec0 refuses a larger k; the distance function over all rows has no such limit.
            if limit <= _MOST_NEAREST:
                found = connection.execute(nearest.format(where=sql), (wanted, limit, *values))
            else:
                found = connection.execute(_ALL.format(where=sql), (wanted, *values, limit))
            return [
                VectorMatch(id, rounded(1 - distance), text, json.loads(data)) for id, distance, text, data in found
            ]

        if self._dimension is None:
            return []
        with self._connections.reading() as connection:
            return best(fetch, k, min_score)

    def count(self, where: Mapping[str, Condition] | None = None) -> int:
        """Return how many records match `where`, or all.

        Raises:
            VectorError: a condition cannot be compared.
            DriverError: the database cannot be read.
        """
        sql, values = _matching(where)
        with self._connections.reading() as connection:
            return int(connection.execute(f"SELECT count(*) FROM records WHERE {sql}", values).get)

    def peek(self) -> None:
        """Read one record with its vector, if there is one.

        Raises:
            DriverError: the database cannot be read.
        """
        self._page("", 1)

    def export(self) -> Iterator[VectorRecord]:
        """Yield every record, ordered by id; the store can be used meanwhile.

        Raises:
            DriverError: the database cannot be read.
        """
        last = ""
        while page := self._page(last, _PAGE):
            yield from page
            last = page[-1].id

    def _page(self, last: str, limit: int) -> list[VectorRecord]:
        """Return at most `limit` records with ids after `last`, ordered by id."""
        with self._connections.reading() as connection:
            rows: list[Any] = connection.execute(_EXPORTED, (last, limit)).fetchall() if self._dimension else []
        return [VectorRecord(id, array("f", vector), text, json.loads(data)) for id, vector, text, data in rows]


def wrong_dimension(name: str, stored: int | None, dimension: int) -> DriverError:
    """Return the error of a store that is configured for vectors of another length than it holds."""
    return DriverError(
        f"wrong dimension: {name} holds vectors of {stored} numbers, and its dimension is {dimension}",
        hint=f"set dimension: {stored}; or name another collection, and ingest the documents again",
    )


def _stored(connection: apsw.Connection) -> int | None:
    found = connection.execute("SELECT value FROM store WHERE key = 'dimension'").get
    return None if found is None else int(found)


def _matching(where: Mapping[str, Condition] | None) -> tuple[str, list[object]]:
    """Return the SQL condition on `records.metadata` for a filter, and its values."""
    parts, values = ["1"], list[object]()
    for key, condition in (where or {}).items():
        tests = [_test(value) for value in accepted(condition) if is_json(key)]
        any_of = " OR ".join(sql for sql, _ in tests) or "0"
        parts.append(f"EXISTS (SELECT 1 FROM json_each(records.metadata) AS m WHERE m.key = ? AND ({any_of}))")
        values += [key if tests else "", *(value for _, given in tests for value in given)]
    return " AND ".join(parts), values


def _test(value: Scalar) -> tuple[str, list[object]]:
    """Return a comparison of a metadata value by its JSON type (https://www.sqlite.org/json1.html#jeach)."""
    if value is None or isinstance(value, bool):
        return f"m.type = '{json.dumps(value)}'", []
    if isinstance(value, str):
        return "(m.type = 'text' AND m.value = ?)", [value]
    # SQLite takes integers of 64 bits only.
    bound = float(value) if isinstance(value, int) and not -_LARGEST <= value < _LARGEST else value
    return "(m.type IN ('integer', 'real') AND m.value = ?)", [bound]
