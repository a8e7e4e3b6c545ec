"""Wait for something without sleeping for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

DEADLINE_S = 45.0


def eventually(
    condition: Callable[[], object], what: str | Callable[[], str] = "it", timeout_s: float = DEADLINE_S
) -> None:
    """Return when `condition` holds; fail after the deadline, when `what` is evaluated if it is a function."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what if isinstance(what, str) else what()} did not happen within {timeout_s:g} s")
        time.sleep(0.005)
