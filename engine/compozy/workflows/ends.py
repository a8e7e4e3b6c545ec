"""Announce within one process that the final row of an execution was written.

A caller that waits for an execution of this process's worker learns its end without asking Temporal. One event loop.
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary


class Ends:
    """The executions that are waited for; an event lives as long as somebody waits for it."""

    def __init__(self) -> None:
        self._events: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    def event(self, execution_id: str) -> asyncio.Event:
        """Return the event that is set when the final row of an execution has been written from now on."""
        return self._events.setdefault(execution_id, asyncio.Event())

    def announce(self, execution_id: str) -> None:
        """Set the event of an execution, if one is waited for; a later run of the same id gets another one."""
        event = self._events.pop(execution_id, None)
        if event is not None:
            event.set()
