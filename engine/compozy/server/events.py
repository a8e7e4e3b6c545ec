"""Publish changes of executions and of component health as server-sent events.

One task compares the database and the health with what it saw before, while there are streams. It reads instead of
being notified, so that executions of other servers and workers on the same database appear too. The newest events are
retained: a client that reconnects with `Last-Event-ID` misses nothing, or learns from `reset` to read the lists again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta

from compozy.base.record import dataclass
from compozy.client.answers import ComponentHealth, HealthAnswer, WorkerHealth
from compozy.store import UnavailableError
from compozy.store.records import RUNNING, Change, timestamp

# Bounds memory; a client that missed more reads the lists again after `reset`.
RETAINED = 1000  # events
MOST_STREAMS = 100
POLL_S = 0.5
HEARTBEAT_S = 15.0
# Within this time after its start, at most, the row of an execution appears.
LATE = timedelta(seconds=10)
log = logging.getLogger("compozy.server")
_KEYS = ("mode", "driver", "healthy", "error")

ReadChanges = Callable[[str, Collection[str]], Awaitable[tuple[Change, ...]]]
ReadHealth = Callable[[], Awaitable[HealthAnswer]]


@dataclass(frozen=True, slots=True)
class Event:
    """One change; `number` counts from 1 in this process, `subject` is the id of an execution or a component."""

    number: int
    kind: str
    subject: str
    data: Mapping[str, object]


class Events:
    """The changes that one server publishes; lives on its event loop.

    `changes` is `Service.changes`; `health` returns the health.
    """

    def __init__(self, changes: ReadChanges, health: ReadHealth) -> None:
        self._read_changes = changes
        self._read_health = health
        self._since = timestamp()
        self._epoch = secrets.token_hex(4)
        self._number = 0
        self._retained: deque[Event] = deque(maxlen=RETAINED)
        self._executions: dict[str, Change] = {}
        self._components: Mapping[str, Mapping[str, object]] | None = None
        self._news = asyncio.Event()
        self._streams = 0
        self._following: asyncio.Task[None] | None = None
        self._failing = False

    @property
    def full(self) -> bool:
        """Return True while no further stream can be opened."""
        return self._streams >= MOST_STREAMS

    async def stream(self, last_id: str | None, execution: str | None, stopping: asyncio.Event) -> AsyncIterator[str]:
        """Yield events as text until `stopping` is set, those after `last_id` first; with `execution` only its own."""
        self._streams += 1
        try:
            await self._begin()
            sent = self._resumed(last_id)
            yield ": connected\n\n" if sent is not None else _block("reset", {})
            sent = self._number if sent is None else sent
            while not stopping.is_set():
                # Taken before the events are sent: a publication during a `yield` sets this one, and the wait returns
                # at once.
                news = self._news
                # The client read so slowly that events were dropped.
                if self._retained and self._retained[0].number > sent + 1:
                    sent = self._number
                    yield _block("reset", {})
                for event in [event for event in self._retained if event.number > sent]:
                    sent = event.number
                    if execution in (None, event.subject):
                        yield _block(event.kind, event.data, f"{self._epoch}-{event.number}")
                if self._number == sent and not await _either(news, stopping):
                    # A comment of the protocol: it keeps proxies from closing an idle stream and shows a client that
                    # has ended.
                    yield ": alive\n\n"
        finally:
            self._streams -= 1
            if not self._streams and self._following is not None:
                self._following.cancel()
                self._following = None

    def _resumed(self, last_id: str | None) -> int | None:
        """Return the number of the last event that a client has, None when later ones are not retained."""
        if last_id is None:
            return self._number
        # The epoch separates processes: after a restart the numbers begin anew and an old id must not match.
        numbers = {f"{self._epoch}-{event.number}": event.number for event in self._retained}
        return numbers.get(last_id)

    async def _begin(self) -> None:
        if self._following is None:
            # Polling costs nothing while no client listens; the first stream starts it and the last one ends it.
            self._following = asyncio.create_task(self._follow(), name="compozy events")
            await self._look()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            await self._look()

    async def _look(self) -> None:
        """Publish what differs from what was seen before, and wake the streams; a bug is logged at its first time."""
        before, failing = self._number, False
        try:
            await self._observe()
        except Exception as error:  # noqa: BLE001 - without this task, open streams would wait for ever
            failing = True
            if not self._failing:
                log.error("events.failed", exc_info=error)
        self._failing = failing
        if self._number > before:
            # Set and replaced, so that each waiting stream wakes once and none has to clear the event for others.
            self._news.set()
            self._news = asyncio.Event()

    async def _observe(self) -> None:
        # An outage is an event of its own: the health below reports it.
        with suppress(UnavailableError):
            # Rows appear a moment after the start of their executions, also with clocks of several machines; what was
            # seen already is recognised by its content and not published twice.
            since = timestamp(datetime.fromisoformat(self._since) - LATE)
            running = [seen.id for seen in self._executions.values() if seen.status == RUNNING]
            for change in await self._read_changes(since, running):
                self._note_execution(change)
            self._executions = {
                name: seen
                for name, seen in self._executions.items()
                if seen.status == RUNNING or seen.started_at >= since
            }
        self._note_health(await self._read_health())

    def _note_execution(self, change: Change) -> None:
        if self._executions.get(change.id) != change:
            self._executions[change.id] = change
            self._since = max(self._since, change.started_at)
            self._publish("execution", change.id, asdict(change))

    def _note_health(self, health: HealthAnswer) -> None:
        parts: dict[str, ComponentHealth | WorkerHealth] = {**health.components, "worker": health.worker}
        now = {name: {key: getattr(part, key) for key in _KEYS if hasattr(part, key)} for name, part in parts.items()}
        seen, self._components = self._components, now
        for name, part in now.items():
            if seen is not None and part != seen.get(name):
                self._publish("component", name, {"component": name, **part})

    def _publish(self, kind: str, subject: str, data: Mapping[str, object]) -> None:
        self._number += 1
        self._retained.append(Event(self._number, kind, subject, data))


async def _either(*events: asyncio.Event) -> bool:
    """Wait until one of them is set; return False after `HEARTBEAT_S`."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waiting, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for waiter in waiting:
            waiter.cancel()


def _block(kind: str, data: Mapping[str, object], event_id: str = "") -> str:
    named = f"id: {event_id}\n" if event_id else ""
    return f"event: {kind}\n{named}data: {json.dumps(data)}\n\n"
