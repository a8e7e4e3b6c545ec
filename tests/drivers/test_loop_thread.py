"""The event loop of the drivers: calls from other threads end with it."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.polling import DEADLINE_S, eventually

from compozy.drivers.protocol import LoopThread
from compozy.errors import DriverError

FOR_EVER_S = 86400.0


class Closing(LoopThread):
    """A loop that has stopped and is not closed yet until it may."""

    def __init__(self) -> None:
        self.stopped, self.may_close = threading.Event(), threading.Event()
        super().__init__()

    def _end_tasks(self) -> None:
        super()._end_tasks()
        self.stopped.set()
        self.may_close.wait(DEADLINE_S)


async def answer() -> int:
    return 42


def test_call_while_the_loop_closes_ends_with_it() -> None:
    """It came after the loop had stopped and before it was closed: nothing would ever run it."""
    loop = Closing()
    with ThreadPoolExecutor(2) as pool:
        closing = pool.submit(loop.close)
        assert loop.stopped.wait(DEADLINE_S)
        call = pool.submit(loop.call, answer(), FOR_EVER_S)
        eventually(lambda: len(loop._calls) == 1, "the call")
        loop.may_close.set()
        with pytest.raises(DriverError, match="it was stopped"):
            call.result(DEADLINE_S)
        closing.result(DEADLINE_S)


def test_running_call_ends_with_the_loop() -> None:
    """The event that it waits for never occurs."""
    loop = LoopThread()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(loop.call, asyncio.sleep(FOR_EVER_S), FOR_EVER_S)
        eventually(lambda: len(loop._calls) == 1, "the call")
        loop.close()
        with pytest.raises(DriverError, match="it was stopped"):
            call.result(DEADLINE_S)


def test_call_after_the_loop_was_closed_is_refused() -> None:
    """The coroutine is closed as well, so that Python does not warn of it."""
    loop = LoopThread()
    loop.close()
    with pytest.raises(DriverError, match="it was stopped"):
        loop.call(answer(), FOR_EVER_S)


def test_unhandled_failure_is_logged_once_for_each_kind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "compozy.loop")
    loop = LoopThread()

    async def fail() -> None:
        for message in ("out of files", "out of files", "another kind"):
            asyncio.get_running_loop().call_exception_handler({"message": message, "exception": OSError(24, "full")})

    loop.call(fail(), DEADLINE_S)
    loop.close()
    assert [record.__dict__["reason"] for record in caplog.records] == ["out of files", "another kind"]


class Client:
    """The object that the frames of a failed call refer to."""

    async def ask(self) -> None:
        try:
            await self._fail()
        except KeyError as error:
            raise ValueError("refused") from error

    async def _fail(self) -> None:
        raise KeyError


def test_error_of_a_call_keeps_no_client() -> None:
    """A library may keep the error; the connection of the client ends with the client."""
    loop, client = LoopThread(), Client()
    collected = weakref.ref(client)
    with pytest.raises(ValueError, match="refused") as kept:
        loop.call(client.ask(), DEADLINE_S)
    del client
    gc.collect()
    assert (collected(), str(kept.value)) == (None, "refused")
    loop.close()
