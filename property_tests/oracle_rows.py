"""What the contract promises about settings, components, drivers and the lifecycle, said once more.

What comes in: nothing. What goes out: tables to compare the shipped rows with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MODES = ("memory", "persistent", "distributed")
# path: (type, default, what else is promised)
SETTINGS: Mapping[str, tuple[str, Any, Mapping[str, Any]]] = {
    "mode": ("choice", None, {"flag": "--mode", "values": MODES, "checked": "rules", "near": ("modes", "modus")}),
    "name": ("text", None, {"empty": "unset"}),
    "version": ("text", "0.1.0", {}),
    "description": ("text", "", {}),
    "database.driver": (
        "choice",
        None,
        {"env": "DB_DRIVER", "flag": "--db-driver", "values": ("sqlite", "postgres"), "checked": "rules"},
    ),
    "database.path": ("path", None, {"env": "DB_PATH", "flag": "--db-path", "memory": True}),
    "database.url": (
        "url",
        None,
        {
            "env": "DB_URL",
            "schemes": ("postgresql", "postgres", "="),
            "parts": {
                "host": "database.host",
                "port": "database.port",
                "user": "database.user",
                "password": "database.password",
                "name": "database.name",
                "sslmode": "database.ssl_mode",
            },
            "secret_parts": True,
            "aliases": ("database.conn_string",),
        },
    ),
    "database.host": ("host", "localhost", {"secret_parts": True}),
    "database.port": ("integer", 5432, {"empty": "value"}),
    "database.user": ("text", "compozy", {}),
    "database.password": ("text", None, {"secret": True, "empty": "unset"}),
    "database.name": ("text", "compozy", {}),
    "database.ssl_mode": (
        "choice",
        "prefer",
        {"values": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"), "ordered": True},
    ),
    "database.max_connections": ("integer", 25, {"minimum": 1}),
    "database.connect_timeout": ("duration", "5s", {}),
    "database.auto_migrate": ("boolean", True, {}),
    "temporal.mode": (
        "choice",
        None,
        {
            "env": "TEMPORAL_MODE",
            "flag": "--temporal-mode",
            "values": ("memory", "persistent", "remote"),
            "also": {"distributed": "remote"},
            "checked": "rules",
        },
    ),
    "temporal.host_port": (
        "text",
        "localhost:7233",
        {"env": "TEMPORAL_HOST_PORT", "host_port": True, "secret_parts": True},
    ),
    "temporal.namespace": ("text", "default", {"empty": "unset"}),
    "temporal.task_queue": ("text", None, {"same_as": "name", "empty": "unset"}),
    "temporal.api_key": ("text", None, {"secret": True, "header": True, "empty": "unset"}),
    "temporal.encryption_key": ("text", None, {"secret": True, "empty": "unset"}),
    "temporal.encryption_key_file": ("path", None, {}),
    "temporal.tls.enabled": ("boolean", None, {}),
    "temporal.tls.ca_file": ("path", None, {}),
    "temporal.tls.cert_file": ("path", None, {}),
    "temporal.tls.key_file": ("path", None, {}),
    "temporal.tls.server_name": ("text", None, {}),
    "temporal.standalone.database_file": ("path", None, {"memory": True}),
    "temporal.standalone.frontend_port": ("integer", 7233, {}),
    "temporal.standalone.bind_ip": ("listen_address", "127.0.0.1", {}),
    "temporal.standalone.namespace": (
        "text",
        None,
        {"same_as": "temporal.namespace", "shares": True, "empty": "unset"},
    ),
    "temporal.standalone.cluster_name": ("text", None, {"unused": True}),
    "temporal.standalone.enable_ui": ("boolean", False, {}),
    "temporal.standalone.ui_port": ("integer", 8233, {}),
    "temporal.standalone.require_ui": ("boolean", False, {}),
    "temporal.standalone.log_level": ("choice", "warn", {"values": ("debug", "info", "warn", "error", "never")}),
    "temporal.standalone.start_timeout": ("duration", "30s", {}),
    "redis.mode": (
        "choice",
        None,
        {"env": "REDIS_MODE", "flag": "--redis-mode", "values": MODES, "checked": "rules"},
    ),
    "redis.url": (
        "url",
        None,
        {
            "env": "REDIS_URL",
            "schemes": ("redis", "rediss", "unix"),
            "secret_parts": True,
            "parts": {
                "host": "redis.host",
                "port": "redis.port",
                "password": "redis.password",
                "name": "redis.db",
                "tls": "redis.tls",
            },
        },
    ),
    "redis.host": ("host", "localhost", {"secret_parts": True}),
    "redis.port": ("integer", 6379, {}),
    "redis.password": ("text", None, {"secret": True, "empty": "unset", "aliases": ("redis.distributed.password",)}),
    "redis.db": ("integer", 0, {"minimum": 0, "aliases": ("redis.distributed.db",)}),
    "redis.tls": ("boolean", False, {"aliases": ("redis.distributed.tls",)}),
    "redis.distributed.addr": (
        "text",
        None,
        {"splits": ("redis.host", "redis.port"), "url": "redis.url", "secret_parts": True},
    ),
    "redis.standalone.engine": ("choice", "auto", {"values": ("auto", "valkey", "fakeredis")}),
    "redis.standalone.persistence.enabled": ("boolean", None, {}),
    "redis.standalone.persistence.data_dir": ("path", None, {}),
    "redis.standalone.persistence.snapshot_interval": ("duration", "5m", {}),
    "redis.standalone.persistence.restore_on_startup": ("boolean", True, {}),
    "redis.standalone.persistence.snapshot_on_shutdown": ("boolean", True, {}),
    "log.level": (
        "choice",
        "warning",
        {"flag": "--log-level", "values": ("debug", "info", "warning", "error")},
    ),
    "log.format": ("choice", "text", {"flag": "--log-format", "values": ("text", "json")}),
    "log.file": ("path", None, {"flag": "--log-file"}),
    "server.host": (
        "listen_address",
        "127.0.0.1",
        {"flag": "--host", "secret_parts": True, "authenticated_by": "server.api_key"},
    ),
    "server.port": ("integer", 8080, {"flag": "--port"}),
    "server.api_key": ("text", None, {"secret": True, "header": True, "empty": "unset"}),
    "server.url": (
        "url",
        None,
        {"secret_parts": True, "schemes": ("http", "https"), "env": "COMPOZY_SERVER_URL", "flag": "--server"},
    ),
    "worker.max_concurrent_workflows": (
        "integer",
        None,
        {"minimum": 0, "aliases": ("worker.max_concurrent_workflow_execution_size",)},
    ),
    "knowledge.vector_dbs": ("list", [], {"aliases": ("vector_dbs",), "unused": True}),
    "knowledge.bases": ("list", [], {"aliases": ("knowledge_bases",), "unused": True}),
    "models": ("list", [], {"unused": True}),
    "workflows": ("list", [], {}),
    "memories": ("list", [], {"unused": True}),
    "rules": ("list", [], {}),
    "executions.retention": ("duration", None, {}),
    "secrets": ("map", None, {"secret": True}),
    "tools": ("list", None, {}),
    "runtime": ("map", {}, {"unused": True}),
}
GROUP_ALIASES = {"temporal.embedded": "temporal.standalone", "redis.embedded": "redis.standalone"}
# The fields of a vector store, as one writes them flat or under `config:`.
VECTOR_STORE: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "id": ("text", {"unique": True, "identifies": True, "aliases": ("name",)}),
    "provider": ("choice", {"identifies": True, "values": ("pgvector", "qdrant", "redis", "filesystem")}),
    "url": ("url", {"secret_parts": True, "aliases": ("dsn", "config.url", "config.dsn")}),
    "host": ("host", {"secret_parts": True, "aliases": ("config.host",)}),
    "port": ("integer", {"aliases": ("config.port",)}),
    "api_key": ("text", {"secret": True, "header": True, "aliases": ("config.api_key",)}),
    "password": ("text", {"secret": True, "aliases": ("config.password",)}),
    "path": ("path", {"aliases": ("config.path",)}),
    "collection": ("text", {"aliases": ("config.collection",)}),
    "dimension": ("integer", {"minimum": 1, "aliases": ("config.dimension",)}),
    "metric": ("choice", {"values": ("cosine", "l2", "ip"), "aliases": ("config.metric",)}),
}
FACTS = {"valkey.binary": (("found", "missing"), "valkey")}

COMPONENTS = {name: (f"{name}.mode", f"{name}.driver") for name in ("database", "temporal", "redis")}
_SERVER = "temporal.standalone"
_KEYS = {name: f"temporal.{name}" for name in ("encryption_key", "encryption_key_file")}
_KEPT = "redis.standalone.persistence"
# (component, driver): (module and class, options)
DRIVERS: Mapping[tuple[str, str], tuple[str, Mapping[str, Any]]] = {
    ("database", "sqlite"): ("sqlite:SqliteDriver", {"path": "database.path"}),
    ("database", "postgres"): (
        "postgres:PostgresDriver",
        {
            **{name: f"database.{name}" for name in ("url", "host", "port", "user", "password", "name", "ssl_mode")},
            "max_connections": "database.max_connections",
            "connect_timeout_s": "database.connect_timeout",
        },
    ),
    ("temporal", "temporal-embedded"): (
        "temporal_embedded:TemporalEmbeddedDriver",
        {
            **{
                name: f"{_SERVER}.{name}"
                for name in ("database_file", "bind_ip", "enable_ui", "require_ui", "log_level")
            },
            "frontend_port": {"port": f"{_SERVER}.frontend_port"},
            "ui_port": {"port": f"{_SERVER}.ui_port"},
            "namespace": "temporal.namespace",
            **_KEYS,
        },
    ),
    ("temporal", "temporal-remote"): (
        "temporal_remote:TemporalRemoteDriver",
        {
            **{name: f"temporal.{name}" for name in ("host_port", "namespace", "api_key")},
            "tls": {"group": "temporal.tls"},
            **_KEYS,
        },
    ),
    ("redis", "valkey"): (
        "redis_embedded:ValkeyDriver",
        {
            **{name: f"{_KEPT}.{name}" for name in ("data_dir", "restore_on_startup", "snapshot_on_shutdown")},
            "persistence": f"{_KEPT}.enabled",
            "decided_by": {"origin": f"{_KEPT}.enabled"},
            "snapshot_interval_s": f"{_KEPT}.snapshot_interval",
        },
    ),
    ("redis", "fakeredis"): (
        "redis_embedded:FakeRedisDriver",
        {"decided_by": {"origin": f"{_KEPT}.enabled"}},
    ),
    ("redis", "redis-external"): (
        "redis_external:RedisExternalDriver",
        {name: f"redis.{name}" for name in ("url", "host", "port", "password", "db", "tls")},
    ),
}

# (component, driver): the settings that say where it keeps data, each with the setting that must be on for it
FILES: Mapping[tuple[str, str], Mapping[str, str | None]] = {
    ("database", "sqlite"): {"database.path": None},
    ("temporal", "temporal-embedded"): {f"{_SERVER}.database_file": None, "temporal.encryption_key_file": None},
    ("redis", "valkey"): {f"{_KEPT}.data_dir": f"{_KEPT}.enabled"},
}

STATES = ("unresolved", "resolved", "validated", "provisioned")
# (state, trigger): (state afterwards, step, stages of the tables that decide)
TRANSITIONS: Mapping[tuple[str, str], tuple[str, str, tuple[str, ...]]] = {
    ("unresolved", "resolve"): ("resolved", "resolve", ("resolve",)),
    ("resolved", "validate"): ("validated", "validate", ("validate",)),
    ("validated", "provision"): ("provisioned", "provision", ("provision",)),
    ("provisioned", "release"): ("validated", "release", ()),
    ("provisioned", "reset"): ("unresolved", "release-and-forget", ()),
    ("validated", "reset"): ("unresolved", "forget", ()),
    ("resolved", "reset"): ("unresolved", "forget", ()),
}
