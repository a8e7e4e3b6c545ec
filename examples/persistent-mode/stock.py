"""The tools of this project, a stock in Redis; each has the same result when it runs twice, as it may after a crash."""

from __future__ import annotations

from compozy.tools import component


def reserve(item: str) -> bool:
    """Move an item to the reserved ones."""
    return bool(component("redis").sadd("reserved", item))


def ship(item: str) -> list[str]:
    """Remove an item from the reserved ones and return those that remain."""
    redis = component("redis")
    redis.srem("reserved", item)
    return sorted(other.decode() for other in redis.smembers("reserved"))
