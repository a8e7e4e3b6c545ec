"""Wait for something without sleeping for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

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


def eventually_healthy(health: Callable[[], Mapping[str, Any]]) -> None:
    """Return when every component is healthy; one answer may take too long on a busy machine."""
    errors: dict[str, str] = {}

    def healthy() -> bool:
        errors.clear()
        errors.update({name: one.error for name, one in health().items() if not one.healthy})
        return not errors

    eventually(healthy, lambda: f"health of {errors}")
