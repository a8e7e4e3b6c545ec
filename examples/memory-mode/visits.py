"""The tool of this project."""

from __future__ import annotations

from compozy.tools import component


def count() -> int:
    """Add one to the number of visits in Redis and return it."""
    return int(component("redis").incr("visits"))
