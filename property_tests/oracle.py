"""The contract stated in Python, independently of the rule tables.

A choice comes in. The answer of every decision table and the findings that must be reported come out. The rule rows
are tested against this, and every mutant of a row must differ from it somewhere. A setting is read only where the
answer depends on it, so that `branching` can leave the others open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml
from property_tests.choices import HOST, KEY, Choice

MEMORY = ":memory:"
EMBEDDED = ("memory", "persistent")
# What each global mode means for database, Temporal and Redis.
INHERITED = {
    "memory": ("memory", "memory", "memory"),
    "persistent": ("persistent", "persistent", "persistent"),
    "distributed": ("distributed", "remote", "distributed"),
}


@dataclass(frozen=True)
class Facts:
    """The consequences of a choice according to the contract; `inherited` has a row for each global mode."""

    choice: Choice
    inherited: Mapping[str, tuple[str, str, str]] = field(default_factory=lambda: INHERITED)

    @cached_property
    def mode(self) -> str:
        """The global mode."""
        asked = self.text("mode")
        return asked if asked in self.inherited else "memory"

    @cached_property
    def database(self) -> str:
        """The effective mode of the database."""
        asked = self.text("database.driver")
        if asked == "postgres":
            return "distributed"
        if asked == "sqlite" and self.mode == "distributed":
            return "persistent"
        return self.inherited[self.mode][0]

    @cached_property
    def temporal(self) -> str:
        """The effective mode of Temporal."""
        asked = self.text("temporal.mode").replace("distributed", "remote")
        return asked if asked in ("memory", "persistent", "remote") else self.inherited[self.mode][1]

    @cached_property
    def redis(self) -> str:
        """The effective mode of Redis."""
        asked = self.text("redis.mode")
        return asked if asked in ("memory", "persistent", "distributed") else self.inherited[self.mode][2]

    @property
    def driver(self) -> str:
        """The driver of the database."""
        return "postgres" if self.database == "distributed" else "sqlite"

    @cached_property
    def redis_persistent(self) -> bool:
        """True if an embedded Redis writes to disk."""
        return self.redis != "distributed" and self.switched(REDIS_KEPT, self.redis == "persistent")

    @property
    def redis_needs_server(self) -> bool:
        """True if Redis needs a real server."""
        return self.redis == "persistent" or self.redis_persistent

    @cached_property
    def redis_driver(self) -> str:
        """The driver of Redis."""
        if self.redis != "memory":
            return "redis-external" if self.redis == "distributed" else "valkey"
        engine = self.text("redis.standalone.engine", "auto")
        if engine == "auto" and self.choice.facts.get("valkey.binary") == "missing" and not self.redis_persistent:
            return "fakeredis"
        return "fakeredis" if engine == "fakeredis" else "valkey"

    def keeps(self, component: str) -> bool:
        """Return True if the data of a component survives a restart."""
        if component == "redis":
            return self.redis == "distributed" or (self.redis_persistent and self.redis_driver == "valkey")
        mode, path = (self.database, "database.path") if component == "database" else (self.temporal, TEMPORAL_FILE)
        if mode not in EMBEDDED:
            return True
        text = self.text(path)
        return text != MEMORY if text else mode == "persistent"

    def text(self, path: str, default: str = "") -> str:
        """Return the text of a setting."""
        return self.choice.settings.get(path, default)

    def is_written(self, path: str) -> bool:
        """Return True if a source sets the setting."""
        return path in self.choice.settings

    def filled(self, path: str) -> bool:
        """Return True if a source sets the setting to a text that is not empty."""
        return bool(self.text(path))

    def emptied(self, path: str) -> bool:
        """Return True if the setting has a default and a source sets it to an empty text."""
        return self.is_written(path) and not self.filled(path)

    def effective(self, path: str, default: str = "") -> str:
        """Return a part of an address: its own setting, or else the part of the URL."""
        component = path.partition(".")[0]
        return (
            self.text(path)
            or stated(component, self.text(f"{component}.url")).get(path, "")
            or self.text(path, default)
        )

    def number(self, path: str, default: int) -> int:
        """Return a whole number."""
        return int(self.text(path, str(default)))

    def switched(self, path: str, default: bool) -> bool:
        """Return a switch."""
        return self.text(path, "true" if default else "false") == "true"

    def listed(self, path: str) -> list[Mapping[str, Any]]:
        """Return a list."""
        return _list_of(self.text(path, "[]"))


@cache
def _list_of(text: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = yaml.load(text, yaml.CSafeLoader)
    return found


# What each decision table must answer: table -> output -> value.
DECISIONS: Mapping[str, Callable[[Facts], dict[str, Any]]] = {
    "mode": lambda facts: {"mode": facts.mode},
    "database.mode": lambda facts: {"mode": facts.database},
    "temporal.mode": lambda facts: {"mode": facts.temporal},
    "redis.mode": lambda facts: {"mode": facts.redis},
    "database.driver": lambda facts: {"driver": facts.driver},
    "temporal.driver": lambda facts: {"driver": f"temporal-{'remote' if facts.temporal == 'remote' else 'embedded'}"},
    "redis.driver": lambda facts: {"driver": facts.redis_driver},
    "database.path": lambda facts: {
        "path": {"memory": MEMORY, "persistent": "./.compozy/compozy.db"}.get(facts.database)
    },
    "temporal.database_file": lambda facts: {
        "file": {"memory": MEMORY, "persistent": "./.compozy/temporal.db"}.get(facts.temporal)
    },
    "redis.persistence": lambda facts: {
        "enabled": facts.redis_persistent,
        "data_dir": "./.compozy/redis" if facts.redis_persistent else None,
        "needs_server": facts.redis_needs_server,
    },
    "redis.namespace": lambda facts: {"namespace": None if facts.redis == "distributed" else "compozy"},
    "worker.concurrency": lambda facts: {"limit": 10 if facts.driver == "sqlite" else 200},
    "database.kept": lambda facts: {"kept": facts.keeps("database")},
    "temporal.kept": lambda facts: {"kept": facts.keeps("temporal")},
    "redis.kept": lambda facts: {"kept": facts.keeps("redis")},
    "temporal.encryption": lambda facts: _encryption(facts),
    "temporal.task_queue": lambda facts: {"queue": None if facts.temporal == "remote" else "compozy"},
    "vector_store.address": lambda facts: _of_store(facts, lambda store: {"addressed": store.is_addressed}),
    "vector_store.mode": lambda facts: _of_store(facts, lambda store: {"mode": store.mode}),
    "vector_store.driver": lambda facts: _of_store(facts, lambda store: {"driver": store.driver}),
    "vector_store.path": lambda facts: _of_store(facts, lambda store: {"path": store.derived_path}),
    "vector_store.kept": lambda facts: _of_store(facts, lambda store: {"kept": store.keeps}),
    "vector_store.transport": lambda facts: _of_store(facts, lambda store: {"protection": store.protection}),
    "knowledge_base.ingest": lambda facts: _ingestion(facts),
    "server.access": lambda facts: _access(facts),
    "temporal.access": lambda facts: {"who": _temporal_access(facts)},
}


@dataclass(frozen=True)
class Store:
    """A vector store: its element of the list, and the decisions of the contract about it."""

    facts: Facts
    fields: Mapping[str, Any]

    @property
    def provider(self) -> str:
        """The kind of the store."""
        return self.fields.get("provider") or "filesystem"

    @property
    def is_addressed(self) -> bool:
        """True if a server of its own is written."""
        written = self.fields.get("url") or self.fields.get("host") or self.fields.get("port") is not None
        return self.provider != "filesystem" and bool(written)

    @property
    def mode(self) -> str:
        """The effective mode."""
        if self.is_addressed:
            return "distributed"
        if self.provider in ("redis", "pgvector"):
            return self.facts.redis if self.provider == "redis" else self.facts.database
        return self.facts.mode if self.facts.mode in INHERITED else "memory"

    @property
    def driver(self) -> str:
        """The driver."""
        if self.provider != "qdrant":
            return f"vector-{self.provider}"
        return "vector-qdrant" if self.mode == "distributed" else "vector-qdrant-embedded"

    @property
    def is_local(self) -> bool:
        """True if the driver keeps the data itself."""
        return self.driver in ("vector-filesystem", "vector-qdrant-embedded")

    @property
    def path(self) -> str:
        """The written path."""
        return self.fields.get("path") or ""

    @property
    def derived_path(self) -> str | None:
        """The path where none is written."""
        return (MEMORY if self.mode == "memory" else "./.compozy/vector") if self.is_local else None

    @property
    def url(self) -> str:
        """The written URL."""
        return self.fields.get("url") or ""

    @property
    def url_has_password(self) -> bool:
        """True if the URL contains a password."""
        return bool(urlsplit(self.url).password)

    @property
    def is_elsewhere(self) -> bool:
        """True if the server is another machine; the host wins over that of the URL, except for Qdrant."""
        host, in_url = self.fields.get("host") or "", urlsplit(self.url).hostname or ""
        winning = (in_url or host) if self.provider == "qdrant" and self.url else (host or in_url)
        return self.is_addressed and _elsewhere(winning or "localhost")

    @property
    def protection(self) -> str:
        """Protection of credentials on their way to another machine."""
        if not self.is_elsewhere:
            return "none"
        stated, tls = protection(self.url), self.fields.get("tls")
        if self.provider == "pgvector":
            proofs = {"require": "unverified", "verify-ca": "verified", "verify-full": "verified"}
            mode = self.fields.get("ssl_mode")
            by_url = {"unproven": "unverified", "proven": "verified"}.get(stated, "clear")
            return proofs.get(mode, "clear") if mode else by_url
        if self.provider == "redis" and (tls is False or stated == "unproven"):
            return "clear" if tls is False else "unverified"
        return "verified" if tls or stated == "proven" else "clear"

    def has(self, credential: str) -> bool:
        """Return True if a password or key has its own field."""
        return bool(self.fields.get(credential))

    @property
    def keeps(self) -> bool:
        """True if the vectors survive a restart."""
        if self.is_local:
            return (self.path or self.derived_path) != MEMORY
        if self.mode == "distributed":
            return True
        return self.provider == "redis" and self.facts.keeps("redis")


def _of_store(facts: Facts, decide: Callable[[Store], dict[str, Any]]) -> dict[str, Any]:
    """Return what is decided about the first vector store, if there is one."""
    listed = facts.listed("knowledge.vector_dbs")
    return decide(Store(facts, listed[0])) if listed else {}


def _ingestion(facts: Facts) -> dict[str, Any]:
    """Return when the first knowledge base is ingested, if there is one."""
    derived = "manual" if facts.keeps("database") else "start"
    return next(({"ingest": base.get("ingest", derived)} for base in facts.listed("knowledge.bases")), {})


def _a_store(fits: Callable[[Store], bool]) -> Callable[[Facts], bool]:
    return lambda facts: any(fits(Store(facts, fields)) for fields in facts.listed("knowledge.vector_dbs"))


def protection(address: str) -> str:
    """Return `clear`, `unproven` or `proven`, or `unstated`; nothing where a URL stays on this machine."""
    url = urlsplit(address)
    if not _elsewhere(url.hostname or "localhost"):
        return ""
    options = dict(parse_qsl(url.query))
    if url.scheme in ("redis", "rediss") and options.get("ssl_cert_reqs") == "none":
        return "unproven"
    if url.scheme in ("http", "redis"):
        return "clear"
    if url.scheme in ("https", "rediss"):
        return "proven"
    stated = {"disable": "clear", "require": "unproven", "verify-full": "proven"}
    return stated.get(options.get("sslmode", ""), "unstated")


def _unprotected(*, password_in_url: bool) -> Callable[[Facts], bool]:
    """Decide whether the password for the server of a URL travels unprotected."""
    return _a_store(
        lambda store: (
            store.provider in ("redis", "pgvector")
            and store.protection in ("clear", "unverified")
            and store.url_has_password == password_in_url
            and (password_in_url or (bool(store.url) and store.has("password")))
        )
    )


def _unprotected_at_host(provider: str, credential: str) -> Callable[[Facts], bool]:
    """Decide whether the password or key for the server of a host travels unprotected."""
    return _a_store(
        lambda store: (
            store.provider == provider
            and store.protection in ("clear", "unverified")
            and not store.url
            and store.has(credential)
        )
    )


def _access(facts: Facts) -> dict[str, Any]:
    """Return who may use the HTTP interface, whether a busy port moves, and whether a link for a browser is printed."""
    if _elsewhere(facts.text("server.host", "127.0.0.1")):
        return {"who": "key", "port_moves": False, "link": False}
    return {"who": "local-key" if facts.filled("server.api_key") else "owner", "port_moves": True, "link": True}


def _temporal_access(facts: Facts) -> str:
    if facts.temporal != "remote":
        return "local-users"
    return "credentials" if facts.filled("temporal.api_key") else "network"


def _encryption(facts: Facts) -> dict[str, Any]:
    """Return the source of the keys, and the file that the rules choose for them."""
    if facts.filled("temporal.encryption_key"):
        return {"source": "written", "file": None}
    if facts.is_written("temporal.encryption_key_file"):
        return {"source": "file", "file": None}
    if facts.temporal == "remote":
        return {"source": "missing", "file": None}
    if facts.keeps("temporal"):
        return {"source": "file", "file": "./.compozy/key"}
    return {"source": "random", "file": None}


def mode_row(facts: Facts) -> str:
    """Return the row that must decide the global mode, because users see it as the origin of the value."""
    if not facts.is_written("mode"):
        return "default"
    return facts.mode if facts.text("mode") == facts.mode else "unknown"


@dataclass(frozen=True)
class Promise:
    """The condition of a finding, its severity and its setting."""

    severity: str
    key: str
    when: Callable[[Facts], bool]


def _unknown(path: str, *known: str) -> Callable[[Facts], bool]:
    return lambda facts: facts.is_written(path) and facts.text(path) not in (*known, "standalone")


def _is(path: str, word: str) -> Callable[[Facts], bool]:
    return lambda facts: facts.text(path) == word


def _part_missing(part: str) -> Callable[[Facts], bool]:
    return lambda facts: (
        facts.driver == "postgres" and not facts.filled("database.url") and facts.emptied(f"database.{part}")
    )


def _ignored(component: str, path: str, instead: str | None = None) -> Callable[[Facts], bool]:
    return lambda facts: (
        not facts.is_written("mode")
        and getattr(facts, component) in EMBEDDED
        and facts.filled(path)
        and not (instead and facts.filled(instead))
    )


def stated(component: str, address: str) -> dict[str, str]:
    """Return what the URL of a component states about its parts; one of another scheme states nothing."""
    url = urlsplit(address)
    found: dict[str, str | None] = {"host": url.hostname, "password": url.password}
    if url.scheme in ("postgres", "postgresql"):
        sslmode = dict(parse_qsl(url.query)).get("sslmode")
        found |= {"user": url.username, "name": url.path.removeprefix("/"), "ssl_mode": sslmode}
    elif url.scheme in ("redis", "rediss"):
        number = url.path.removeprefix("/")
        found |= {"tls": "true" if url.scheme == "rediss" else None, "db": number if number.isdigit() else None}
    else:
        return {}
    return {f"{component}.{name}": text for name, text in found.items() if text}


def _out_of_range(path: str, lowest: int = 1) -> Callable[[Facts], bool]:
    return lambda facts: not lowest <= facts.number(path, 5432) <= 65535


def _same_port(first: str, second: str, *, ui: bool) -> Callable[[Facts], bool]:
    ports = {"server.port": 8080, FRONTEND: 7233, UI: 8233}
    return lambda facts: (
        facts.temporal in EMBEDDED
        and (not ui or facts.switched("temporal.standalone.enable_ui", False))
        and facts.number(first, ports[first]) == facts.number(second, ports[second])
    )


def _path(path: str, kind: Callable[[str], bool]) -> Callable[[Facts], bool]:
    used: Mapping[str, Callable[[Facts], bool]] = {
        "database.path": lambda facts: facts.driver == "sqlite",
        TEMPORAL_FILE: lambda facts: facts.temporal in EMBEDDED,
        REDIS_DIRECTORY: lambda facts: facts.redis_persistent,
    }
    return lambda facts: facts.is_written(path) and used[path](facts) and kind(facts.text(path))


def _climbs(path: str) -> bool:
    depth = 0
    for part in path.split("/"):
        depth += {"..": -1, ".": 0}.get(part, 1)
        if depth < 0:
            return True
    return False


def _directory_kind(path: str) -> str:
    """Return what is wrong with the path of a directory, or whether a file is there."""
    if not path:
        return ""
    if _unprintable(path):
        return "control"
    if _climbs(path):
        return "climbing"
    return "file" if path == "/dev/null" else "directory"


def _unprintable(path: str) -> bool:
    return "\t" in path or "\x85" in path


def _against_mode(component: str, mode: str) -> Callable[[Facts], bool]:
    kept = mode == "memory"
    return lambda facts: getattr(facts, component) == mode and facts.keeps(component) == kept


def _outlives(first: str, second: str) -> Callable[[Facts], bool]:
    return lambda facts: facts.keeps(first) and not facts.keeps(second)


def _many(workflows: int) -> bool:
    return workflows == 0 or workflows > 10


def _elsewhere(host: str) -> bool:
    return host not in ("localhost", "127.0.0.1", "::1", "localhost:1")


def _unproven(facts: Facts) -> bool:
    """Return True if a password of PostgreSQL goes to another machine that does not prove which one it is."""
    return (
        facts.driver == "postgres"
        and _elsewhere(facts.effective("database.host", "localhost"))
        and bool(facts.effective("database.password"))
        and facts.effective("database.ssl_mode", "prefer") in ("disable", "allow", "prefer", "require")
    )


def _says_so_itself(facts: Facts) -> bool:
    """Return True if the URL itself leads to another machine without proof."""
    url = facts.text("database.url")
    return HOST in url and url.endswith(("=disable", "=require"))


def _weaker(facts: Facts) -> bool:
    order = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
    _, stated, asked = facts.text("database.url").partition("sslmode=")
    mode = facts.text("database.ssl_mode")
    return bool(stated) and mode in order and order.index(asked) < order.index(mode)


def _redis(facts: Facts, *, password_in_url: bool) -> bool:
    return (
        facts.redis == "distributed"
        and facts.filled("redis.url")
        and ("me:pw@" in facts.text("redis.url")) == password_in_url
        and _elsewhere(facts.effective("redis.host", "localhost"))
        and bool(facts.effective("redis.password"))
        and facts.effective("redis.tls", "false") == "false"
    )


def _zero(path: str) -> Callable[[Facts], bool]:
    return lambda facts: facts.text(path, "1s") == "0s"


def _a_memory(fits: Callable[[Mapping[str, Any]], bool]) -> Callable[[Facts], bool]:
    return lambda facts: any(map(fits, facts.listed("memories")))


FRONTEND, UI = "temporal.standalone.frontend_port", "temporal.standalone.ui_port"
TEMPORAL_FILE, REDIS_KEPT = "temporal.standalone.database_file", "redis.standalone.persistence.enabled"
REDIS_DIRECTORY = "redis.standalone.persistence.data_dir"

PROMISES: Mapping[str, Promise] = {
    "mode.unknown": Promise("error", "mode", _unknown("mode", *INHERITED)),
    "mode.standalone": Promise("error", "mode", _is("mode", "standalone")),
    "temporal.mode.unknown": Promise(
        "error", "temporal.mode", _unknown("temporal.mode", "memory", "persistent", "remote", "distributed")
    ),
    "temporal.mode.standalone": Promise("error", "temporal.mode", _is("temporal.mode", "standalone")),
    "redis.mode.unknown": Promise("error", "redis.mode", _unknown("redis.mode", "memory", "persistent", "distributed")),
    "redis.mode.standalone": Promise("error", "redis.mode", _is("redis.mode", "standalone")),
    "database.driver.unknown": Promise(
        "error",
        "database.driver",
        lambda facts: (
            facts.is_written("database.driver") and facts.text("database.driver") not in ("sqlite", "postgres")
        ),
    ),
    "database.driver.sqlite-in-distributed": Promise(
        "warning",
        "database.driver",
        lambda facts: facts.mode == "distributed" and facts.text("database.driver") == "sqlite",
    ),
    "database.driver.postgres-in-embedded": Promise(
        "warning",
        "database.driver",
        lambda facts: facts.mode in EMBEDDED and facts.text("database.driver") == "postgres",
    ),
    "database.host.empty": Promise("error", "database.host", _part_missing("host")),
    "database.user.empty": Promise("error", "database.user", _part_missing("user")),
    "database.name.empty": Promise("error", "database.name", _part_missing("name")),
    "temporal.host_port.empty": Promise(
        "error", "temporal.host_port", lambda facts: facts.temporal == "remote" and facts.emptied("temporal.host_port")
    ),
    "temporal.namespace.two-values": Promise(
        "error",
        "temporal.standalone.namespace",
        lambda facts: (
            facts.temporal in EMBEDDED
            and facts.filled("temporal.standalone.namespace")
            and facts.filled("temporal.namespace")
            and facts.text("temporal.standalone.namespace") != facts.text("temporal.namespace")
        ),
    ),
    "redis.address.empty": Promise(
        "error",
        "redis.host",
        lambda facts: facts.redis == "distributed" and not facts.filled("redis.url") and facts.emptied("redis.host"),
    ),
    "redis.engine.cannot-keep": Promise(
        "error",
        "redis.standalone.engine",
        lambda facts: facts.redis_needs_server and facts.text("redis.standalone.engine") == "fakeredis",
    ),
    "redis.engine.missing": Promise(
        "error",
        "redis.standalone.engine",
        lambda facts: facts.redis_driver == "valkey" and facts.choice.facts.get("valkey.binary") == "missing",
    ),
    "address.ignored.database.url": Promise("warning", "database.url", _ignored("database", "database.url")),
    "address.ignored.database.host": Promise(
        "warning", "database.host", _ignored("database", "database.host", "database.url")
    ),
    "address.ignored.temporal.host_port": Promise(
        "warning", "temporal.host_port", _ignored("temporal", "temporal.host_port")
    ),
    "address.ignored.redis.url": Promise("warning", "redis.url", _ignored("redis", "redis.url")),
    "address.ignored.redis.host": Promise("warning", "redis.host", _ignored("redis", "redis.host", "redis.url")),
    "server.api_key.short": Promise(
        "warning",
        "server.api_key",
        lambda facts: (
            not _elsewhere(facts.text("server.host", "127.0.0.1")) and 0 < len(facts.text("server.api_key")) < 16
        ),
    ),
    "server.api_key.clear": Promise(
        "warning",
        "server.host",
        lambda facts: _elsewhere(facts.text("server.host", "127.0.0.1")) and len(facts.text("server.api_key")) >= 16,
    ),
    "database.password.unprotected": Promise(
        "warning",
        "database.ssl_mode",
        lambda facts: not facts.filled("database.url") and _unproven(facts),
    ),
    "database.url.unprotected": Promise(
        "warning",
        "database.url",
        lambda facts: facts.filled("database.url") and _unproven(facts) and _says_so_itself(facts),
    ),
    "database.url.unprotected-by-ssl_mode": Promise(
        "warning",
        "database.ssl_mode",
        lambda facts: facts.filled("database.url") and _unproven(facts) and not _says_so_itself(facts),
    ),
    "database.url.weaker": Promise(
        "error", "database.url", lambda facts: facts.driver == "postgres" and _weaker(facts)
    ),
    "redis.password.clear": Promise(
        "warning",
        "redis.password",
        lambda facts: (
            facts.redis == "distributed"
            and not facts.filled("redis.url")
            and _elsewhere(facts.text("redis.host", "localhost"))
            and facts.filled("redis.password")
            and not facts.switched("redis.tls", False)
        ),
    ),
    "redis.password.clear-to-url": Promise(
        "warning",
        "redis.password",
        lambda facts: _redis(facts, password_in_url=False),
    ),
    "redis.url.clear": Promise("warning", "redis.url", lambda facts: _redis(facts, password_in_url=True)),
    "redis.url.unverified": Promise(
        "warning",
        "redis.url",
        lambda facts: (
            facts.redis == "distributed"
            and facts.text("redis.url").startswith(("redis://", "rediss://"))
            and facts.text("redis.url").endswith("=none")
            and facts.text("redis.tls", str(facts.text("redis.url").startswith("rediss")).lower()) == "true"
        ),
    ),
    "temporal.api_key.clear": Promise(
        "warning",
        "temporal.tls.enabled",
        lambda facts: (
            facts.temporal == "remote"
            and _elsewhere(facts.text("temporal.host_port", "localhost:1"))
            and facts.filled("temporal.api_key")
            and facts.text("temporal.tls.enabled") == "false"
        ),
    ),
    "server.url.clear": Promise(
        "warning",
        "server.url",
        lambda facts: (
            not facts.text("server.url").startswith("https://")
            and HOST in facts.text("server.url")
            and facts.filled("server.api_key")
        ),
    ),
    "shared.task_queue": Promise(
        "warning",
        "temporal.task_queue",
        lambda facts: (
            facts.temporal == "remote" and not facts.filled("temporal.task_queue") and not facts.filled("name")
        ),
    ),
    "shared.database": Promise(
        "warning",
        "database.name",
        lambda facts: (
            facts.driver == "postgres"
            and not facts.is_written("database.name")
            and not facts.effective("database.name")
        ),
    ),
    "shared.redis": Promise(
        "warning",
        "redis.db",
        lambda facts: (
            facts.redis == "distributed" and not facts.is_written("redis.db") and not facts.effective("redis.db")
        ),
    ),
    "shared.namespace": Promise(
        "warning",
        "redis.namespace",
        lambda facts: (
            facts.redis == "distributed"
            and bool(facts.listed("memories"))
            and not facts.filled("redis.namespace")
            and not facts.filled("name")
        ),
    ),
    "temporal.encryption_key.missing": Promise(
        "warning", "temporal.encryption_key", lambda facts: _encryption(facts)["source"] == "missing"
    ),
    "temporal.encryption_key.malformed": Promise(
        "error",
        "temporal.encryption_key",
        lambda facts: facts.filled("temporal.encryption_key") and facts.text("temporal.encryption_key") != KEY,
    ),
    "port.range.database": Promise("error", "database.port", _out_of_range("database.port")),
    "port.range.temporal": Promise("error", FRONTEND, _out_of_range(FRONTEND)),
    "port.range.ui": Promise("error", UI, _out_of_range(UI)),
    "port.range.redis": Promise("error", "redis.port", _out_of_range("redis.port")),
    "port.range.server": Promise("error", "server.port", _out_of_range("server.port", 0)),
    "port.range.vector-store": Promise(
        "error",
        "knowledge.vector_dbs[].port",
        lambda facts: any(not 1 <= store.get("port", 1) <= 65535 for store in facts.listed("knowledge.vector_dbs")),
    ),
    "port.equal.temporal-ui": Promise("error", UI, _same_port(UI, FRONTEND, ui=True)),
    "port.equal.server-temporal": Promise("error", "server.port", _same_port("server.port", FRONTEND, ui=False)),
    "port.equal.server-ui": Promise("error", "server.port", _same_port("server.port", UI, ui=True)),
    "database.path.directory": Promise("error", "database.path", _path("database.path", lambda path: path == "/")),
    "database.path.climbs": Promise("error", "database.path", _path("database.path", _climbs)),
    "database.path.control": Promise("error", "database.path", _path("database.path", _unprintable)),
    "temporal.database_file.directory": Promise("error", TEMPORAL_FILE, _path(TEMPORAL_FILE, lambda path: path == "/")),
    "temporal.database_file.climbs": Promise("error", TEMPORAL_FILE, _path(TEMPORAL_FILE, _climbs)),
    "temporal.database_file.control": Promise("error", TEMPORAL_FILE, _path(TEMPORAL_FILE, _unprintable)),
    "redis.data_dir.file": Promise("error", REDIS_DIRECTORY, _path(REDIS_DIRECTORY, lambda path: path == "/dev/null")),
    "redis.data_dir.climbs": Promise("error", REDIS_DIRECTORY, _path(REDIS_DIRECTORY, _climbs)),
    "redis.data_dir.control": Promise("error", REDIS_DIRECTORY, _path(REDIS_DIRECTORY, _unprintable)),
    "database.kept-in-memory-mode": Promise("warning", "database.path", _against_mode("database", "memory")),
    "database.lost-in-persistent-mode": Promise("warning", "database.path", _against_mode("database", "persistent")),
    "temporal.kept-in-memory-mode": Promise("warning", TEMPORAL_FILE, _against_mode("temporal", "memory")),
    "temporal.lost-in-persistent-mode": Promise("warning", TEMPORAL_FILE, _against_mode("temporal", "persistent")),
    "redis.kept-in-memory-mode": Promise("warning", REDIS_KEPT, _against_mode("redis", "memory")),
    "redis.lost-in-persistent-mode": Promise("warning", REDIS_KEPT, _against_mode("redis", "persistent")),
    "durability.histories-outlive-rows": Promise("warning", "temporal.mode", _outlives("temporal", "database")),
    "durability.rows-outlive-histories": Promise("warning", "temporal.mode", _outlives("database", "temporal")),
    "durability.redis-lost": Promise("warning", "redis.mode", _outlives("database", "redis")),
    "durability.redis-outlives-rows": Promise("warning", "redis.mode", _outlives("redis", "database")),
    "knowledge.pgvector-on-sqlite": Promise(
        "error",
        "knowledge.vector_dbs[].provider",
        lambda facts: (
            facts.driver == "sqlite"
            and any(store.get("provider") == "pgvector" for store in facts.listed("knowledge.vector_dbs"))
        ),
    ),
    "vector_store.qdrant.address": Promise(
        "error",
        "knowledge.vector_dbs[].url",
        _a_store(lambda store: store.driver == "vector-qdrant" and not store.is_addressed),
    ),
    "vector_store.one-machine": Promise(
        "warning",
        "knowledge.vector_dbs[].provider",
        _a_store(lambda store: store.provider == "filesystem" and store.mode == "distributed"),
    ),
    "vector_store.address-ignored.url": Promise(
        "warning",
        "knowledge.vector_dbs[].url",
        _a_store(lambda store: store.provider == "filesystem" and bool(store.fields.get("url"))),
    ),
    "vector_store.address-ignored.host": Promise(
        "warning",
        "knowledge.vector_dbs[].host",
        _a_store(lambda store: store.provider == "filesystem" and bool(store.fields.get("host"))),
    ),
    "vector_store.path-ignored": Promise(
        "warning",
        "knowledge.vector_dbs[].path",
        _a_store(
            lambda store: (
                store.provider in ("redis", "pgvector") and _directory_kind(store.path) in ("directory", "file")
            )
        ),
    ),
    "vector_store.redis.ivfflat": Promise(
        "warning",
        "knowledge.vector_dbs[].index_type",
        _a_store(lambda store: store.provider == "redis" and store.fields.get("index_type") == "ivfflat"),
    ),
    "vector_store.path.file": Promise(
        "error",
        "knowledge.vector_dbs[].path",
        _a_store(lambda store: store.is_local and _directory_kind(store.path) == "file"),
    ),
    "vector_store.path.climbs": Promise(
        "error", "knowledge.vector_dbs[].path", _a_store(lambda store: _directory_kind(store.path) == "climbing")
    ),
    "vector_store.path.control": Promise(
        "error", "knowledge.vector_dbs[].path", _a_store(lambda store: _directory_kind(store.path) == "control")
    ),
    "vector_store.kept-in-memory-mode": Promise(
        "warning",
        "knowledge.vector_dbs[].path",
        _a_store(lambda store: store.is_local and store.mode == "memory" and store.keeps),
    ),
    "vector_store.lost-in-persistent-mode": Promise(
        "warning",
        "knowledge.vector_dbs[].path",
        _a_store(lambda store: store.is_local and store.mode != "memory" and not store.keeps),
    ),
    "vector_store.url.unprotected": Promise(
        "warning", "knowledge.vector_dbs[].url", _unprotected(password_in_url=True)
    ),
    "vector_store.password.unprotected-to-url": Promise(
        "warning", "knowledge.vector_dbs[].url", _unprotected(password_in_url=False)
    ),
    "vector_store.redis.password.clear": Promise(
        "warning", "knowledge.vector_dbs[].host", _unprotected_at_host("redis", "password")
    ),
    "vector_store.pgvector.password.unprotected": Promise(
        "warning", "knowledge.vector_dbs[].host", _unprotected_at_host("pgvector", "password")
    ),
    "vector_store.api_key.clear-to-url": Promise(
        "warning",
        "knowledge.vector_dbs[].url",
        _a_store(
            lambda store: (
                store.provider == "qdrant" and store.protection == "clear" and bool(store.url) and store.has("api_key")
            )
        ),
    ),
    "vector_store.api_key.clear": Promise(
        "warning", "knowledge.vector_dbs[].host", _unprotected_at_host("qdrant", "api_key")
    ),
    "model.api_key.clear": Promise(
        "warning",
        "models[].url",
        lambda facts: any(
            protection(model.get("url") or "") == "clear" and bool(model.get("api_key"))
            for model in facts.listed("models")
        ),
    ),
    "knowledge.no-vector-store": Promise(
        "warning",
        "knowledge.bases",
        lambda facts: (
            facts.driver == "sqlite"
            and bool(facts.listed("knowledge.bases"))
            and not facts.listed("knowledge.vector_dbs")
        ),
    ),
    "memory.max_messages.missing": Promise(
        "error",
        "memories[].type",
        _a_memory(lambda memory: memory.get("type") == "message_count" and "max_messages" not in memory),
    ),
    "memory.max_tokens.missing": Promise(
        "error",
        "memories[].type",
        _a_memory(lambda memory: memory.get("type") == "token_count" and "max_tokens" not in memory),
    ),
    "memory.eviction.unlimited": Promise(
        "warning",
        "memories[].eviction",
        _a_memory(
            lambda memory: (
                memory.get("type", "buffer") == "buffer"
                and memory.get("eviction") == "lru"
                and not memory.keys() & {"max_messages", "max_tokens"}
            )
        ),
    ),
    "memory.ttl.zero": Promise(
        "error", "memories[].ttl", _a_memory(lambda memory: str(memory.get("ttl", "1s")) in ("0", "0s", "0.0"))
    ),
    "knowledge.base.no-store": Promise(
        "warning",
        "knowledge.bases[].embedder",
        lambda facts: any(base.get("embedder") and not base.get("store") for base in facts.listed("knowledge.bases")),
    ),
    "knowledge.base.no-embedder": Promise(
        "warning",
        "knowledge.bases[].store",
        lambda facts: any(base.get("store") and not base.get("embedder") for base in facts.listed("knowledge.bases")),
    ),
    "model.no-address": Promise(
        "warning",
        "models[].url",
        lambda facts: any(
            model.get("provider") not in ("openai", "wordllama") and not model.get("url")
            for model in facts.listed("models")
        ),
    ),
    "worker.concurrency.sqlite": Promise(
        "warning",
        "worker.max_concurrent_workflows",
        lambda facts: facts.driver == "sqlite" and _many(facts.number("worker.max_concurrent_workflows", 10)),
    ),
    "temporal.ui.required-but-off": Promise(
        "error",
        "temporal.standalone.require_ui",
        lambda facts: (
            facts.switched("temporal.standalone.require_ui", False)
            and not facts.switched("temporal.standalone.enable_ui", False)
        ),
    ),
    "timeout.zero.database": Promise("error", "database.connect_timeout", _zero("database.connect_timeout")),
    "timeout.zero.temporal": Promise(
        "error", "temporal.standalone.start_timeout", _zero("temporal.standalone.start_timeout")
    ),
    "timeout.zero.snapshot": Promise(
        "error",
        "redis.standalone.persistence.snapshot_interval",
        _zero("redis.standalone.persistence.snapshot_interval"),
    ),
}

# Faults of sources: every kind of problem is one finding of the same severity and has no key of its own.
PROBLEMS: Mapping[str, tuple[str, str]] = {
    "file.syntax": ("syntax", "error"),
    "file.duplicate-key": ("duplicate-key", "error"),
    "file.unreadable": ("unreadable", "error"),
    "file.dotenv-line": ("dotenv-line", "warning"),
    "file.ignored": ("ignored", "warning"),
    "variable.empty": ("empty-variable", "warning"),
    "variable.not-expanded": ("not-expanded", "warning"),
    "key.unknown": ("unknown-key", "error"),
    "key.two-spellings": ("two-spellings", "error"),
    "key.type": ("type", "error"),
    "key.not-allowed": ("not-allowed", "error"),
    "key.unused": ("unused", "warning"),
    "key.too-small": ("too-small", "error"),
    "key.too-large": ("too-large", "error"),
    "key.too-long": ("too-long", "error"),
    "key.doubled": ("doubled", "error"),
    "key.unidentified": ("unidentified", "error"),
    "key.unknown-reference": ("unknown-reference", "error"),
    "key.not-below": ("not-below", "error"),
    "key.missing-field": ("missing-field", "error"),
    "key.climbing": ("climbing", "error"),
    "secret.on-command-line": ("secret-on-command-line", "warning"),
    "variable.unset": ("unset-variable", "error"),
    "variable.unknown": ("unknown-variable", "warning"),
    "settings.excluded": ("excluded", "error"),
    "listener.open": ("open-listener", "error"),
    "listener.key": ("open-listener-key", "error"),
}


def findings_of(facts: Facts) -> set[str]:
    """Return the ids of the findings that must be reported."""
    return {name for name, promise in PROMISES.items() if promise.when(facts)}
