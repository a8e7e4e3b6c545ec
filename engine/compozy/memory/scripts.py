"""The operations of memories as Lua scripts, each of which changes all parts of a key at once or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compozy.drivers.redis_script import RedisScript

NAMES = ("append", "clear", "delete", "flush", "keys", "read")


@cache
def script_text(name: str) -> str:
    """Return a script behind what all of them share."""
    package = files(__package__)
    return "\n".join(package.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in ("common", name))


class Scripts:
    """The scripts on the Redis client that `connect` returns; it is called when the first of them runs."""

    def __init__(self, connect: Callable[[], object]) -> None:
        self._connect = connect

    @cached_property
    def _loaded(self) -> dict[str, RedisScript]:
        from compozy.drivers.redis_script import RedisScript

        client = self._connect()
        return {name: RedisScript(client, script_text(name)) for name in NAMES}

    def run(self, name: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """Return the answer of a script.

        Raises:
            DriverError: the server does not answer, or refuses.
        """
        return self._loaded[name].run(keys, arguments)
