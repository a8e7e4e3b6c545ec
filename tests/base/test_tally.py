"""Counters by labels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from compozy.base.tally import Tally


def test_timed_block_is_counted_by_its_result() -> None:
    tally = Tally()
    with tally.timed("docs"):
        pass
    with pytest.raises(ValueError, match="planted"), tally.timed("docs"):
        raise ValueError("planted")

    assert tally.counts() == {("docs", "failed"): 1, ("docs", "ok"): 1}
    ((labels, (count, seconds)),) = tally.durations().items()
    assert (labels, count, seconds > 0) == (("docs",), 2, True)


def test_counts_of_several_threads_add_up() -> None:
    tally = Tally()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: tally.add("docs", count=number), range(1000)))

    assert tally.counts() == {("docs",): 499500}
