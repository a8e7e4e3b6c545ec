"""The resources that a test session shares: servers that start at their first use, and migrated databases to copy.

The resolved drivers of a mode determine which servers it needs, so modes of rule packs and mixed modes work as well.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from compozy.settings.keyring import random_key

if TYPE_CHECKING:
    from compozy.provisioning.provision import Runtime
    from compozy.resolution.resolve import Resolved
    from compozy.testing.databases import Databases
    from compozy.testing.servers import RedisServer, TemporalServer
    from compozy.testing.skipped_time import SkippedTimeWorkflows
    from compozy.testing.time_skipping import TimeSkipping, TimeSkippingServer

Running = TypeVar("Running")

DB_URL = "DB_URL"
_PROJECT = "# The project of one test.\n"
_REDIS_DATABASES = 16
_DEFAULTS: Mapping[str, Any] = {"temporal.standalone.enable_ui": False, "temporal.encryption_key": random_key()}


class Testbed:
    """The servers of one test session; a context manager that ends them.

    A PostgreSQL comes from `DB_URL` where that is set (databases of our own are created there, and dropped), else
    it is one of our own; Temporal and Redis always are.
    """

    # pytest would collect the class because of its name.
    __test__ = False

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._lock = threading.RLock()
        self._servers: dict[str, Any] = {}
        self._template_name = f"compozy_template_{uuid.uuid4().hex[:12]}"
        self._redis_number = -1

    def __enter__(self) -> Testbed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every server that was started; idempotent."""
        with self._lock:
            self._servers.clear()
            self._opened.close()

    @property
    def databases(self) -> Databases:
        """The PostgreSQL server."""
        return self._server("postgres", _postgres)

    @property
    def temporal(self) -> TemporalServer:
        """The Temporal that plays the remote one."""
        from compozy.testing.servers import TemporalServer

        return self._server("temporal", TemporalServer)

    @property
    def redis(self) -> RedisServer:
        """The Redis that plays the external one."""
        from compozy.testing.servers import RedisServer

        return self._server("redis", RedisServer)

    @property
    def time_skipping(self) -> TimeSkippingServer:
        """The Temporal test server, whose clock jumps to the next timer."""
        from compozy.testing.time_skipping import TimeSkippingServer

        return self._server("time-skipping", TimeSkippingServer)

    @contextmanager
    def runtime(self, mode: str, directory: str, settings: Mapping[str, Any] | None = None) -> Iterator[Runtime]:
        """Provision `mode` in an empty `directory`, with a migrated database; `settings` win over everything.

        Raises:
            ConfigurationError: the mode does not exist, or the settings are not valid.
            ProvisionError: a component could not be started.
        """
        with self._provisioned(mode, directory, settings or {}) as runtime:
            yield runtime

    @contextmanager
    def database(self, mode: str, directory: str, settings: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """Yield the migrated peewee database of `mode` alone; a file lies below `directory`.

        Raises:
            ConfigurationError: the mode does not exist, or the settings are not valid.
            ProvisionError: the database could not be started.
        """
        with self._provisioned(mode, directory, settings or {}, only=["database"]) as runtime:
            yield runtime.database

    @contextmanager
    def workflows(
        self, time: TimeSkipping, mode: str, directory: str, settings: Mapping[str, Any], *, project: str
    ) -> Iterator[SkippedTimeWorkflows]:
        """Yield the workflows of `project` on a clock that skips time; the other components are those of `mode`.

        Raises:
            ConfigurationError: the mode does not exist, or the settings are not valid.
            ProvisionError: a component could not be started.
        """
        from compozy.testing.skipped_time import SkippedTimeWorkflows
        from compozy.workflows.project import tool_offer, workflow_settings

        resolved = _resolved({**_DEFAULTS, "mode": mode, **settings}, directory)
        chosen = replace(workflow_settings(resolved), directory=project, task_queue=f"test-{uuid.uuid4().hex}")
        others = [name for name in resolved.components if name != "temporal"]
        with self._provisioned(mode, directory, settings, only=others) as runtime:
            handles = {name: runtime.component(name).handle for name in others} | {"temporal": time.client}
            workflows = SkippedTimeWorkflows(time, runtime.database, chosen, tool_offer(resolved, handles.__getitem__))
            with workflows:
                yield workflows

    @contextmanager
    def _provisioned(
        self, mode: str, directory: str, settings: Mapping[str, Any], *, only: Collection[str] = ()
    ) -> Iterator[Runtime]:
        from compozy.provisioning.plan import make_plan
        from compozy.provisioning.provision import provision
        from compozy.workflows.project import equip

        given = {**_DEFAULTS, "mode": mode, **settings}
        with ExitStack() as stack:
            resolved = self._supplied(given, directory, stack, only)
            plan = make_plan(resolved)
            steps = tuple(step for step in plan.steps if not only or step.component in only)
            runtime = provision(replace(plan, steps=steps))
            equip(runtime, resolved)
            # This data is not read again, so that nothing has to end gracefully.
            stack.callback(runtime.close, 0)
            if "database" in resolved.components:
                self._fill(runtime.database, given)
            yield runtime

    def _supplied(self, given: Mapping[str, Any], directory: str, stack: ExitStack, only: Collection[str]) -> Resolved:
        """Return the validated configuration, with the addresses of the servers that its drivers need."""
        resolved = _resolved(given, directory)
        supplies = self._supplies()
        more: dict[str, Any] = {}
        for part in resolved.components.values():
            if part.driver in supplies and (not only or part.name in only):
                more |= supplies[part.driver](stack)
        return _resolved({**more, **given}, directory) if more else resolved

    def _supplies(self) -> Mapping[str, Callable[[ExitStack], Mapping[str, Any]]]:
        """Return how each driver of something external gets it: settings, valid until the stack is closed."""
        return {
            "postgres": lambda stack: {"database.url": stack.enter_context(self._postgres_copy())},
            "temporal-remote": lambda stack: {"temporal.host_port": self.temporal.address},
            "redis-external": lambda stack: {"redis.url": self._empty_redis()},
        }

    def _postgres_copy(self) -> AbstractContextManager[str]:
        databases = self.databases
        return databases.database(databases.template(self._template_name, _migrate_postgres))

    def _empty_redis(self) -> str:
        """Return the URL of an emptied database; the numbers are taken in turn."""
        from redis import Redis

        with self._lock:
            self._redis_number = (self._redis_number + 1) % _REDIS_DATABASES
            url = self.redis.url_of(self._redis_number)
        with Redis.from_url(url) as client:
            client.flushdb()
        return url

    def _fill(self, database: Any, given: Mapping[str, Any]) -> None:
        """Bring a database to the present schema; an empty SQLite becomes a copy, which is faster."""
        from peewee import SqliteDatabase

        from compozy.store import Store

        if isinstance(database, SqliteDatabase):
            with database.connection_context():
                raw: Any = database
                self._sqlite_template().backup(raw.connection())
        elif "database.url" in given:  # not a copy of our template
            Store(database).migrate()

    def _sqlite_template(self) -> sqlite3.Connection:
        with self._lock:
            if "sqlite" not in self._servers:
                template = self._servers["sqlite"] = _migrated_sqlite()
                self._opened.callback(template.close)
            found: sqlite3.Connection = self._servers["sqlite"]
            return found

    def _server(self, name: str, start: Callable[[], AbstractContextManager[Running]]) -> Running:
        from compozy.testing.server import Server

        with self._lock:
            if name not in self._servers:
                self._servers[name] = self._opened.enter_context(start())
            found: Running = self._servers[name]
            if isinstance(found, Server):
                # A test may have stopped or killed it.
                found.start()
            return found


def _postgres() -> Databases:
    from compozy.testing.databases import Databases
    from compozy.testing.postgres_server import PostgresServer

    url = os.environ.get(DB_URL)
    return Databases(url) if url else PostgresServer()


def _migrate_postgres(url: str) -> None:
    from peewee import PostgresqlDatabase

    from compozy.store import Store

    database = PostgresqlDatabase(url)
    Store(database).migrate()
    if not database.is_closed():
        database.close()


def _migrated_sqlite() -> sqlite3.Connection:
    from peewee import SqliteDatabase

    from compozy.store import Store

    source = SqliteDatabase(":memory:")
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    with source.connection_context():
        Store(source).migrate()
        source.connection().backup(copy)
    return copy


def _resolved(given: Mapping[str, Any], directory: str) -> Resolved:
    """Return the validated configuration of a project in `directory`, which gets a file of its own.

    Without one, a file further up would count: that of the project under test, for one.
    """
    import compozy

    Path(directory, "compozy.yaml").write_text(_PROJECT, encoding="utf-8")
    lifecycle = compozy.load(directory=directory, settings=given, environment={})
    lifecycle.resolve()
    return lifecycle.validate().resolved
