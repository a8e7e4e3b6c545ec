"""Vector stores of Qdrant and pgvector as components: from the rules to doctor, start, backup and restore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.qdrant_server import qdrant_server

from compozy.backup.restore import restore
from compozy.backup.take import back_up
from compozy.drivers.ports import free_port
from compozy.errors import ProvisionError
from compozy.provisioning.doctor import examine
from compozy.provisioning.lifecycle import Lifecycle
from compozy.provisioning.plan import Plan, make_plan
from compozy.provisioning.provision import Runtime, provision
from compozy.resolution.configuration import load_configuration
from compozy.resolution.resolve import Resolved, resolve
from compozy.testing.postgres_server import PostgresServer
from compozy.vector.vector_store import VectorRecord, VectorStore

FACTS = {"valkey.binary": "found"}
RECORDS = [VectorRecord(str(n), [1.0, float(n)], f"text {n}", {"n": n}) for n in range(20)]


def resolved_of(directory: Path, stores: str, **flags: str) -> Resolved:
    given = {"knowledge.vector_dbs": stores, **flags}
    return resolve(load_configuration(directory=str(directory), flags=given, environment={}), FACTS)


def plan_of(resolved: Resolved, *components: str) -> Plan:
    """Return the plan of the vector stores and of `components` alone."""
    plan = make_plan(resolved)
    kept = [step for step in plan.steps if step.component.startswith("vector_store[") or step.component in components]
    steps = [replace(step, needs=tuple(name for name in step.needs if name in components)) for step in kept]
    return replace(plan, steps=tuple(steps))


@contextmanager
def running(plan: Plan) -> Iterator[VectorStore]:
    with provision(plan) as runtime:
        assert {name: health.error for name, health in runtime.health().items() if not health.healthy} == {}
        yield store_of(runtime)


def store_of(runtime: Runtime) -> VectorStore:
    store: VectorStore = runtime.component("vector_store[docs]").handle
    return store


@pytest.mark.persistent
def test_backup_of_a_running_qdrant_is_restored_elsewhere(tmp_path: Path) -> None:
    stores, archive = "[{id: docs, provider: qdrant}]", tmp_path / "backup.tar.gz"
    places = [tmp_path / name for name in ("source", "target")]
    for place in places:
        place.mkdir()
    source, target = (resolved_of(place, stores, mode="persistent") for place in places)
    with running(plan_of(source)) as store:
        store.upsert(RECORDS)
        assert list(back_up(source, archive).files)[0].startswith("vector_store[docs].path/")
        store.upsert([VectorRecord("later", [1, 1])])
    assert restore(target, archive, force=False, accept_unsigned=True).left_out == ()
    with running(plan_of(target)) as store:
        assert [record.id for record in store.export()] == sorted(record.id for record in RECORDS)
    assert (places[1] / ".compozy" / "vector" / "docs" / "store.json").is_file()


def test_unreachable_qdrant_is_named_by_doctor_and_start(tmp_path: Path) -> None:
    """With instance, address and remedy."""
    port = free_port()
    given = {"knowledge.vector_dbs": f"[{{id: docs, provider: qdrant, host: 127.0.0.1, port: {port}}}]"}
    configuration = load_configuration(directory=str(tmp_path), flags=given, environment={})
    checks = {check.id: check for check in examine(Lifecycle(configuration, facts=FACTS))}
    reach = checks["vector_store[docs].reach"]
    assert (reach.status, bool(reach.fix)) == ("fail", True)
    assert f"127.0.0.1:{port}: connection refused" in reach.message
    with pytest.raises(ProvisionError) as caught:
        provision(plan_of(resolve(configuration, FACTS)))
    assert (caught.value.component, caught.value.row) == ("vector_store[docs]", "vector-qdrant")
    assert f"127.0.0.1:{port}: connection refused" in str(caught.value)


def test_qdrant_server_of_an_address_is_used_in_memory_mode(tmp_path: Path) -> None:
    with (
        qdrant_server() as server,
        running(plan_of(resolved_of(tmp_path, f"[{{id: docs, provider: qdrant, url: '{server.url}'}}]"))) as store,
    ):
        store.upsert(RECORDS)
        assert store.search([1, 0], 1, {"n": [3, 4]})[0].id == "3"


def test_pgvector_uses_the_database_of_the_project(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """Its preflight does so before the database is started."""
    with postgres_server.database() as url:
        flags = {"mode": "distributed", "database.url": url}
        resolved = resolved_of(tmp_path, "[{id: docs, provider: pgvector, dimension: 2}]", **flags)
        with running(plan_of(resolved, "database")) as store:
            store.upsert(RECORDS)
            assert store.search([1, 0], 1, {"n": [3, 4]})[0].id == "3"
        given = {"knowledge.vector_dbs": "[{id: docs, provider: pgvector}]", **flags}
        configuration = load_configuration(directory=str(tmp_path), flags=given, environment={})
        checks = {check.id: check.status for check in examine(Lifecycle(configuration, facts=FACTS))}
        assert checks["vector_store[docs].pgvector"] == "pass"
