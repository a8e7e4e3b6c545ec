"""Close the pooled connections of threads that have ended.

A thread that ends without closing its connection would keep it in the pool's list of used connections for ever.
"""

from __future__ import annotations

import threading
from typing import Any

from playhouse.pool import PooledDatabase


class ThreadConnections(PooledDatabase):
    """A pool that knows which thread uses which connection."""

    def __init__(self, name: str, **options: Any) -> None:
        self._owners: dict[int, threading.Thread] = {}
        super().__init__(name, **options)

    def close_unused(self) -> None:
        """Close the connections that no living thread uses."""
        with self._pool_lock:
            self._reclaim()
            self.close_idle()

    def _connect(self) -> object:
        with self._pool_lock:
            self._reclaim()
            connection = super()._connect()
            self._owners[id(connection)] = threading.current_thread()
            return connection

    def _reclaim(self) -> None:
        """Close the connections of threads that have ended; needs the lock of the pool."""
        # The end of a thread gives no signal, so it is looked for whenever a connection is asked for.
        for key in [key for key, owner in self._owners.items() if not owner.is_alive()]:
            del self._owners[key]
            if key in self._in_use:
                self._close_raw(self._in_use.pop(key).connection)

    def _close(self, connection: Any, close_conn: bool = False) -> None:
        self._owners.pop(id(connection), None)
        super()._close(connection, close_conn)
