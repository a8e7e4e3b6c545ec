"""The interface between task types and what runs them: Temporal, or a fake in tests.

Everything that a task does beyond computing goes through an `Engine`, so that executions can be replayed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from compozy.base.record import dataclass
from compozy.workflows.model.definition import Retry
from compozy.workflows.model.scope import Scope

Block = Callable[[], Awaitable[object]]


class TaskError(Exception):
    """A task that fails; `path` leads to the value of the definition that is to blame, empty for the task itself."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


class CallError(Exception):
    """An activity whose last attempt failed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an activity; `timeout_s` bounds one attempt, `argument` is JSON."""

    activity: str
    argument: Mapping[str, object]
    timeout_s: float
    retry: Retry


class Engine(Protocol):
    """The operations of a running task; a cancellation of the execution raises `asyncio.CancelledError` in each."""

    async def call(self, call: Call) -> object:
        """Return the JSON that an activity answers.

        Raises:
            CallError: the last attempt failed.
        """
        ...

    async def sleep(self, seconds: float) -> None:
        """Pause durably."""
        ...

    async def wait_signal(self, name: str, timeout_s: float | None = None) -> object:
        """Return the payload of the oldest signal of this name that no task has taken, and take it.

        Raises:
            TimeoutError: none arrived within `timeout_s`.
        """
        ...

    async def concurrently(self, blocks: Sequence[Block], most: int) -> list[object]:
        """Run blocks, at most `most` at once, and return their results in order.

        The first exception of a block cancels the others and is raised once they have ended.
        """
        ...

    async def evaluate(self, value: object, scope: Scope, path: str, *, expression: bool = False) -> object:
        """Return `value` with its templates rendered, or that of an expression; `path` leads to it in the definition.

        Raises:
            TaskError: a template or the expression fails.
        """
        ...


async def run_concurrently(blocks: Sequence[Block], most: int) -> list[object]:
    """Implement `Engine.concurrently` for any event loop; blocks start in their order."""
    results: list[object] = [None] * len(blocks)
    # Shared by the workers: each takes the next block when it is free, so that blocks start in their order.
    waiting = iter(enumerate(blocks))

    async def work() -> None:
        for position, block in waiting:
            results[position] = await block()

    workers = [asyncio.ensure_future(work()) for _ in range(min(most, len(blocks)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        # Awaited, so that no block still runs when the failure is raised.
        await asyncio.gather(*workers, return_exceptions=True)
    return results
