"""The places of starts: a bound while starts succeed, none in an outage."""

from __future__ import annotations

import asyncio

from compozy.workflows.start_places import StartPlaces


def test_places_bound_the_starts_at_once() -> None:
    most = 0

    async def start(places: StartPlaces, running: set[int], number: int) -> None:
        nonlocal most
        async with places.place():
            running.add(number)
            most = max(most, len(running))
            await asyncio.sleep(0)
            running.discard(number)

    async def burst() -> None:
        places, running = StartPlaces(2, stalled_s=60), set[int]()
        await asyncio.gather(*(start(places, running, number) for number in range(20)))

    asyncio.run(burst())
    assert most == 2


def test_start_takes_no_place_while_starts_stall() -> None:
    async def outage() -> None:
        places = StartPlaces(1, stalled_s=0.01)
        async with places.place(), asyncio.timeout(30), places.place():
            pass
        async with asyncio.timeout(30), places.place():
            pass

    asyncio.run(outage())
