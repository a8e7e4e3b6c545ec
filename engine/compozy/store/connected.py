"""Run queries on the connection of the calling thread, or on one that is opened for their duration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import peewee
from playhouse.pool import MaxConnectionsExceeded

from compozy.store.refusal import refused

Result = TypeVar("Result")


class SqlTable(peewee.Table):
    """A table; its columns are attributes, which the stubs of the library leave out."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> peewee.Column: ...


class Connected:
    """A database whose failures are translated; safe to use from several threads at once."""

    def __init__(self, database: peewee.Database) -> None:
        self._database = database

    def _run(self, operation: Callable[[], Result]) -> Result:
        """Return the result of queries.

        Raises:
            UnavailableError: the database does not answer, or refuses.
        """
        try:
            return self._connected(operation)
        except (peewee.DatabaseError, peewee.InterfaceError, MaxConnectionsExceeded) as error:
            refusal = refused(error)
            # An error that is not classified is a fault of the program and keeps its traceback.
            if refusal is None:
                raise
            raise refusal from error

    def _atomic(self, operation: Callable[[], Result]) -> Result:
        """Return the result of queries in one transaction; raises UnavailableError."""

        def together() -> Result:
            with self._database.atomic():
                return operation()

        return self._run(together)

    def _connected(self, operation: Callable[[], Result]) -> Result:
        # A nested call uses the connection, and the transaction, of the outer one; only the outermost call returns it.
        opened = self._database.connect(reuse_if_open=True)
        try:
            return operation()
        finally:
            if opened:
                self._database.close()


def storable(text: str) -> bool:
    """Return True if a row can hold a text: no database takes lone surrogates, PostgreSQL no zero bytes."""
    return "\0" not in text and text.encode(errors="replace").decode() == text
