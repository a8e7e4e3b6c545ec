"""Run one thing for ever, again whenever it ends, and tell whether that works.

What comes in: what to run. What goes out: its health. One failure is no news, because the next attempt may do; what
fails again and again is. Nothing here knows Temporal.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

_POLL_S = 0.05

log = logging.getLogger("compozy.worker")


@dataclass(frozen=True, slots=True)
class Health:
    """Whether it works, and when it does not, why."""

    healthy: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient to be, in seconds.

    `restart_s` lies between two attempts; what has worked for `steady_s` has no failures behind it; failures without
    such a time between them are told after `patience_s`, which gives two attempts the time to become steady.
    """

    restart_s: float = 1.0
    steady_s: float = 2.0
    patience_s: float = 6.0


USUAL = Pace()


class Restarted:
    """One thing that is run again whenever it ends; lives on one event loop, its health may be asked from anywhere."""

    def __init__(
        self,
        attempt: Callable[[], Coroutine[Any, Any, None]],
        works: Callable[[], bool],
        expected: tuple[type[Exception], ...],
        pace: Pace = USUAL,
    ) -> None:
        """Prepare to run `attempt`; `works` tells that the one at hand works now.

        Errors that are `expected` are logged without a traceback.
        """
        self._attempt = attempt
        self._works = works
        self._expected = expected
        self._pace = pace
        self._failing_since: float | None = None
        self._ending = False
        self.error: str | None = None

    @property
    def health(self) -> Health:
        """Tell whether it works, or may be expected to in a moment."""
        since = self._failing_since
        if since is None or time.monotonic() - since < self._pace.patience_s:
            return Health(True)
        return Health(False, self.error)

    def end(self) -> None:
        """Let the end of the present attempt be the last one."""
        self._ending = True

    async def run(self) -> None:
        """Run it until `end`, or until this is cancelled."""
        while True:
            steadying = asyncio.create_task(self._steady())
            try:
                outcomes: tuple[BaseException | None] = await asyncio.gather(self._attempt(), return_exceptions=True)
            finally:
                steadying.cancel()
            if self._ending:
                return
            self._failed(outcomes[0])
            await asyncio.sleep(self._pace.restart_s)

    async def _steady(self) -> None:
        """Forget the failures when the attempt turns out to work."""
        while not self._works():
            await asyncio.sleep(_POLL_S)
        await asyncio.sleep(self._pace.steady_s)
        self._failing_since = self.error = None

    def _failed(self, error: BaseException | None) -> None:
        self.error = "it ended by itself" if error is None else _short(error)
        if self._failing_since is None:
            self._failing_since = time.monotonic()
        bug = error is not None and not isinstance(error, self._expected)
        log.error("worker.failed", extra={"reason": self.error}, exc_info=error if bug else None)


def _short(error: BaseException) -> str:
    """Return the message without the backtrace that Temporal's core appends, on one line."""
    return " ".join(str(error).partition("Stack backtrace")[0].split()) or type(error).__name__
