"""The short form of the kill sweep: acknowledged writes survive `kill -9` at a random moment."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.kill_sweep import Result, sweep

pytestmark = [pytest.mark.e2e, pytest.mark.persistent]


def test_five_kills_lose_nothing(tmp_path: Path) -> None:
    """Rows, keys of every type with their time to live, and workflows; nothing stuck, no process left."""
    result = sweep(5, tmp_path, seed=7, shortest_s=0.05, longest_s=0.6)
    assert result == Result(5, result.acknowledged)
    assert result.clean


def test_server_left_by_its_killed_owner_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Owner and guardians are killed together: the next start ends what they left before it uses the data."""
    result = sweep(1, tmp_path, seed=7, shortest_s=0.05, longest_s=0.3, kill="owner")
    assert result == Result(1, result.acknowledged)
    assert result.clean


def test_a_lost_write_would_be_seen() -> None:
    """The verdict is not clean when something is lost, or when a store was never written to."""
    written = {"row": 1, "key": 1, "workflow": 1}
    assert Result(1, written).clean
    assert not Result(1, written, lost=["row r0-1"]).clean
    assert not Result(1, written, doubled=["key list:r0-1"]).clean
    assert not Result(1, {"row": 1, "key": 1}).clean
