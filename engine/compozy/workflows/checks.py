"""Run checks of what clients send on threads of their own, a bounded number at a time.

A check works on up to a few megabytes and takes up to seconds. On the event loop it would hold up every other request;
on the threads of the store it would hold up the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from compozy.errors import DriverError

THREADS = 2
# Far above a burst of usual requests, of which each takes a millisecond.
MOST_CHECKS = 128

Result = TypeVar("Result")


class BusyError(DriverError):
    """More checks are waiting than are accepted; the same request may succeed later."""

    id = "checks.busy"


class Checks:
    """The threads; every coroutine runs on one event loop."""

    def __init__(self, most: int = MOST_CHECKS) -> None:
        self._most = most
        self._open = 0
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="compozy-checks")

    def close(self) -> None:
        """Release the threads; idempotent."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, check: Callable[..., Result], *arguments: object) -> Result:
        """Return what `check` returns.

        Raises:
            BusyError: `most` checks are waiting or at work.
        """
        if self._open >= self._most:
            raise BusyError(f"{self._most} checks of definitions and inputs are waiting", hint="try again later")
        self._open += 1
        # A caller that is cancelled leaves its check running, which therefore counts until it ends.
        running = asyncio.get_running_loop().run_in_executor(self._threads, lambda: check(*arguments))
        running.add_done_callback(self._ended)
        return await asyncio.shield(running)

    def _ended(self, running: asyncio.Future[Result]) -> None:
        self._open -= 1
        if not running.cancelled():
            # Retrieved, or asyncio would log it: the caller may have ended.
            running.exception()
