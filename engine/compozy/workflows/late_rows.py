"""Rows of executions that Temporal accepted and that are not in the database yet.

Those that could not be written are kept until they can be. Their number is bounded; at the bound nothing more is
started.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from compozy.store import Execution, Store, UnavailableError

# Bounds what is lost if this process is killed before the database answers again, and its memory.
MOST_ROWS = 100

InThread = Callable[..., Awaitable[object]]


class LateRows:
    """Lives on one event loop; `in_thread` runs a store call off the loop."""

    def __init__(self, store: Store, in_thread: InThread) -> None:
        self._store = store
        self._in_thread = in_thread
        self._rows: dict[str, Execution] = {}
        self._starting: dict[str, Execution] = {}

    @contextmanager
    def starting(self, row: Execution) -> Iterator[None]:
        """Register a row that is about to be written, within the block."""
        self._starting[row.id] = row
        try:
            yield
        finally:
            self._starting.pop(row.id, None)

    def add(self, row: Execution) -> None:
        """Keep a row until it is written."""
        self._rows[row.id] = row

    def get(self, execution_id: str) -> Execution | None:
        """Return the row of an execution that waits, or None."""
        return self._rows.get(execution_id) or self._starting.get(execution_id)

    def forget(self, execution_id: str) -> None:
        """Drop a row that is in the database."""
        self._rows.pop(execution_id, None)

    def require_room(self) -> None:
        """Refuse to start another execution while too many rows wait.

        Raises:
            UnavailableError: as many rows wait as are kept.
        """
        if len(self._rows) >= MOST_ROWS:
            raise UnavailableError("database", f"{len(self._rows)} executions wait for their rows to be written")

    async def write(self) -> None:
        """Write the rows that wait; a row that was written meanwhile stays as it is.

        Raises:
            UnavailableError: the database cannot be written.
        """
        # A copy: rows are added while a write is awaited.
        for row in list(self._rows.values()):
            await self._in_thread(self._store.record_started, row)
            self.forget(row.id)
