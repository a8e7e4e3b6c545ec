"""The work of verifying the shipped tables is bounded, as a number of calls."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

from compozy.rulebook import build_rulebook
from compozy.rulebook.files import shipped_texts
from compozy.tables.axes import AxisBuilder
from compozy.tables.row_reach import RowReach
from compozy.tables.verify import verify


def calls(function: Callable[[], object]) -> int:
    """Return how many functions of Python a call enters, generators each time that they continue."""
    count = 0

    def counted(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def test_verification_enters_fewer_functions_than_reading() -> None:
    reading = calls(lambda: build_rulebook(shipped_texts()))
    ruleset = build_rulebook(shipped_texts()).ruleset
    verifying = calls(lambda: verify(ruleset))
    assert 0 < verifying < 0.5 * reading, (verifying, reading)


def test_row_reach_proves_most_tables() -> None:
    ruleset = build_rulebook(shipped_texts()).ruleset
    builder = AxisBuilder(ruleset)
    reach = RowReach(ruleset, builder)
    left = []
    for table in sorted(map(ruleset.tables.__getitem__, ruleset.order), key=lambda table: table.hit == "collect"):
        left += [] if reach.proves(table, {}) else [table.id]
        reach.completed(table)
    assert len(left) < len(ruleset.tables) / 20, left
