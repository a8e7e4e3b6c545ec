"""Announce within one process that rows of an execution were written.

A caller that waits for an execution of this process's worker learns its end without asking Temporal or the database,
and a start learns that it paused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

from compozy.store import Execution

# Most executions take less, so that Temporal is not asked for them at all.
ANNOUNCED_S = 0.25
# Executions share the processor: each further one that is waited for delays the others.
_EACH_S = 0.02


class Ends:
    """The executions with waiting callers; a future lives as long as a caller holds it. Lives on one event loop."""

    def __init__(self) -> None:
        self._futures: WeakValueDictionary[str, asyncio.Future[Execution]] = WeakValueDictionary()
        self._first: WeakValueDictionary[str, asyncio.Future[Execution]] = WeakValueDictionary()

    def future(self, execution_id: str) -> asyncio.Future[Execution]:
        """Return the future of the final row of an execution, if it is written from now on."""
        return _future(self._futures, execution_id)

    def first(self, execution_id: str) -> asyncio.Future[Execution]:
        """Return the future of the next row of an execution that is written: that of a pause, or the final one."""
        return _future(self._first, execution_id)

    def patience_s(self, least_s: float) -> float:
        """Return how long to wait for an announcement before something is done that most executions do not need."""
        return least_s + _EACH_S * len(self._futures)

    def announce(self, row: Execution) -> None:
        """Set the futures of an execution that callers wait for; a later run of the same id gets others."""
        for futures in (self._first, self._futures) if row.finished else (self._first,):
            # Removed first: a reset gives the same id a further run, which needs a new future.
            future = futures.pop(row.id, None)
            if future is not None:
                future.set_result(row)


def _future(
    futures: WeakValueDictionary[str, asyncio.Future[Execution]], execution_id: str
) -> asyncio.Future[Execution]:
    found = futures.get(execution_id)
    if found is None:
        found = futures[execution_id] = asyncio.get_running_loop().create_future()
    return found


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
        # Awaited, because the end of a cancelled task may raise, which would be logged as never retrieved.
        await asyncio.gather(asking, return_exceptions=True)
