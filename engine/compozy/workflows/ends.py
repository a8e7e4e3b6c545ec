"""Announce within one process that the final row of an execution was written.

A caller that waits for an execution of this process's worker learns its end without asking Temporal. One event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

ANNOUNCED_S = 0.25  # most executions take less


class Ends:
    """The executions with waiting callers; an event lives as long as a caller holds it."""

    def __init__(self) -> None:
        self._events: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    def event(self, execution_id: str) -> asyncio.Event:
        """Return the event that is set when the final row of an execution has been written from now on."""
        return self._events.setdefault(execution_id, asyncio.Event())

    def announce(self, execution_id: str) -> None:
        """Set the event of an execution, if a caller waits for it; a later run of the same id gets another one."""
        event = self._events.pop(execution_id, None)
        if event is not None:
            event.set()


async def announced_or(event: asyncio.Event | None, ask: Callable[[], Awaitable[None]]) -> None:
    """Wait for `event`, and after `ANNOUNCED_S` also for `ask`: another process may run the execution.

    Without an event only `ask` is awaited.
    """
    if event is None:
        return await ask()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ANNOUNCED_S):
            await event.wait()
            return None
    ways = [asyncio.ensure_future(ask()), asyncio.ensure_future(event.wait())]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        await done.pop()
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
