"""Bound the executions that are started at once, as long as starts succeed.

In an outage a start is refused after seconds; in a line of starts the last one would be refused minutes later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

STALLED_S = 1.0


class StartPlaces:
    """A number of places; while nothing has been started for `stalled_s`, none is needed. Lives on one event loop."""

    def __init__(self, count: int, stalled_s: float = STALLED_S) -> None:
        self._places = asyncio.Semaphore(count)
        self._stalled_s = stalled_s
        self._succeeded = 0.0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place within the block; a block that ends without an exception is a start that succeeded."""
        taken = await self._take()
        try:
            yield
            self._succeeded = asyncio.get_running_loop().time()
        finally:
            if taken:
                self._places.release()

    async def _take(self) -> bool:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._stalled_s):
                    return await self._places.acquire()
            if asyncio.get_running_loop().time() - self._succeeded > self._stalled_s:
                return False
