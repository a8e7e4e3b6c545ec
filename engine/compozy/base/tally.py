"""Counters and summed durations by labels, for metrics."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

OK, FAILED = "ok", "failed"
Labels = tuple[str, ...]


class Tally:
    """Counts and seconds by the values of labels, whose number is bounded; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Labels] = Counter()
        self._seconds: dict[Labels, float] = {}

    def add(self, *labels: str, count: int = 1) -> None:
        """Add to a count; a count of 0 makes it visible."""
        with self._lock:
            self._counts[labels] += count

    @contextmanager
    def timed(self, *labels: str) -> Iterator[None]:
        """Count a block with the further label `ok`, or `failed` if it raises, and add its duration."""
        began, result = time.perf_counter(), FAILED
        try:
            yield
            result = OK
        finally:
            took = time.perf_counter() - began
            with self._lock:
                self._counts[(*labels, result)] += 1
                self._seconds[labels] = self._seconds.get(labels, 0.0) + took

    def counts(self) -> Mapping[Labels, int]:
        """Return the counts, ordered by labels."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def durations(self) -> Mapping[Labels, tuple[int, float]]:
        """Return the numbers of timed blocks, of both results, and the seconds they took, ordered by labels."""
        with self._lock:
            ends = {labels: sum(self._counts[(*labels, one)] for one in (OK, FAILED)) for labels in self._seconds}
            return {labels: (ends[labels], self._seconds[labels]) for labels in sorted(ends)}
