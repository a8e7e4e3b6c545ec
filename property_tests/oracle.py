"""What the contract promises, said once more in Python and without looking at a rule table.

What comes in: a choice. What goes out: what every decision table must answer, and which findings must be there.
The rule rows are tested against this, and every mutant of a row must disagree with it somewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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
    """What follows from a choice by the contract's words."""

    choice: Choice
    mode: str
    database: str
    temporal: str
    redis: str
    driver: str
    redis_driver: str
    redis_persistent: bool
    redis_needs_server: bool
    kept: Mapping[str, bool]

    def text(self, path: str, default: str = "") -> str:
        """Return what was said about a setting."""
        return self.choice.settings.get(path, default)

    def said(self, path: str) -> bool:
        """Tell whether anything was said about a setting."""
        return path in self.choice.settings

    def filled(self, path: str) -> bool:
        """Tell whether something other than an empty text was said about a setting."""
        return bool(self.text(path))

    def emptied(self, path: str) -> bool:
        """Tell whether a setting that has a default was emptied."""
        return self.said(path) and not self.filled(path)

    def number(self, path: str, default: int) -> int:
        """Return a whole number."""
        return int(self.text(path, str(default)))

    def switched(self, path: str, default: bool) -> bool:
        """Return a switch."""
        return self.text(path, "true" if default else "false") == "true"

    def listed(self, path: str) -> list[Mapping[str, Any]]:
        """Return a list."""
        found: list[Mapping[str, Any]] = yaml.safe_load(self.text(path, "[]"))
        return found


def facts_of(choice: Choice, inherited: Mapping[str, tuple[str, str, str]] = INHERITED) -> Facts:
    """Draw the conclusions from a choice; `inherited` has a row for each global mode."""
    said = choice.settings.get
    mode = str(said("mode")) if said("mode") in inherited else "memory"
    database, temporal, redis = inherited[mode]
    if said("database.driver") == "postgres":
        database = "distributed"
    if said("database.driver") == "sqlite" and mode == "distributed":
        database = "persistent"
    own = {"distributed": "remote"}.get(str(said("temporal.mode")), said("temporal.mode"))
    temporal = str(own) if own in ("memory", "persistent", "remote") else temporal
    redis = str(said("redis.mode")) if said("redis.mode") in ("memory", "persistent", "distributed") else redis
    persistent = redis != "distributed" and _switched(choice, "redis.standalone.persistence.enabled", redis)
    redis_driver = _redis_driver(choice, redis, persistent)
    kept = {
        "database": database == "distributed" or _file_kept(choice, "database.path", database),
        "temporal": temporal == "remote" or _file_kept(choice, "temporal.standalone.database_file", temporal),
        "redis": redis == "distributed" or (persistent and redis_driver == "valkey"),
    }
    driver = "postgres" if database == "distributed" else "sqlite"
    needs_server = redis == "persistent" or persistent
    return Facts(choice, mode, database, temporal, redis, driver, redis_driver, persistent, needs_server, kept)


def _switched(choice: Choice, path: str, mode: str) -> bool:
    return choice.settings.get(path, "true" if mode == "persistent" else "false") == "true"


def _file_kept(choice: Choice, path: str, mode: str) -> bool:
    text = choice.settings.get(path)
    return text != MEMORY if text else mode == "persistent"


def _redis_driver(choice: Choice, mode: str, persistent: bool) -> str:
    if mode == "distributed":
        return "redis-external"
    engine = choice.settings.get("redis.standalone.engine", "auto")
    without = choice.facts.get("valkey.binary") == "missing" and not persistent
    imitated = engine == "fakeredis" or (engine == "auto" and without)
    return "fakeredis" if imitated and mode == "memory" else "valkey"


def decisions_of(facts: Facts) -> dict[str, dict[str, Any]]:
    """Return what every decision table must answer: table -> output -> value."""
    return {
        "mode": {"mode": facts.mode},
        "database.mode": {"mode": facts.database},
        "temporal.mode": {"mode": facts.temporal},
        "redis.mode": {"mode": facts.redis},
        "database.driver": {"driver": facts.driver},
        "temporal.driver": {"driver": f"temporal-{'remote' if facts.temporal == 'remote' else 'embedded'}"},
        "redis.driver": {"driver": facts.redis_driver},
        "database.path": {"path": {"memory": MEMORY, "persistent": "./.compozy/compozy.db"}.get(facts.database)},
        "temporal.database_file": {
            "file": {"memory": MEMORY, "persistent": "./.compozy/temporal.db"}.get(facts.temporal)
        },
        "redis.persistence": {
            "enabled": facts.redis_persistent,
            "data_dir": "./.compozy/redis" if facts.redis_persistent else None,
            "needs_server": facts.redis_needs_server,
        },
        "worker.concurrency": {"limit": 10 if facts.driver == "sqlite" else 200},
        "database.kept": {"kept": facts.kept["database"]},
        "temporal.kept": {"kept": facts.kept["temporal"]},
        "redis.kept": {"kept": facts.kept["redis"]},
        "temporal.encryption": _encryption(facts),
        "temporal.task_queue": {"queue": None if facts.temporal == "remote" else "compozy"},
        "server.access": _access(facts),
        "temporal.access": {"who": _temporal_access(facts)},
    }


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
    if facts.said("temporal.encryption_key_file"):
        return {"source": "file", "file": None}
    if facts.temporal == "remote":
        return {"source": "missing", "file": None}
    return (
        {"source": "file", "file": "./.compozy/key"} if facts.kept["temporal"] else {"source": "random", "file": None}
    )


def rows_of(facts: Facts) -> dict[str, str]:
    """Return the row that must decide, where the contract lets people see which: table -> row."""
    said = facts.choice.settings.get("mode")
    return {"mode": "default" if said is None else facts.mode if said == facts.mode else "unknown"}


@dataclass(frozen=True)
class Promise:
    """When a finding must be there, how severe it is, and the setting that it is about."""

    severity: str
    key: str
    when: Callable[[Facts], bool]


def _unknown(path: str, *known: str) -> Callable[[Facts], bool]:
    return lambda facts: facts.said(path) and facts.text(path) not in (*known, "standalone")


def _is(path: str, word: str) -> Callable[[Facts], bool]:
    return lambda facts: facts.text(path) == word


def _part_missing(part: str) -> Callable[[Facts], bool]:
    return lambda facts: (
        facts.driver == "postgres" and not facts.filled("database.url") and facts.emptied(f"database.{part}")
    )


def _ignored(component: str, path: str) -> Callable[[Facts], bool]:
    return lambda facts: not facts.said("mode") and getattr(facts, component) in EMBEDDED and facts.said(path)


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
    return lambda facts: facts.said(path) and kind(facts.text(path))


def _climbs(path: str) -> bool:
    depth = 0
    for part in path.split("/"):
        depth += {"..": -1, ".": 0}.get(part, 1)
        if depth < 0:
            return True
    return False


def _unprintable(path: str) -> bool:
    return "\t" in path or "\x85" in path


def _against_mode(component: str, mode: str) -> Callable[[Facts], bool]:
    kept = mode == "memory"
    return lambda facts: getattr(facts, component) == mode and facts.kept[component] == kept


def _outlives(first: str, second: str) -> Callable[[Facts], bool]:
    return lambda facts: facts.kept[first] and not facts.kept[second]


def _many(workflows: int) -> bool:
    return workflows == 0 or workflows > 10


def _elsewhere(host: str) -> bool:
    return host not in ("localhost", "127.0.0.1", "::1", "localhost:1")


def _url_without_protection(facts: Facts, path: str) -> bool:
    """Tell whether a URL carries a password to another machine; how it is protected is another question."""
    return "me:pw@elsewhere" in facts.text(path)


def _unproven(facts: Facts) -> bool:
    return facts.text("database.ssl_mode", "prefer") in ("disable", "allow", "prefer", "require")


def _weaker(facts: Facts) -> bool:
    order = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
    _, stated, asked = facts.text("database.url").partition("sslmode=")
    mode = facts.text("database.ssl_mode")
    return bool(stated) and mode in order and order.index(asked) < order.index(mode)


def _redis(facts: Facts, *, password_in_url: bool) -> bool:
    url = facts.text("redis.url")
    return (
        facts.redis == "distributed"
        and url.startswith("redis://")
        and "elsewhere" in url
        and ("me:pw@" in url) == password_in_url
        and not facts.switched("redis.tls", False)
    )


def _zero(path: str) -> Callable[[Facts], bool]:
    return lambda facts: facts.text(path, "1s") == "0s"


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
        lambda facts: facts.said("database.driver") and facts.text("database.driver") not in ("sqlite", "postgres"),
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
            and facts.said("temporal.standalone.namespace")
            and facts.said("temporal.namespace")
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
    "address.ignored.database.host": Promise("warning", "database.host", _ignored("database", "database.host")),
    "address.ignored.temporal.host_port": Promise(
        "warning", "temporal.host_port", _ignored("temporal", "temporal.host_port")
    ),
    "address.ignored.redis.url": Promise("warning", "redis.url", _ignored("redis", "redis.url")),
    "address.ignored.redis.host": Promise("warning", "redis.host", _ignored("redis", "redis.host")),
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
        lambda facts: (
            facts.driver == "postgres"
            and not facts.filled("database.url")
            and _elsewhere(facts.text("database.host", "localhost"))
            and facts.filled("database.password")
            and _unproven(facts)
        ),
    ),
    "database.url.unprotected": Promise(
        "warning",
        "database.url",
        lambda facts: (
            facts.driver == "postgres"
            and _url_without_protection(facts, "database.url")
            and facts.text("database.url").endswith(("=disable", "=require"))
        ),
    ),
    "database.url.unprotected-by-ssl_mode": Promise(
        "warning",
        "database.ssl_mode",
        lambda facts: (
            facts.driver == "postgres"
            and _url_without_protection(facts, "database.url")
            and "sslmode" not in facts.text("database.url")
            and _unproven(facts)
        ),
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
        lambda facts: facts.filled("redis.password") and _redis(facts, password_in_url=False),
    ),
    "redis.url.clear": Promise("warning", "redis.url", lambda facts: _redis(facts, password_in_url=True)),
    "redis.url.unverified": Promise(
        "warning",
        "redis.url",
        lambda facts: (
            facts.redis == "distributed"
            and facts.text("redis.url").startswith("rediss://")
            and facts.text("redis.url").endswith("=none")
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
        lambda facts: facts.temporal == "remote" and not facts.said("temporal.task_queue") and not facts.said("name"),
    ),
    "shared.database": Promise(
        "warning",
        "database.name",
        lambda facts: (
            facts.driver == "postgres" and not facts.filled("database.url") and not facts.said("database.name")
        ),
    ),
    "shared.redis": Promise(
        "warning",
        "redis.db",
        lambda facts: facts.redis == "distributed" and not facts.filled("redis.url") and not facts.said("redis.db"),
    ),
    "temporal.encryption_key.missing": Promise(
        "error", "temporal.encryption_key", lambda facts: _encryption(facts)["source"] == "missing"
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
    "port.equal.temporal-ui": Promise("error", UI, _same_port(UI, FRONTEND, ui=True)),
    "port.equal.server-temporal": Promise("error", "server.port", _same_port("server.port", FRONTEND, ui=False)),
    "port.equal.server-ui": Promise("error", "server.port", _same_port("server.port", UI, ui=True)),
    "database.path.directory": Promise("error", "database.path", _path("database.path", lambda path: path == "/")),
    "database.path.climbs": Promise("error", "database.path", _path("database.path", _climbs)),
    "database.path.control": Promise("error", "database.path", _path("database.path", _unprintable)),
    "temporal.database_file.directory": Promise("error", TEMPORAL_FILE, _path(TEMPORAL_FILE, lambda path: path == "/")),
    "temporal.database_file.climbs": Promise("error", TEMPORAL_FILE, _path(TEMPORAL_FILE, _climbs)),
    "temporal.database_file.control": Promise("error", TEMPORAL_FILE, _path(TEMPORAL_FILE, _unprintable)),
    "database.path.empty": Promise(
        "error", "database.path", lambda facts: facts.driver == "sqlite" and facts.emptied("database.path")
    ),
    "temporal.database_file.empty": Promise(
        "error", TEMPORAL_FILE, lambda facts: facts.temporal in EMBEDDED and facts.emptied(TEMPORAL_FILE)
    ),
    "redis.data_dir.empty": Promise(
        "error", REDIS_DIRECTORY, lambda facts: facts.redis_persistent and facts.emptied(REDIS_DIRECTORY)
    ),
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
    "knowledge.no-vector-store": Promise(
        "warning",
        "knowledge.bases",
        lambda facts: (
            facts.driver == "sqlite"
            and bool(facts.listed("knowledge.bases"))
            and not facts.listed("knowledge.vector_dbs")
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
    "key.too-small": ("too-small", "error"),
    "key.doubled": ("doubled", "error"),
    "key.unidentified": ("unidentified", "error"),
    "secret.on-command-line": ("secret-on-command-line", "warning"),
    "variable.unset": ("unset-variable", "error"),
    "variable.unknown": ("unknown-variable", "warning"),
    "listener.open": ("open-listener", "error"),
    "listener.key": ("open-listener-key", "error"),
}


def findings_of(facts: Facts) -> set[str]:
    """Return the ids of the findings that must be there."""
    return {name for name, promise in PROMISES.items() if promise.when(facts)}
