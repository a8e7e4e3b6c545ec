"""One measured value beside what it is compared with.

The records are frozen; `make bench` prints them as one table and stores them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter


@dataclass(frozen=True, slots=True)
class Measurement:
    """A value in a unit, and a reference in the same unit, measured in the same run or a target."""

    name: str
    value: float
    unit: str
    reference: str
    reference_value: float

    @property
    def ratio(self) -> float:
        """The value divided by the reference; below 1 is faster."""
        return self.value / self.reference_value if self.reference_value else float("inf")


def median_s(function: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call in seconds, after one call that does not count."""
    function()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        function()
        times.append(perf_counter() - start)
    return median(times)
