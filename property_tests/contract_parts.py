"""The contract of components, drivers and the lifecycle, checked against the plan.

The arguments of a driver are those of its constructor, each of them a setting of the component that is named alike.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from property_tests.choices import KEY, Choice, resolved_of
from property_tests.contract_settings import STORES
from property_tests.oracle import Facts, Store

from compozy.drivers.port import Port
from compozy.errors import CompozyError
from compozy.provisioning.plan import make_plan
from compozy.provisioning.step import Step
from compozy.resolution.resolve import Resolved
from compozy.rulebook import Rulebook, load_rulebook
from compozy.rulebook.states import StateGraph
from compozy.settings.reference import load_reference
from compozy.settings.registry import Fact

_UI = {"temporal.standalone.enable_ui": "true", "temporal.standalone.frontend_port": "7001"}
_WRITTEN = {
    "database.host": "db", "database.port": "7002", "database.user": "me", "database.password": "pw",
    "database.name": "shop", "database.ssl_mode": "require", "database.max_connections": "7",
    "database.connect_timeout": "3s", "temporal.host_port": "t:1", "temporal.namespace": "shop",
    "temporal.api_key": "key", "temporal.encryption_key": KEY, "temporal.encryption_key_file": "keys.txt",
    "temporal.tls.server_name": "t", "redis.host": "cache", "redis.port": "7003", "redis.password": "word",
    "redis.db": "3", "redis.tls": "true", "temporal.standalone.bind_ip": "127.0.0.2",
    "temporal.standalone.ui_port": "7004", "temporal.standalone.require_ui": "true",
    "temporal.standalone.log_level": "error", "temporal.standalone.start_timeout": "7s",
    "redis.standalone.persistence.snapshot_interval": "9s", "redis.standalone.persistence.restore_on_startup": "false",
    "redis.standalone.persistence.snapshot_on_shutdown": "false", "database.auto_migrate": "false",
}  # fmt: skip
_STORE_FIELDS = {
    "user": "me", "password": "pw", "api_key": "key", "database": "shop", "db": 3, "tls": True, "ssl_mode": "require",
    "timeout": "4s", "path": "/kept", "collection": "things", "dimension": 7, "metric": "ip", "index_type": "ivfflat",
    "m": 8, "ef_construction": 9, "ef_search": 10, "lists": 11, "probes": 12,
}  # fmt: skip
_STORE_ADDRESSES: tuple[dict[str, Any], ...] = ({"url": "http://u:1"}, {"host": "h", "port": 2}, {"host": "h"}, {})
_STORES = [
    {"id": f"{provider}{at}", "provider": provider, **_STORE_FIELDS, **address}
    for provider in ("filesystem", "redis", "qdrant", "pgvector")
    for at, address in enumerate(_STORE_ADDRESSES)
]
CHOICES = (
    Choice(), Choice({}, {"valkey.binary": "missing"}), Choice({"mode": "persistent"}),
    Choice({"mode": "persistent", **_UI, **_WRITTEN}), Choice({"mode": "distributed", **_WRITTEN}),
    Choice({"mode": "distributed", "database.url": "postgres://h:7005/x", "redis.url": "redis://h:7006/4"}),
    Choice({"mode": "memory", "redis.standalone.persistence.enabled": "true", "database.path": "kept.db"}),
    Choice({"redis.standalone.persistence.data_dir": "kept"}),
    Choice({"mode": "persistent", STORES: json.dumps([*_STORES, {"id": "bare"}])}),
)  # fmt: skip
# How long a start may take without a setting for it, in seconds.
TIMEOUTS = {
    "sqlite": 10, "valkey": 15, "fakeredis": 10, "temporal-remote": 15, "redis-external": 15, "vector-filesystem": 10,
    "vector-redis": 15, "vector-qdrant-embedded": 30, "vector-qdrant": 15, "vector-pgvector": 10,
}  # fmt: skip
# The component of the project that a vector store without an address uses.
USED = {"vector-redis": "redis", "vector-pgvector": "database"}
KEPT = "redis.standalone.persistence.enabled"
SERVER = "temporal.standalone"
STATES = ("unresolved", "resolved", "validated", "provisioned")


@cache
def resolved_choices() -> tuple[tuple[Choice, Resolved], ...]:
    """Return the choices as the shipped rules resolve them."""
    return tuple((choice, resolved_of(load_rulebook(), choice)) for choice in CHOICES)


def part_faults(rulebook: Rulebook) -> Iterator[str]:
    """Yield the promises that the components and drivers of a rulebook break."""
    for row in rulebook.components:
        listed = STORES if row.id == "vector_store" else None
        decisions = {part: f"{row.id}.{part}" for part in ("mode", "driver", "kept")}
        if row.decisions != decisions or row.for_each != listed:
            yield f"component {row.id}"
    for choice, resolved in resolved_choices():
        configuration = replace(resolved.configuration, rulebook=rulebook)
        try:
            yield from _plan_faults(choice, replace(resolved, configuration=configuration))
        except CompozyError as error:
            yield f"no plan: {error}"


def _plan_faults(choice: Choice, resolved: Resolved) -> Iterator[str]:
    facts, steps = Facts(choice), make_plan(resolved).steps
    drivers = {
        "database": facts.driver, "redis": facts.redis_driver,
        "temporal": f"temporal-{'remote' if facts.temporal == 'remote' else 'embedded'}",
    }  # fmt: skip
    stores = {f"vector_store[{one['id']}]": Store(facts, one).driver for one in facts.listed(STORES)}
    if {step.component: step.driver for step in steps} != {**drivers, **stores}:
        yield "the components"
    yield from (f"{step.driver}: {fault}" for step in steps for fault in _step_faults(resolved, step))


def _step_faults(resolved: Resolved, step: Step) -> Iterator[str]:
    names = list(inspect.signature(load_reference(step.factory)).parameters)
    for what, found, promised in (
        ("needs", step.needs, (USED[step.driver],) if step.driver in USED else ()),
        ("options", dict(step.options), dict(_arguments(resolved, step, names))),
        ("timeout", step.timeout_s, _timeout(resolved, step.driver)),
        ("addresses", list(step.addresses), list(_addresses(resolved, step))),
        ("files", list(step.files), list(_files(resolved, step))),
    ):
        if found != promised:
            yield f"{what} {found}, promised {promised}"


def _arguments(resolved: Resolved, step: Step, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield the arguments of a driver, with the value of the setting or field of the component that is named alike."""
    component, fields = step.component, resolved.components[step.component].fields
    if fields:
        used = f"{USED.get(step.driver)}."
        project = {path.removeprefix(used): resolved.get(path) for path in resolved.values if path.startswith(used)}
        known = {**fields, "name": fields["id"], "timeout_s": fields.get("timeout"), "runtime": project}
        yield from ((name, known.get(name)) for name in names)
        return
    groups = (f"{component}.standalone.persistence", f"{component}.standalone", component)
    for name in names:
        last = "enabled" if name == "persistence" else name.removesuffix("_s")
        path = next((path for group in groups if (path := f"{group}.{last}") in resolved.values), None)
        if name == "vector_providers":
            yield name, ()
        elif name == "decided_by":
            yield name, str(resolved.values[KEPT].origin)
        elif (component, name) == ("temporal", "tls"):
            tls = "temporal.tls."
            yield name, {one.removeprefix(tls): resolved.get(one) for one in resolved.values if one.startswith(tls)}
        elif path is not None and last in ("frontend_port", "ui_port"):
            yield name, Port(resolved.get(path), path, resolved.values[path].origin.kind == "flag")
        elif path is not None:
            yield name, resolved.get(path)


def _timeout(resolved: Resolved, driver: str) -> float:
    path = {"postgres": "database.connect_timeout", "temporal-embedded": f"{SERVER}.start_timeout"}.get(driver)
    return float(resolved.get(path)) if path else TIMEOUTS[driver]


def _addresses(resolved: Resolved, step: Step) -> Iterator[str]:
    get, driver, fields = resolved.get, step.driver, resolved.components[step.component].fields
    if fields.get("provider") != "filesystem" and ("url" in fields or "host" in fields):
        host = f"{fields.get('host')}:{fields['port']}" if "port" in fields else fields.get("host")
        yield str(fields.get("url") or host)
    if driver == "postgres":
        yield f"{get('database.host')}:{get('database.port')}/{get('database.name')}"
    elif driver == "redis-external":
        yield f"{get('redis.host')}:{get('redis.port')}/{get('redis.db')}"
    elif driver == "temporal-remote":
        yield get("temporal.host_port")
    elif driver == "valkey":
        yield "a Unix socket"
    elif driver == "temporal-embedded":
        yield f"{get(f'{SERVER}.bind_ip')}:{get(f'{SERVER}.frontend_port')}"
        if get(f"{SERVER}.enable_ui"):
            yield f"http://{get(f'{SERVER}.bind_ip')}:{get(f'{SERVER}.ui_port')}"


def _files(resolved: Resolved, step: Step) -> Iterator[str]:
    """Yield where a driver keeps data, nothing in memory."""
    driver, fields = step.driver, resolved.components[step.component].fields
    endings = {"vector-filesystem": ".db", "vector-qdrant-embedded": ""}
    if driver in endings:
        yield f"{fields['path']}/{fields.get('collection') or fields['id']}{endings[driver]}"
    paths = {
        "sqlite": ["database.path"],
        "temporal-embedded": [f"{SERVER}.database_file", "temporal.encryption_key_file"],
        "valkey": ["redis.standalone.persistence.data_dir"] if resolved.get(KEPT) else [],
    }
    yield from (
        file for path in paths.get(driver, []) if (file := resolved.get(path)) is not None and file != ":memory:"
    )


def lifecycle_faults(graph: StateGraph) -> Iterator[str]:
    """Yield the promises that a state machine breaks: one way forward, one step back, and reset from everywhere."""
    forward = dict(zip(("resolve", "validate", "provision"), zip(STATES, STATES[1:], strict=False), strict=True))
    promised: dict[tuple[str, str], tuple[str, str, tuple[str, ...]]]
    promised = {(source, trigger): (target, trigger, (trigger,)) for trigger, (source, target) in forward.items()}
    promised["provisioned", "release"] = ("validated", "release", ())
    for state in STATES[1:]:
        step = "release-and-forget" if state == "provisioned" else "forget"
        promised[state, "reset"] = ("unresolved", step, ())
    found = {(one.source, one.trigger): (one.target, one.step, one.stages) for one in graph.transitions}
    if (graph.states, graph.initial, found) != (STATES, STATES[0], promised):
        yield "the lifecycle"


def fact_faults(facts: Mapping[str, Fact]) -> Iterator[str]:
    """Yield the promises about machine facts that are broken: a binary of the name is found or missing."""
    if list(facts) != ["valkey.binary"]:
        yield "the facts"
    for name, fact in facts.items():
        if (fact.values, fact.binary) != (("found", "missing"), name.partition(".")[0]):
            yield name
