"""Run Lua scripts on the client of any Redis driver; errors of the client become those of Compozy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compozy.drivers.redis_external import redis_error


class RedisScript:
    """A script, which the server runs atomically; its text is sent once, and named by its hash afterwards."""

    def __init__(self, client: Any, text: str) -> None:
        self._script = client.register_script(text)

    def run(self, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """Return the answer of the script: integers, texts, None and lists of them.

        Raises:
            DriverError: the server does not answer, or refuses.
        """
        from redis.exceptions import RedisError

        try:
            return _decoded(self._script(keys=keys, args=arguments))
        except (RedisError, OSError) as error:
            raise redis_error(str(error)) from error


def _decoded(answer: object) -> object:
    if isinstance(answer, list):
        return [_decoded(item) for item in answer]
    return answer.decode() if isinstance(answer, bytes) else answer
