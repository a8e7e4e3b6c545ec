"""Announce within one process that the final row of an execution was written.

A caller that waits for an execution of this process's worker learns its end without asking Temporal or the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

from compozy.store import Execution

ANNOUNCED_S = 0.25  # most executions take less
_EACH_S = 0.02  # each further execution that is waited for makes the others take longer


class Ends:
    """The executions with waiting callers; a future lives as long as a caller holds it. Lives on one event loop."""

    def __init__(self) -> None:
        self._futures: WeakValueDictionary[str, asyncio.Future[Execution]] = WeakValueDictionary()

    def future(self, execution_id: str) -> asyncio.Future[Execution]:
        """Return the future of the final row of an execution, if it is written from now on."""
        found = self._futures.get(execution_id)
        if found is None:
            found = self._futures[execution_id] = asyncio.get_running_loop().create_future()
        return found

    def patience_s(self, least_s: float) -> float:
        """Return how long to wait for an announcement before something is done that most executions do not need."""
        return least_s + _EACH_S * len(self._futures)

    def announce(self, row: Execution) -> None:
        """Set the future of an execution, if a caller waits for it; a later run of the same id gets another one."""
        future = self._futures.pop(row.id, None)
        if future is not None:
            future.set_result(row)


async def announced_or(
    future: asyncio.Future[Execution] | None, patience_s: float, ask: Callable[[], Awaitable[None]]
) -> Execution | None:
    """Wait for `future`, and after `patience_s` also for `ask`: another process may run the execution.

    Return the announced row, or None when `ask` was first. Without a future only `ask` is awaited.
    """
    if future is None:
        await ask()
        return None
    await asyncio.wait([future], timeout=patience_s)
    if future.done():
        return future.result()
    asking: asyncio.Future[None] = asyncio.ensure_future(ask())
    ways: list[asyncio.Future[Execution] | asyncio.Future[None]] = [future, asking]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        await asking
        return None
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
