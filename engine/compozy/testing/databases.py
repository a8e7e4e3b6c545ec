"""Create databases for tests as copies of a template, in a few milliseconds, on any PostgreSQL server."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from compozy.errors import DriverError

if TYPE_CHECKING:
    from psycopg2.extensions import connection

# The first version that knows strategies of copying.
_CHOICE = 150000
_CONNECT_S = 5


class Databases:
    """Creates and drops databases; safe to use from several threads.

    `url` is that of any database of the server.
    """

    def __init__(self, url: str = "") -> None:
        self._url = url
        self._connection: connection | None = None
        self._templates: set[str] = set()
        self._lock = threading.RLock()

    def __enter__(self) -> Databases:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The URL of a database of the server; it holds the password."""
        return self._url

    def url_of(self, database: str) -> str:
        """Return the URL of a database; it holds the password."""
        return urlsplit(self.url)._replace(path=f"/{quote(database, safe='')}").geturl()

    def create_database(self, name: str | None = None, *, template: str = "template1") -> str:
        """Create a database and return its name; None makes one up.

        Raises:
            DriverError: it exists, or the server does not run or refuses.
        """
        chosen = name or f"compozy_{uuid.uuid4().hex[:16]}"
        with self._lock:
            strategy = " STRATEGY file_copy" if self._administrator().server_version >= _CHOICE else ""
            self._administer(f"CREATE DATABASE {_quoted(chosen)} TEMPLATE {_quoted(template)}{strategy}")
        return chosen

    def drop_database(self, name: str) -> None:
        """Drop a database and its connections; a missing one is accepted.

        Raises:
            DriverError: the server does not run or refuses.
        """
        self._administer(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    def template(self, name: str, prepare: Callable[[str], None]) -> str:
        """Return `name`, a database that `prepare` filled; it gets the URL once, on the first call.

        `prepare` must close its connections: a database in use cannot be copied.
        """
        with self._lock:
            if name not in self._templates:
                self.create_database(name)
                self._templates.add(name)
                try:
                    prepare(self.url_of(name))
                except BaseException:
                    self._templates.discard(name)
                    self.drop_database(name)
                    raise
        return name

    @contextlib.contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Yield the URL of a fresh copy of `template`, and drop it afterwards."""
        name = self.create_database(template=template)
        try:
            yield self.url_of(name)
        finally:
            if self.running():
                self.drop_database(name)

    def running(self) -> bool:
        """Return True if databases can be dropped; a foreign server counts as running."""
        return True

    def close(self) -> None:
        """Drop the templates and disconnect; idempotent."""
        templates, self._templates = self._templates, set()
        for name in templates:
            self.drop_database(name)
        self.disconnect()

    def disconnect(self) -> None:
        """Close the administrator's connection; the next operation opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _administer(self, statement: str) -> None:
        import psycopg2

        with self._lock:
            try:
                with self._administrator().cursor() as cursor:
                    cursor.execute(statement)
            except psycopg2.Error as error:
                raise DriverError(f"{statement}: {str(error).strip()}") from error

    def _administrator(self) -> connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
            self._connection.autocommit = True
        return self._connection

    def _connect(self) -> connection:
        import psycopg2

        try:
            return psycopg2.connect(self.url, connect_timeout=_CONNECT_S)
        except psycopg2.OperationalError as error:
            raise DriverError(f"the PostgreSQL for tests cannot be reached: {str(error).strip()}") from error


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
