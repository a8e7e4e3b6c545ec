"""Bound what rendering takes: steps, characters and the size of numbers.

A unit of work is about a microsecond: one node of a template, one item of a list, or sixteen characters. Work is
counted before it is done, and the count depends on template and values alone: a replay ends at the same place.
"""

from __future__ import annotations

import math
from typing import Any

MAX_TEXT = 1_000_000
MAX_WORK = 2_000_000
MAX_BITS = 4096
_CHARACTERS = 16
_LONGEST_NEEDLE = 100  # from here on Python's search of a text takes linear time


class BudgetError(Exception):
    """The rendering takes more work than its budget has."""


class Budget:
    """What one rendering, or all that run without a pause between them, may still do."""

    __slots__ = ("_left", "most")

    def __init__(self, most: int = MAX_WORK) -> None:
        self.most = self._left = most

    @property
    def spent(self) -> int:
        """Return the work done so far."""
        return self.most - self._left

    def stop(self) -> None:
        """End the rendering at its next step; from any thread."""
        self._left = -1

    def spend(self, units: int = 1) -> None:
        """Count work.

        Raises:
            BudgetError: nothing is left.
        """
        self._left -= units
        if self._left < 0:
            raise BudgetError(f"it takes more than {self.most} steps; a tool can do that")

    def text(self, length: int) -> None:
        """Count a text of `length` characters that is about to be made.

        Raises:
            OverflowError: it would be longer than `MAX_TEXT`.
        """
        if length > MAX_TEXT:
            raise OverflowError(f"the text is longer than {MAX_TEXT} characters")
        self.spend(1 + length // _CHARACTERS)

    def search(self, text: str, needle: str) -> None:
        """Count the search for `needle` in `text`."""
        self.spend(1 + len(text) * (1 + min(len(needle), _LONGEST_NEEDLE)) // (4 * _CHARACTERS))

    def weigh(self, *values: Any) -> int:
        """Count each part of `values`, shared ones each time; return about how long they are as JSON."""
        weight, waiting = 0, list(values)
        while waiting:
            value = waiting.pop()
            size = 4
            if isinstance(value, str):
                size = len(value)
            elif isinstance(value, dict):
                waiting += (*value, *value.values())
            elif isinstance(value, list):
                waiting += value
            weight += size + 2
            self.spend(1 + size // _CHARACTERS)
        return weight


def checked_number(value: Any) -> Any:
    """Return the result of a calculation.

    Raises:
        OverflowError: it is infinite, not a real number, or has more than `MAX_BITS` bits.
    """
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise OverflowError("the result is not a finite number")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise OverflowError("the number is too large")
    return value
