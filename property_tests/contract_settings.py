"""The contract of settings, checked against resolved configurations.

What a setting is follows from its name here: a port is a number, the last word of a secret names one. Nothing is
compared with a row of `rules/settings.yaml`, whose every mutant must break one of these promises.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import yaml
from property_tests.choices import DIRECTORY

from compozy.base.document import read_document
from compozy.resolution.configuration import read_sources
from compozy.resolution.resolve import resolve
from compozy.rulebook import load_rulebook
from compozy.settings.contents import DocumentReader
from compozy.settings.origin import Candidate, Problem
from compozy.settings.redact import REDACTED, redact_value
from compozy.settings.registry import Registry, Setting
from compozy.settings.sources import DefaultSource, EnvironmentSource, Inputs
from compozy.settings.value_check import check
from compozy.settings.values import from_text

MODES = ("memory", "persistent", "distributed")
# What an empty configuration gives; a setting that is not listed is unset or derived.
DEFAULTS: Mapping[str, Any] = yaml.safe_load("""
name: project
version: 0.1.0
description: ""
database: {host: localhost, port: 5432, user: compozy, name: compozy, ssl_mode: prefer, max_connections: 25,
  connect_timeout: 5, auto_migrate: true}
temporal:
  host_port: "localhost:7233"
  namespace: default
  standalone: {frontend_port: 7233, bind_ip: 127.0.0.1, enable_ui: false, ui_port: 8233, require_ui: false,
    log_level: warn, start_timeout: 30}
redis:
  host: localhost
  port: 6379
  db: 0
  tls: false
  standalone:
    engine: auto
    persistence: {snapshot_interval: 300, restore_on_startup: true, snapshot_on_shutdown: true}
log: {level: warning, format: text}
server: {host: 127.0.0.1, port: 8080}
knowledge:
  vector_dbs: []
  bases: []
  fetch: {allow: [], timeout: 30}
  read: {max_size: 64000000, timeout: 30, memory: 1073741824}
models: []
workflows: []
memories: []
rules: []
runtime: {}
""")
VARIABLES = {
    "temporal.mode": "TEMPORAL_MODE", "redis.mode": "REDIS_MODE", "database.driver": "DB_DRIVER",
    "database.path": "DB_PATH", "database.url": "DB_URL", "temporal.host_port": "TEMPORAL_HOST_PORT",
    "redis.url": "REDIS_URL", "server.url": "COMPOZY_SERVER_URL",
}  # fmt: skip
FLAGS = {
    "mode": "--mode", "temporal.mode": "--temporal-mode", "redis.mode": "--redis-mode",
    "database.driver": "--db-driver", "database.path": "--db-path",
    "server.host": "--host", "server.port": "--port", "server.url": "--server",
    "log.level": "--log-level", "log.format": "--log-format", "log.file": "--log-file",
}  # fmt: skip
# Words of each choice; other words of the first four are left to the tables.
WORDS = {
    "mode": MODES, "database.driver": ("sqlite", "postgres"), "temporal.mode": ("memory", "persistent", "remote"),
    "redis.mode": MODES, "database.ssl_mode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "temporal.standalone.log_level": ("debug", "info", "warn", "error", "never"),
    "redis.standalone.engine": ("auto", "valkey", "fakeredis"),
    "log.level": ("debug", "info", "warning", "error"), "log.format": ("text", "json"),
    "provider": ("pgvector", "qdrant", "redis", "filesystem"), "metric": ("cosine", "l2", "ip"),
    "ssl_mode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "index_type": ("hnsw", "ivfflat", "none"),
}  # fmt: skip
OPEN_CHOICES = ("mode", "database.driver", "temporal.mode", "redis.mode")
SYNONYMS = {
    ("temporal.mode", "distributed"): "remote", ("metric", "euclid"): "l2", ("metric", "euclidean"): "l2",
    ("metric", "dot"): "ip", ("metric", "inner_product"): "ip",
}  # fmt: skip
SPELLINGS = {
    "database.conn_string": "database.url", "redis.distributed.password": "redis.password",
    "redis.distributed.db": "redis.db", "redis.distributed.tls": "redis.tls", "vector_dbs": "knowledge.vector_dbs",
    "knowledge_bases": "knowledge.bases",
    "worker.max_concurrent_workflow_execution_size": "worker.max_concurrent_workflows",
}  # fmt: skip
GROUPS = {"temporal.embedded.": "temporal.standalone.", "redis.embedded.": "redis.standalone."}
DESCRIBED = (
    "of", "longest", "minimum", "maximum", "values", "schemes", "secret", "header", "secret_parts", "unique",
    "identifies", "inside", "refers", "below", "needed_for", "aliases",
)  # fmt: skip
FIELDS: Mapping[str, Mapping[str, str]] = {
    "workflows": {
        "": "list of=text longest=4096",
    },
    "tools": {
        "": "list of=text longest=1000",
    },
    "knowledge.fetch.allow": {
        "": "list of=network longest=300",
    },
    "rules": {
        "": "list of=text longest=4096",
    },
    "knowledge.vector_dbs": {
        "": "list aliases=vector_dbs",
        "id": "text longest=255 unique identifies aliases=name",
        "provider": "choice values=pgvector,qdrant,redis,filesystem identifies aliases=type default=filesystem",
        "url": (
            "url longest=4096 schemes=http,https,redis,rediss,unix,postgresql,postgres,= secret_parts "
            "aliases=dsn,config.url,config.dsn"
        ),
        "host": "host longest=1000 secret_parts aliases=config.host",
        "port": "integer aliases=config.port",
        "user": "text longest=255 aliases=username,config.user,config.username",
        "password": "text longest=4096 secret aliases=config.password",
        "api_key": "text longest=8192 secret header aliases=config.api_key",
        "database": "text longest=255 aliases=dbname,config.database,config.dbname",
        "db": "integer minimum=0 aliases=config.db",
        "tls": "boolean aliases=ssl,config.tls,config.ssl",
        "ssl_mode": (
            "choice values=disable,allow,prefer,require,verify-ca,verify-full "
            "aliases=sslmode,config.ssl_mode,config.sslmode"
        ),
        "timeout": "duration aliases=config.timeout",
        "path": "path longest=4096 aliases=config.path",
        "collection": "text longest=255 aliases=table,index,config.collection,config.table,config.index",
        "dimension": "integer minimum=1 maximum=65536 aliases=dimensions,config.dimension,config.dimensions",
        "metric": "choice values=cosine,l2,ip aliases=distance,config.metric,config.distance",
        "index_type": "choice values=hnsw,ivfflat,none aliases=config.index_type",
        "m": "integer minimum=2 maximum=100 aliases=hnsw.m,config.m,config.hnsw.m",
        "ef_construction": (
            "integer minimum=4 maximum=1000 "
            "aliases=ef_construct,hnsw.ef_construction,config.ef_construction,config.ef_construct,config.hnsw.ef_construction"
        ),
        "ef_search": (
            "integer minimum=1 maximum=1000 aliases=ef,hnsw.ef_search,config.ef,config.ef_search,config.hnsw.ef_search"
        ),
        "lists": "integer minimum=1 maximum=32768 aliases=ivfflat.lists,config.lists,config.ivfflat.lists",
        "probes": "integer minimum=1 maximum=32768 aliases=ivfflat.probes,config.probes,config.ivfflat.probes",
    },
    "knowledge.bases": {
        "": "list aliases=knowledge_bases",
        "id": "text longest=255 unique identifies aliases=name",
        "store": "text longest=255 refers=knowledge.vector_dbs aliases=vector_db",
        "embedder": "text longest=255 refers=models",
        "ingest": "choice values=start,manual",
        "sources": "list",
        "sources.type": "choice values=markdown_glob,text,html,pdf,url identifies",
        "sources.path": (
            "text longest=4096 identifies inside needed_for=type=markdown_glob,type=text,type=html,type=pdf"
        ),
        "sources.url": "url longest=4096 schemes=http,https secret_parts identifies needed_for=type=url",
        "chunk.size": "integer minimum=1 maximum=1000000 default=512",
        "chunk.overlap": "integer minimum=0 maximum=1000000 below=chunk.size default=64",
    },
    "models": {
        "": "list",
        "id": "text longest=255 unique identifies aliases=name",
        "provider": "text longest=255 identifies",
        "model": "text longest=255 identifies",
        "api_key": "text longest=8192 secret header",
        "url": "url longest=4096 schemes=http,https secret_parts aliases=api_url,base_url",
        "organization": "text longest=255",
        "dimension": "integer minimum=1 maximum=65536 aliases=dimensions",
        "default": "boolean",
        "params.temperature": "number minimum=0 maximum=2",
        "params.top_p": "number minimum=0 maximum=1",
        "params.max_tokens": "integer minimum=1",
        "params.seed": "integer",
        "params.stop": "list of=text longest=255 aliases=params.stop_words",
        "params.timeout": "duration",
    },
    "memories": {
        "": "list",
        "id": "name longest=255 unique identifies aliases=name",
        "type": "choice values=buffer,message_count,token_count default=buffer",
        "max_messages": "integer minimum=1 maximum=1000000",
        "max_tokens": "integer minimum=1 maximum=1000000000",
        "ttl": "duration",
        "key": "text longest=1000",
        "eviction": "choice values=fifo,lru default=fifo",
        "redact": "list of=pattern longest=1000",
    },
    "runtime": {
        "": "map",
        "type": "choice values=python,bun,node,deno",
        "entrypoint": "path longest=4096",
        "permissions": "list of=text longest=1000",
        "timeout": "duration aliases=tool_execution_timeout",
        "env": "map",
    },
}
MOST = {
    "dimension": 65536, "m": 100, "ef_construction": 1000, "ef_search": 1000, "lists": 32768, "probes": 32768,
}  # fmt: skip
LONGEST: Mapping[str, int] = {
    "name": 255,
    "version": 100,
    "description": 10_000,
    "temporal.host_port": 300,
    "temporal.encryption_key": 10_000,
    **dict.fromkeys(("database.user", "database.name", "id", "collection", "user", "database"), 255),
    **dict.fromkeys(
        (
            "namespace",
            "task_queue",
            "tls.server_name",
            "standalone.bind_ip",
            "standalone.namespace",
            "standalone.cluster_name",
        ),
        255,
    ),
    **dict.fromkeys(("database.host", "redis.host", "host"), 1_000),
    "server.host": 255,
    "password": 4_096,
    "api_key": 8_192,
    "addr": 4_096,
}
LEAST = {
    "database.max_connections": 1, "worker.max_concurrent_workflows": 0, "redis.db": 0, "dimension": 1, "db": 0,
    "m": 2, "ef_construction": 4, "ef_search": 1, "lists": 1, "probes": 1,
}  # fmt: skip
SCHEMES = {
    "database.url": ("postgres://h/x", "postgresql://h/x", "host=h"), "server.url": ("http://h", "https://h"),
    "redis.url": ("redis://h", "rediss://h", "unix:///run/redis"),
    "url": (
        "http://h", "https://h", "redis://h", "rediss://h", "unix:///run/redis", "postgresql://h/x", "postgres://h/x",
        "host=h",
    ),
}  # fmt: skip
MAY_BE_MEMORY = ("database.path", "temporal.standalone.database_file", "path")
# An empty text is a value of these, which is an error where it is needed; of others it counts as not set.
EMPTIED = (
    "version", "description", "database.url", "database.host", "database.port", "database.user", "database.name",
    "temporal.host_port", "temporal.tls.server_name", "temporal.standalone.cluster_name", "redis.url", "redis.host",
    "redis.distributed.addr", "server.url", "id",
)  # fmt: skip
# What an address states for the settings of its parts.
STATED: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("database.url", "postgres://me:pw@h:7005/x?sslmode=require",
     {"database.host": "h", "database.port": 7005, "database.user": "me", "database.password": "pw",
      "database.name": "x", "database.ssl_mode": "require"}),
    ("redis.url", "rediss://:pw@h:7006/4",
     {"redis.host": "h", "redis.port": 7006, "redis.password": "pw", "redis.db": 4, "redis.tls": True}),
    ("redis.distributed.addr", "redis://h:7/3", {"redis.url": "redis://h:7/3", "redis.host": "h", "redis.db": 3}),
)  # fmt: skip
# Kept for a later version: a value is a warning.
NOT_USED_YET = ("temporal.standalone.cluster_name", "runtime")
SUGGESTED = {"modes": "mode", "modus": "mode"}
KINDS: Mapping[str, tuple[str, ...]] = {
    "switch": (
        "enabled",
        "enable_ui",
        "require_ui",
        "auto_migrate",
        "tls",
        "restore_on_startup",
        "snapshot_on_shutdown",
    ),
    "number": (
        "port",
        "frontend_port",
        "ui_port",
        "max_connections",
        "db",
        "max_concurrent_workflows",
        "dimension",
        "m",
        "ef_construction",
        "ef_search",
        "lists",
        "probes",
    ),
    "duration": ("connect_timeout", "start_timeout", "snapshot_interval", "retention", "timeout"),
    "size": ("max_size", "memory"),
    "path": ("path", "file", "database_file", "data_dir", "ca_file", "cert_file", "key_file", "encryption_key_file"),
    "list": ("vector_dbs", "bases", "models", "workflows", "memories", "rules", "tools", "allow"),
    "map": ("secrets", "runtime"),
    "url": ("url",),
    "listener": ("bind_ip",),
    "host": ("host",),
}
# For each kind a text, the value that it means, and a text that is refused (None: any text is a value).
SAMPLES: Mapping[str, tuple[str, Any, str | None]] = {
    "switch": ("true", True, "perhaps"), "number": ("7", 7, "eighty"), "duration": ("5m", 300.0, "soon"),
    "size": ("64KiB", 65536, "much"),
    "path": ("x/y", f"{DIRECTORY}/x/y", None), "list": ("[]", [], "{a: b}"), "map": ("{}", {}, "[]"),
    "url": ("http://h", "http://h", None), "listener": (" 127.0.0.2", "127.0.0.2", None), "host": (" h", "h", None),
    "text": (" Two Words", " Two Words", None),
}  # fmt: skip
SECRET_WORDS = ("password", "api_key", "encryption_key", "secrets")
ADDRESSES = ("url", "host", "addr", "host_port")
STORES = "knowledge.vector_dbs"
Entries = Mapping[str, Candidate]


def last(path: str) -> str:
    return path.rpartition(".")[2]


def kind_of(path: str) -> str:
    return "choice" if path in WORDS else next((kind for kind, names in KINDS.items() if last(path) in names), "text")


class Reading:
    """The values and problems of sources under a registry."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def variables(self, **texts: str) -> tuple[Entries, list[Problem]]:
        """Read variables of the environment."""
        layer = EnvironmentSource().read(Inputs(DIRECTORY, None, {}, texts), self.registry)
        return layer.entries, [*layer.problems, *check(self.registry, layer.entries)]

    def document(self, text: str) -> tuple[Entries, list[Problem]]:
        """Read a configuration file."""
        contents = DocumentReader(self.registry, None, DIRECTORY).read(read_document(text, "compozy.yaml"))
        return contents.entries, [*contents.problems, *check(self.registry, contents.entries)]

    def value(self, path: str, text: str) -> tuple[Any, set[str]]:
        """Return the value of one text of a setting, or of a field of a vector store, and the kinds of problems."""
        if path in self.registry.settings:
            entries, problems = self.variables(**{variable(path): text})
        else:
            plain = yaml.safe_load(text) if kind_of(path) in ("number", "switch") else text
            fields = {"id": "a", "provider": "qdrant", path: plain}
            entries, problems = self.document(json.dumps({"vector_dbs": [fields]}))
        found = entries.get(path if path in self.registry.settings else STORES)
        kinds = {problem.kind for problem in problems} - {"unused", "secret-on-command-line"}
        if found is None or path in self.registry.settings:
            return found.value if found else None, kinds
        return found.value[0].get(path), kinds

    def is_too_long(self, path: str, text: str) -> bool:
        """Return True if a text of a setting, or of a field of a vector store, is refused for its length."""
        if path in self.registry.settings:
            problems, key = self.variables(**{variable(path): text})[1], path
        else:
            stores = {"vector_dbs": [{"id": "a", "provider": "qdrant", path: text}]}
            problems, key = self.document(json.dumps(stores))[1], f"{STORES}[0].{path}"
        return ("too-long", key) in {(problem.kind, problem.key) for problem in problems}


def variable(path: str) -> str:
    return VARIABLES.get(path, "COMPOZY_" + path.upper().replace(".", "__"))


def reads(reading: Reading, path: str, setting: Setting) -> bool:
    """A text gives its value, and a text of another kind is refused."""
    kind = kind_of(path)
    if kind == "choice":
        return reads_words(reading, path)
    text, value, refused = SAMPLES[kind]
    if kind == "url":
        text = value = SCHEMES[path][0]
    if last(path) == "host_port":
        text = value = "h:1"
    if last(path) == "addr":
        text = value = "h"
    if last(path) in ("api_key", "encryption_key"):
        text = value = "[word]"
    if path == "server.host":
        text, value, _ = SAMPLES["listener"]
    addresses = {"url": "url", "host": "host", "listener": "listen_address"}
    if path == "server.host":
        kind = "listener"
    if (setting.type in addresses.values() or kind in addresses) and setting.type != addresses.get(kind):
        return False
    if reading.value(path, text) != (value, set()):
        return False
    others = [*([] if refused is None else [refused]), *(["7.5"] if kind == "number" else [])]
    return all("type" in reading.value(path, other)[1] for other in others)


def reads_words(reading: Reading, path: str) -> bool:
    """Each word of a choice is read, in capitals too; another one is refused, or left to the tables."""
    words = [(word, word) for word in WORDS[path]]
    words += [(word, meant) for (of, word), meant in SYNONYMS.items() if of == path]
    expected = set[str]() if path in OPEN_CHOICES else {"not-allowed"}
    read = all(reading.value(path, f" {word.upper()}") == (meant, set()) for word, meant in words)
    others = {word for choice in WORDS.values() for word in choice} - {word for word, _ in words}
    return read and all(reading.value(path, word)[1] == expected for word in (*others, "unknown-word"))


def is_bounded(reading: Reading, path: str, setting: Setting) -> bool:
    """The least number and the longest text are accepted, what lies beyond is refused; ports are left to the tables."""
    if kind_of(path) in ("text", "path", "url", "host", "listener"):
        longest = LONGEST.get(path, LONGEST.get(path.removeprefix("temporal."), LONGEST.get(last(path), 4_096)))
        texts = ("/" * length for length in (longest, longest + 1))
        return [reading.is_too_long(path, text) for text in texts] == [False, True]
    if path in MOST and "too-large" not in reading.value(path, str(MOST[path] + 1))[1]:
        return False
    if path not in LEAST:
        return kind_of(path) != "number" or reading.value(path, "-1") == (-1, set())
    least = LEAST[path]
    return (
        reading.value(path, str(MOST.get(path, least)))[1] == set()
        and reading.value(path, str(least))[1] == set()
        and reading.value(path, str(least - 1))[1] == {"too-small"}
    )


def is_hidden(reading: Reading, path: str, setting: Setting) -> bool:
    """A secret is hidden whole, of an address what is secret in it, and another value not at all."""
    shown = str(redact_value(setting, "me:word@h"))
    if last(path) in SECRET_WORDS:
        return shown == REDACTED
    return ("word" not in shown and shown != REDACTED) == (last(path) in ADDRESSES)


def fits_a_header(reading: Reading, path: str, setting: Setting) -> bool:
    """A key that is sent in a header has no blanks; other texts may have some."""
    if kind_of(path) != "text" or path in ("temporal.host_port", "redis.distributed.addr"):
        return True
    refused = "type" in reading.value(path, "two words")[1]
    return refused == (last(path) == "api_key")


def has_scheme(reading: Reading, path: str, setting: Setting) -> bool:
    """A URL begins with one of its schemes."""
    if kind_of(path) != "url":
        return True
    accepted = all(reading.value(path, text)[1] == set() for text in SCHEMES[path])
    return accepted and reading.value(path, "other://h/x")[1] != set()


def is_anchored(reading: Reading, path: str, setting: Setting) -> bool:
    """A relative path is seen from the project; `:memory:` stays where a database may be in memory."""
    if kind_of(path) != "path":
        return True
    memory: bool = reading.value(path, ":memory:")[0] == ":memory:"
    return memory == (path in MAY_BE_MEMORY)


def is_form_of_address(reading: Reading, path: str, setting: Setting) -> bool:
    """Host and port are both there in `host:port`."""
    return last(path) != "host_port" or "type" in reading.value(path, "no port")[1]


def may_be_emptied(reading: Reading, path: str, setting: Setting) -> bool:
    """An empty text in a file is a value, an error of its type, or not set."""
    field = path not in reading.registry.settings
    contents = {"vector_dbs": [{"id": "a", "provider": "qdrant", path: ""}]} if field else nested(path, "")
    entries, problems = reading.document(json.dumps(contents))
    found = entries[STORES].value[0] if field and STORES in entries else entries
    emptied: bool = found.get(path) == "" if field else path in found
    refused = any(problem.kind == "type" for problem in problems)
    return bool(emptied or refused) == (path in EMPTIED)


def nested(path: str, value: object) -> dict[str, Any]:
    """Return a document with a value at a path."""
    group, _, rest = path.partition(".")
    return {group: nested(rest, value) if rest else value}


def is_named(reading: Reading, path: str, setting: Setting) -> bool:
    """The flag, and the value without any source."""
    if path not in reading.registry.settings:
        return True
    try:
        given = DefaultSource().read(Inputs(DIRECTORY, None), reading.registry).entries.get(path)
    except ValueError:
        return False
    value: Any = DEFAULTS
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    same: bool = (given.value if given else None) == value
    return setting.flag == FLAGS.get(path) and same


def is_used(reading: Reading, path: str, setting: Setting) -> bool:
    """A setting that nothing uses yet is a warning when it has a value."""
    if path not in reading.registry.settings:
        return True
    fields = reading.registry.settings[path].items
    filled = {"list": "[{id: a}]" if fields else "[a]", "map": "{type: bun}" if fields else "{a: b}"}
    _, problems = reading.variables(**{variable(path): filled.get(kind_of(path), "h:1")})
    return ("unused" in {problem.kind for problem in problems}) == (path in NOT_USED_YET)


def is_spelled(reading: Reading, path: str, setting: Setting) -> bool:
    """Each further spelling of a setting or a group is known, and no other one."""
    if path not in reading.registry.settings:
        return True
    expected = {path, *(spelled for spelled, meant in SPELLINGS.items() if meant == path)}
    expected |= {path.replace(group, alias, 1) for alias, group in GROUPS.items() if path.startswith(group)}
    return {spelled for spelled, meant in reading.registry.spelled.items() if meant == path} == expected


def has_its_fields(reading: Reading, path: str, setting: Setting) -> bool:
    """A list or map holds what is promised, and nothing else."""
    return path not in FIELDS or dict(described(setting, "")) == FIELDS[path]


def described(setting: Setting, name: str) -> Iterator[tuple[str, str]]:
    """Yield a setting and the fields in it by name, in the columns that specify the accepted values."""
    given = {column: getattr(setting, column) for column in (*DESCRIBED, *(["default"] if name else []))}
    words = [
        column if value is True else f"{column}={','.join(value) if isinstance(value, tuple) else value}"
        for column, value in given.items()
        if value is not None and value is not False and value not in ("", ())
    ]
    yield name, " ".join([setting.type, *words])
    for item in setting.items.values():
        yield from described(item, f"{name}.{item.path}".removeprefix("."))


EACH: tuple[Callable[[Reading, str, Setting], bool], ...] = (
    reads, is_bounded, is_hidden, fits_a_header, has_scheme, is_anchored, is_form_of_address, is_named, is_used,
    is_spelled, may_be_emptied, has_its_fields,
)  # fmt: skip


def joint_faults(reading: Reading) -> Iterator[str]:
    """Yield the broken promises about several settings together."""
    found, _ = reading.document("redis: {distributed: {addr: 'h:7'}}")
    if [found[path].value for path in ("redis.host", "redis.port") if path in found] != ["h", 7]:
        yield "redis.distributed.addr is host and port"
    yield from stated_faults(reading)
    yield from followed_faults(reading)
    yield from document_faults(reading)
    for word, meant in SUGGESTED.items():
        _, problems = reading.document(f"{word}: memory")
        if [problem.facts.get("suggestion") for problem in problems] != [meant]:
            yield f"{word} suggests {meant}"


def stated_faults(reading: Reading) -> Iterator[str]:
    """Yield the parts of addresses that are not decided by the highest source that states them."""
    rulebook = replace(load_rulebook(), registry=reading.registry)

    def effective(path: str, flags: Mapping[str, str], variables: Mapping[str, str]) -> Any:
        found = read_sources(Inputs(DIRECTORY, None, flags, variables), rulebook).candidates.get(path)
        return found[0].value if found else None

    for address, text, parts in STATED:
        for path, value in parts.items():
            own = {"database.ssl_mode": "verify-full", "redis.tls": "false"}.get(path, "8")
            read = from_text(reading.registry.settings[path], own, DIRECTORY)
            if effective(path, {address: text}, {variable(path): "disable" if "ssl" in path else own}) != value:
                yield f"{address} above {path}"
            if effective(path, {path: own}, {variable(address): text}) != read:
                yield f"{path} above {address}"
            kinds = {problem.kind for problem in reading.variables(**{variable(address): text, variable(path): own})[1]}
            weaker = path == "database.ssl_mode"  # an error of the constraint tables
            if not weaker and address != "redis.distributed.addr" and "two-spellings" not in kinds:
                yield f"{address} and {path} in one source"
    url, mode = {"database.url": "postgres://h/x?sslmode=disable"}, {"COMPOZY_DATABASE__SSL_MODE": "require"}
    if effective("database.ssl_mode", url, mode) != "require":
        yield "an address that weakens what is written"


def followed_faults(reading: Reading) -> Iterator[str]:
    """Yield the settings that do not take the value of another one."""
    rulebook = replace(load_rulebook(), registry=reading.registry)
    for flags, path in (
        ({"name": "n", "temporal.mode": "remote"}, "temporal.task_queue"),
        ({"name": "n", "redis.mode": "distributed"}, "redis.namespace"),
        ({"temporal.namespace": "n"}, "temporal.standalone.namespace"),
        ({"temporal.standalone.namespace": "n"}, "temporal.namespace"),
    ):
        given = read_sources(Inputs(DIRECTORY, None, flags), rulebook)
        if resolve(given, {"valkey.binary": "found"}).get(path) != "n":
            yield f"{path} takes the value of another setting"


# Problems that a configuration file must have: listeners that other machines reach, and elements of a list.
EXPECTED_PROBLEMS: tuple[tuple[str, set[str]], ...] = (
    ("server: {host: 0.0.0.0}", {"open-listener-key"}),
    ("server: {host: 0.0.0.0, api_key: of-sixteen-characters}", set()),
    ("server: {host: 127.0.0.1}", set()),
    ("temporal: {standalone: {bind_ip: 0.0.0.0}}", {"open-listener"}),
    ("vector_dbs: [{id: a, provider: qdrant}, {id: a, provider: redis}]", {"doubled"}),
    ("vector_dbs: [{provider: qdrant}, {id: b}]", set()),
    ("vector_dbs: [{url: 'http://h'}]", {"unidentified"}),
    ("vector_dbs: [{name: a, dsn: 'http://h'}, {id: b, config: {url: 'http://h', port: 7, host: h}}]", set()),
    ("vector_dbs: [{id: b, config: {dsn: 'http://h', api_key: x, password: x, path: x, collection: x}}]", set()),
    ("vector_dbs: [{id: b, config: {dimension: 1, metric: ip}}]", set()),
    ("{vector_dbs: [{id: a}], models: [{id: m}], knowledge_bases: [{id: k, store: a, embedder: m}]}", set()),
    ("knowledge_bases: [{id: k, store: a}]", {"unknown-reference"}),
    ("knowledge_bases: [{id: k, embedder: m}]", {"unknown-reference"}),
    ("knowledge_bases: [{id: k, chunk: {size: 65}}]", set()),
    ("knowledge_bases: [{id: k, chunk: {size: 64}}]", {"not-below"}),
    ("knowledge_bases: [{id: k, chunk: {overlap: 512}}]", {"not-below"}),
    ("knowledge_bases: [{id: k, sources: [{type: text}, {type: url, path: a}]}]", {"missing-field"}),
    ("knowledge_bases: [{id: k, sources: [{type: pdf, path: a}, {type: url, url: 'http://h'}]}]", set()),
    ("knowledge_bases: [{id: k, sources: [{type: text, path: ../a}]}]", {"climbing"}),
    ("knowledge_bases: [{id: k, sources: [{type: text, path: /a}]}]", {"climbing"}),
)


# Elements of lists all of whose empty texts count as not set, and what is left of them.
EMPTIED_ELEMENTS: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("models", "{id: m, api_key: '', url: '', organization: ''}", {"id": "m"}),
    (
        "knowledge.bases",
        "{id: k, store: '', embedder: '', sources: [{type: text, path: ' ', url: ''}]}",
        {"id": "k", "sources": [{"type": "text"}]},
    ),
)


def document_faults(reading: Reading) -> Iterator[str]:
    """Yield the configuration files whose problems or values differ from the promised ones."""
    for path, element, left in EMPTIED_ELEMENTS:
        found = reading.document(json.dumps(nested(path, [yaml.safe_load(element)])))[0].get(path)
        if found is None or found.value != [left]:
            yield f"empty texts of {path}"
    for text, promised in EXPECTED_PROBLEMS:
        kinds = {problem.kind for problem in reading.document(text)[1]} - {"unused"}
        if kinds != promised:
            yield f"{text}: {kinds}"


@cache
def known() -> tuple[frozenset[str], frozenset[str]]:
    """Return the settings and fields that the promises speak of, as they are shipped."""
    settings = load_rulebook().registry.settings
    return frozenset(settings), frozenset(settings[STORES].items)


def setting_faults(registry: Registry, path: str | None = None) -> Iterator[str]:
    """Yield the promises that a registry breaks, about every setting or about one, and about several together."""
    stores = registry.settings.get(STORES)
    fields = dict(stores.items) if stores else {}
    if (frozenset(registry.settings), frozenset(fields)) != known():
        yield "the settings"
        return
    reading, every = Reading(registry), {**fields, **registry.settings}
    for name in every if path is None else [path, *(fields if path == STORES else ())]:
        for promise in EACH:
            if not promise(reading, name, every[name]):
                yield f"{name}: {promise.__name__}"
    yield from joint_faults(reading)
