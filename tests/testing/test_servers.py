"""A Temporal and a Redis that play the external ones."""

from __future__ import annotations

from contextlib import closing

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from compozy.drivers.protocol import LoopThread
from compozy.drivers.temporal_client import connect
from compozy.errors import DriverError
from compozy.testing.servers import RedisServer, TemporalServer
from compozy.testing.testbed import Testbed
from compozy.testing.time_skipping import TimeSkippingServer

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_redis_keeps_its_data_over_a_restart(testbed: Testbed, end: str) -> None:
    """Acknowledged writes are present, on the same address."""
    with redis.Redis.from_url(testbed.redis.url) as client:
        client.set("kept", end)
    getattr(testbed.redis, end)()
    testbed.redis.start()
    with redis.Redis.from_url(testbed.redis.url) as client:
        assert client.get("kept") == end.encode()


def test_a_redis_asks_for_its_password(testbed: Testbed) -> None:
    """Other users of this machine cannot connect without it."""
    once = Retry(NoBackoff(), 0)
    with (
        redis.Redis(port=testbed.redis.port, retry=once) as client,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        client.ping()


def test_a_temporal_has_the_namespace_asked_for() -> None:
    """It answers for that one when `start` returns."""
    loop = LoopThread()
    with TemporalServer("orders") as server, closing(loop):
        connect(loop, server.address, "orders", 10).ping()
        with pytest.raises(DriverError, match='no namespace "nowhere"'):
            connect(loop, server.address, "nowhere", 10).ping()


def test_a_server_is_started_and_ended_once() -> None:
    """Both are idempotent."""
    server = RedisServer()
    with server:
        pid = server.pid
        server.start()
        assert server.pid == pid
    server.close()
    assert server.pid is None
    assert not server.running()


def test_a_test_server_must_run_before_its_clock_jumps() -> None:
    """An environment on a server that does not run is an error with a fix."""
    with pytest.raises(DriverError, match="does not run"), TimeSkippingServer().environment():
        raise AssertionError
