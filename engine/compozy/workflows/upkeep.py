"""Keep rows in step with Temporal for as long as workflows are open.

A correction that fails is logged and tried again; a bug is logged with its traceback and ends one round, never the
upkeep.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from compozy.errors import CompozyError
from compozy.store import Pruned

INTERVAL_S = 15.0
PRUNE_INTERVAL_S = 3600.0
# Temporal updates its index of executions asynchronously.
ADOPTION_DELAY_S = 1.0

log = logging.getLogger("compozy.workflows")


class Rows(Protocol):
    """Corrects rows; `reconcile` and `adopt` return the ids of the corrected executions."""

    async def reconcile(self) -> tuple[str, ...]:
        """Correct the rows with status running whose execution does not run in Temporal."""
        ...

    async def prune(self) -> Pruned:
        """Delete the executions that are older than the retention."""
        ...

    async def adopt(self) -> tuple[str, ...]:
        """Correct the rows of executions that were changed from outside."""
        ...


class Upkeep:
    """The upkeep of rows; lives on one event loop."""

    def __init__(
        self, rows: Rows, *, interval_s: float = INTERVAL_S, adoption_delay_s: float = ADOPTION_DELAY_S
    ) -> None:
        """Prepare to reconcile at once and each `interval_s`, and to adopt `adoption_delay_s` later each time."""
        self._rows = rows
        self._interval_s = interval_s
        self._adoption_delay_s = adoption_delay_s
        self._stopped = False
        self._prune_at = 0.0
        self._round: asyncio.Task[None] | None = None
        self._later: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin with the first round."""
        self._begin()

    async def stop(self) -> None:
        """End what is under way; idempotent."""
        self._stopped = True
        if self._later is not None:
            self._later.cancel()
        if self._round is not None:
            self._round.cancel()
            # `wait` does not raise what the round ended with, a cancellation included.
            await asyncio.wait([self._round])

    def _begin(self) -> None:
        self._round = asyncio.create_task(self._correct(), name="compozy upkeep")
        # The next round begins after the end of this one, so that a slow database never has two at once.
        self._round.add_done_callback(self._ended)

    def _ended(self, done: asyncio.Task[None]) -> None:
        """Log a failure, and schedule the next round."""
        if self._stopped or done.cancelled():
            return
        bug = done.exception()
        if bug is not None:
            log.error("upkeep.failed", exc_info=bug)
        self._later = asyncio.get_running_loop().call_later(self._interval_s, self._begin)

    async def _correct(self) -> None:
        # Apart from each other: a failure of one correction must not keep the others from running.
        await self._try(self._rows.reconcile)
        # Temporal's index of executions is a moment behind what was just corrected.
        await asyncio.sleep(self._adoption_delay_s)
        await self._try(self._rows.adopt)
        now = asyncio.get_running_loop().time()
        if now >= self._prune_at:
            self._prune_at = now + PRUNE_INTERVAL_S
            await self._try(self._prune)

    async def _prune(self) -> tuple[str, ...]:
        pruned = await self._rows.prune()
        if pruned.count:
            log.info("executions.pruned", extra={"count": pruned.count, "before": pruned.before})
        return ()

    async def _try(self, correct: Callable[[], Awaitable[tuple[str, ...]]]) -> None:
        try:
            corrected = await correct()
        except CompozyError as error:
            log.warning("rows.not_reconciled", extra={"reason": error.message})
            return
        if corrected:
            log.info("rows.reconciled", extra={"executions": corrected})
