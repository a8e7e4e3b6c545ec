"""Wait for something without sleeping for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(met: Callable[[], bool], within_s: float = 20.0) -> None:
    """Poll until `met` is true; fails when it is not within `within_s`."""
    deadline = time.monotonic() + within_s
    while not met():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {within_s:g} s")
        time.sleep(0.01)
