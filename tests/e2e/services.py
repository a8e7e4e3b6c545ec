"""The services that distributed mode reaches, shared by the projects of one test process."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from compozy.settings.keyring import random_key
from compozy.testing.postgres_server import PostgresServer
from compozy.testing.servers import RedisServer, TemporalServer


@dataclass(frozen=True)
class Services:
    """Running services; each project gets a database and a task queue of its own."""

    postgres: PostgresServer
    temporal: TemporalServer
    redis: RedisServer

    def settings(self) -> dict[str, str]:
        """Return the variables that make a project use these services."""
        name = f"project_{uuid.uuid4().hex[:12]}"
        return {
            "DB_URL": self.postgres.url_of(self.postgres.create_database(name)),
            "TEMPORAL_HOST_PORT": self.temporal.address,
            "COMPOZY_TEMPORAL__ENCRYPTION_KEY": random_key(),
            "COMPOZY_TEMPORAL__TASK_QUEUE": name,
            "REDIS_URL": self.redis.url,
        }
