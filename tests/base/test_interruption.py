"""Interrupts that are held back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from compozy.base.foreign import join_within
from compozy.base.interruption import held, interrupt, raise_noted


def test_interrupt_is_raised_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_held_interrupt_is_raised_by_the_next_wait() -> None:
    """A wait for a thread is one; a thread itself never raises it."""
    ended = threading.Event()
    waiting = threading.Thread(target=ended.wait)
    waiting.start()
    with held():
        interrupt()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(raise_noted).result()
        with pytest.raises(KeyboardInterrupt):
            join_within(waiting, 60)
    ended.set()
    raise_noted()


def test_held_interrupt_without_a_wait_is_raised_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), held():
        interrupt()


def test_error_of_the_block_replaces_a_held_interrupt() -> None:
    def fail() -> None:
        interrupt()
        raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"), held():
        fail()
    raise_noted()


def test_blocks_of_other_threads_hold_nothing_back() -> None:
    """Blocks of several threads end in any order."""
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with held():
            entered.set()
            leave.wait(60)

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(hold)
        entered.wait(60)
        with held():
            leave.set()
            ended.result()
        with pytest.raises(KeyboardInterrupt):
            interrupt()
