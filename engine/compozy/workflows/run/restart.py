"""Run a coroutine with restarts; report unhealthy only after `patience_s` of continuous failures.

A single failure does not make it unhealthy, because the next attempt may succeed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine

from compozy.base.record import dataclass

_POLL_S = 0.05

log = logging.getLogger("compozy.worker")


@dataclass(frozen=True, slots=True)
class Health:
    """Health of the coroutine; `error` is the reason if it is unhealthy."""

    healthy: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """Intervals of the restart policy, in seconds.

    `restart_s` is the pause between two attempts. An attempt that works for `steady_s` resets the failures. Failures
    that are not reset are reported after `patience_s`, which gives two attempts the time to become steady.
    """

    restart_s: float = 1.0
    steady_s: float = 2.0
    patience_s: float = 6.0


USUAL = Pace()


class Restarted:
    """A coroutine that is restarted when it ends; it runs on one event loop, `health` may be read from any thread."""

    def __init__(
        self,
        attempt: Callable[[], Coroutine[object, object, None]],
        works: Callable[[], bool],
        expected: tuple[type[Exception], ...],
        pace: Pace = USUAL,
    ) -> None:
        """Prepare to run `attempt`; `works` returns True while the present attempt works.

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
        """The health; a failure counts only after `patience_s`."""
        since = self._failing_since
        if since is None or time.monotonic() - since < self._pace.patience_s:
            return Health(True)
        return Health(False, self.error)

    def end(self) -> None:
        """Do not restart after the present attempt."""
        self._ending = True

    async def run(self) -> None:
        """Run it until `end`, or until this is cancelled."""
        while True:
            # Success shows only by time: a worker that connects and fails at once would otherwise count as recovered
            # each time.
            steadying = asyncio.create_task(self._steady())
            try:
                # `gather` hands every failure over as a value, that of foreign code included, but a cancellation of
                # this task passes.
                outcomes: tuple[BaseException | None] = await asyncio.gather(self._attempt(), return_exceptions=True)
            finally:
                steadying.cancel()
            if self._ending:
                return
            self._failed(outcomes[0])
            await asyncio.sleep(self._pace.restart_s)

    async def _steady(self) -> None:
        """Reset the failures once the attempt has worked for `steady_s`."""
        while not self._works():
            await asyncio.sleep(_POLL_S)
        await asyncio.sleep(self._pace.steady_s)
        self._failing_since = self.error = None

    def _failed(self, error: BaseException | None) -> None:
        self.error = "it ended by itself" if error is None else _short(error)
        # The first failure of a series counts: a later one must not extend the patience.
        if self._failing_since is None:
            self._failing_since = time.monotonic()
        # A traceback is for a fault of this program; an outage of a service is reported in one line.
        bug = error is not None and not isinstance(error, self._expected)
        log.error("worker.failed", extra={"reason": self.error}, exc_info=error if bug else None)


def _short(error: BaseException) -> str:
    """Return the message without the backtrace that Temporal's core appends, on one line."""
    return " ".join(str(error).partition("Stack backtrace")[0].split()) or type(error).__name__
