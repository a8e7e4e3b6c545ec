"""Vector stores as instances of a component: resolution, findings, plan, doctor, backup and restore."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.drivers.starting import Starting
from tests.support.search_module_server import HAS_MODULE, SearchModuleServer

from compozy.backup.restore import restore
from compozy.backup.take import back_up
from compozy.cli.status import print_status
from compozy.client.answers import ComponentHealth, HealthAnswer, WorkerHealth
from compozy.drivers.vector_redis import RedisVectorDriver
from compozy.errors import DriverError, ProvisionError
from compozy.provisioning.doctor import examine
from compozy.provisioning.lifecycle import Lifecycle
from compozy.provisioning.plan import Plan, make_plan
from compozy.provisioning.provision import provision
from compozy.resolution.configuration import Configuration, load_configuration
from compozy.resolution.resolve import Resolved, resolve
from compozy.resolution.validate import validate
from compozy.testing.servers import RedisServer
from compozy.vector.vector_store import VectorRecord

from .subjects import FACTS, VectorSetServer

SERVER = {"host": "vectors"}


def configured(folder: Path, *elements: Mapping[str, Any], **flags: str) -> Configuration:
    given = {"knowledge.vector_dbs": json.dumps(elements), **{key.replace("__", "."): v for key, v in flags.items()}}
    return load_configuration(directory=str(folder), flags=given, environment={})


def resolved_of(folder: Path, *elements: Mapping[str, Any], **flags: str) -> Resolved:
    return resolve(configured(folder, *elements, **flags), FACTS)


def stores_of(resolved: Resolved) -> Plan:
    """Return the plan of the vector stores alone."""
    plan = make_plan(resolved)
    return replace(plan, steps=tuple(step for step in plan.steps if step.component.startswith("vector_store[")))


@pytest.mark.parametrize(
    ("element", "mode", "expected"),
    [
        ({"provider": "filesystem"}, "memory", ("memory", "vector-filesystem", False)),
        ({"provider": "filesystem"}, "persistent", ("persistent", "vector-filesystem", True)),
        ({"provider": "filesystem"}, "distributed", ("distributed", "vector-filesystem", True)),
        ({"provider": "filesystem", **SERVER}, "memory", ("memory", "vector-filesystem", False)),
        ({"provider": "filesystem", "path": "own"}, "memory", ("memory", "vector-filesystem", True)),
        ({"provider": "filesystem", "path": ":memory:"}, "persistent", ("persistent", "vector-filesystem", False)),
        ({"provider": "qdrant"}, "memory", ("memory", "vector-qdrant-embedded", False)),
        ({"provider": "qdrant"}, "persistent", ("persistent", "vector-qdrant-embedded", True)),
        ({"provider": "qdrant", **SERVER}, "memory", ("distributed", "vector-qdrant", True)),
        ({"type": "Qdrant", "config": {"url": "http://q:6333"}}, "persistent", ("distributed", "vector-qdrant", True)),
        ({"provider": "qdrant", "port": 6333}, "distributed", ("distributed", "vector-qdrant", True)),
        ({"provider": "redis"}, "memory", ("memory", "vector-redis", False)),
        ({"provider": "redis"}, "persistent", ("persistent", "vector-redis", True)),
        ({"provider": "redis"}, "distributed", ("distributed", "vector-redis", True)),
        ({"provider": "redis", "dsn": "redis://r:1/0"}, "memory", ("distributed", "vector-redis", True)),
        ({"provider": "pgvector"}, "distributed", ("distributed", "vector-pgvector", True)),
        ({"provider": "pgvector"}, "memory", ("memory", "vector-pgvector", False)),
        ({"provider": "pgvector", **SERVER}, "persistent", ("distributed", "vector-pgvector", True)),
        ({}, "memory", ("memory", "vector-filesystem", False)),
    ],
)
def test_provider_mode_and_address_decide_the_driver(
    element: Mapping[str, Any], mode: str, expected: tuple[str, str, bool], tmp_path: Path
) -> None:
    part = resolved_of(tmp_path, {"name": "docs", **element}, mode=mode).components["vector_store[docs]"]
    assert (part.mode, part.driver, part.kept) == expected


def test_redis_store_follows_the_redis_of_the_project(tmp_path: Path) -> None:
    resolved = resolved_of(tmp_path, {"id": "a", "provider": "redis"}, redis__mode="persistent")
    assert (resolved.components["vector_store[a]"].mode, resolved.components["vector_store[a]"].kept) == (
        "persistent", True,
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["memory", "persistent"])
@pytest.mark.parametrize("provider", ["pgvector", "PGVector"])
def test_pgvector_on_sqlite_is_an_error_with_and_without_an_address(provider: str, mode: str, tmp_path: Path) -> None:
    elements: list[dict[str, Any]] = [
        {"id": "a", "provider": provider},
        {"id": "b", "type": provider, "config": {"host": "db"}},
    ]
    found = [one for one in validate(resolved_of(tmp_path, *elements, mode=mode)) if one.severity == "error"]
    assert [(one.id, one.key) for one in found] == [
        ("knowledge.pgvector-on-sqlite", f"knowledge.vector_dbs[{at}].provider") for at in range(2)
    ]
    assert found[0].message.splitlines()[0] == "pgvector provider is incompatible with SQLite driver."


@pytest.mark.parametrize(
    ("element", "options"),
    [
        pytest.param({"provider": "qdrant", "config": {"url": "https://q", "api_key": "k", "collection": "c"}},
                     {"url": "https://q", "api_key": "k", "collection": "c"}, id="config"),
        pytest.param({"provider": "qdrant", "host": "q", "ssl": True, "hnsw": {"m": 8, "ef_construction": 9}, "ef": 90},
                     {"host": "q", "tls": True, "m": 8, "ef_construction": 9, "ef_search": 90}, id="hnsw"),
        pytest.param({"provider": "pgvector", "dsn": "postgres://db/x", "table": "t", "index_type": "ivfflat",
                      "config": {"lists": 10, "ivfflat": {"probes": 3}}, "metric": "euclidean", "dimensions": 3},
                     {"url": "postgres://db/x", "collection": "t", "index_type": "ivfflat", "lists": 10, "probes": 3,
                      "metric": "l2", "dimension": 3}, id="ivfflat"),
        pytest.param({"provider": "redis", "host": "r", "port": 1, "db": 2, "password": "p", "index": "i",
                      "index_type": "hnsw", "m": 8, "ef_construction": 9, "ef": 90},
                     {"host": "r", "port": 1, "db": 2, "password": "p", "collection": "i",
                      "index_type": "hnsw", "m": 8, "ef_construction": 9, "ef_search": 90}, id="redis"),
    ],
)  # fmt: skip
def test_settings_are_written_flat_or_under_config_with_their_other_names(
    element: Mapping[str, Any], options: Mapping[str, Any], tmp_path: Path
) -> None:
    plan = stores_of(resolved_of(tmp_path, {"name": "docs", **element}, mode="distributed"))
    given = plan.steps[0].options
    assert {name: given[name] for name in options} == options
    assert given["name"] == "docs"


@pytest.mark.parametrize(
    ("element", "finding"),
    [
        pytest.param({"provider": "qdrant", "pth": "x"}, ("key.unknown", "did you mean"), id="unknown-key"),
        pytest.param({"provider": "qdrant", "config": {"api_kye": "x"}}, ("key.unknown", "did you mean"), id="nested"),
        pytest.param({"provider": "qdrantt"}, ("key.not-allowed", "did you mean"), id="unknown-provider"),
        pytest.param({"provider": "filesystem", "path": "../o"}, ("vector_store.path.climbs", "below"), id="climbing"),
        pytest.param({"provider": "qdrant", "path": "a.txt"}, ("vector_store.path.file", "directory"), id="file"),
    ],
)
def test_fault_of_an_element_is_reported_with_a_hint(
    element: Mapping[str, Any], finding: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").touch()
    found = validate(resolved_of(tmp_path, {"id": "docs", **element}))
    assert [one.id for one in found if one.severity == "error"] == [finding[0]]
    assert finding[1] in next(one for one in found if one.id == finding[0]).hint


def test_any_id_gives_a_file_inside_the_directory(tmp_path: Path) -> None:
    names = ["../up", ".", "a/b", "x" * 255, "é" * 255, "docs"]
    plan = stores_of(resolved_of(tmp_path, *({"id": name} for name in names), mode="persistent"))
    files = [path for step in plan.steps for path in step.files]
    assert {Path(path).parent for path in files} == {tmp_path / ".compozy" / "vector"}
    assert len({Path(path).name for path in files}) == len(names)
    assert max(len(Path(path).name) for path in files) < 200


def test_file_is_backed_up_while_the_store_is_open_and_restored(tmp_path: Path) -> None:
    element = {"id": "a/b", "provider": "filesystem"}
    archive = tmp_path / "backup.tar.gz"
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
    source, target = (resolved_of(tmp_path / name, element, mode="persistent") for name in ("source", "target"))
    with provision(stores_of(source)) as runtime:
        store = runtime.component("vector_store[a/b]").handle
        store.upsert([VectorRecord(f"r{number}", [1, number], "first") for number in range(10)])
        store.upsert([VectorRecord("r0", [5, 5], "last")])
        back_up(source, archive)
    assert restore(target, archive, force=False, accept_unsigned=True).left_out == ()
    with provision(stores_of(target)) as runtime:
        found = list(runtime.component("vector_store[a/b]").handle.export())
    assert [one.text for one in found] == ["last", *["first"] * 9]


def test_second_store_on_the_same_file_is_refused(tmp_path: Path) -> None:
    elements = [{"id": name, "provider": "filesystem", "collection": "same"} for name in ("a", "b")]
    with (
        pytest.raises(ProvisionError) as caught,
        provision(stores_of(resolved_of(tmp_path, *elements, mode="persistent"))),
    ):
        pass
    assert "same.db" in str(caught.value)


def test_file_of_another_program_is_refused_and_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "docs.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    before = file.read_bytes()
    resolved = resolved_of(tmp_path, {"id": "docs", "path": str(tmp_path)}, mode="persistent")
    with pytest.raises(ProvisionError, match="another program"), provision(stores_of(resolved)):
        pass
    assert file.read_bytes() == before


def checks(folder: Path, *elements: Mapping[str, Any], **flags: str) -> Mapping[str, tuple[str, str]]:
    lifecycle = Lifecycle(configured(folder, *elements, **flags), facts=FACTS)
    return {one.id: (one.status, one.message) for one in examine(lifecycle) if one.id.startswith("vector_store[")}


def test_doctor_checks_each_store(tmp_path: Path) -> None:
    elements = [
        {"id": "a"},
        {"id": "b", "provider": "redis"},
        {"id": "c", "provider": "redis", "url": "redis://127.0.0.1:9"},
    ]
    found = checks(tmp_path, *elements, mode="persistent")
    assert found["vector_store[a].files"][0] == "pass"
    assert found["vector_store[b].reach"][0] == "skip"
    status, message = found["vector_store[c].reach"]
    assert (status, "connection refused" in message) == ("fail", True)


FORMS: list[tuple[type[RedisServer], str]] = [(VectorSetServer, "vector sets"), (RedisServer, "packed blocks")]


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("server", "form"), [*FORMS, (SearchModuleServer, "FT.SEARCH")] if HAS_MODULE else FORMS, ids=lambda one: str(one)
)
def test_doctor_and_status_name_the_form_of_a_redis_store(
    server: type[RedisServer], form: str, started: Starting, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with server() as running:
        found = checks(tmp_path, {"id": "a", "provider": "redis", "url": running.url})
        assert found["vector_store[a].search"] == ("pass", f"searches by {form}")
        driver = RedisVectorDriver(name="a", url=running.url)
        driver.start(started.context())
        details = driver.describe().details
        driver.stop(0)
    part = ComponentHealth(mode="distributed", driver="vector-redis", healthy=True, details=dict(details))
    components = {"redis": ComponentHealth(mode="memory", driver="valkey", healthy=True), "vector_store[a]": part}
    worker = WorkerHealth(healthy=True)
    print_status(HealthAnswer(state="provisioned", mode="memory", ready=True, components=components, worker=worker))
    assert f"vector_store[a] searches by {form}" in capsys.readouterr().out.splitlines()


@pytest.mark.distributed
def test_error_of_a_redis_of_its_own_names_the_settings_of_the_store(started: Starting, tmp_path: Path) -> None:
    with VectorSetServer() as server:
        driver = RedisVectorDriver(name="a", host="127.0.0.1", port=server.port, password="hunter2")
        with pytest.raises(DriverError, match="password was refused") as caught:
            driver.start(started.context())
        assert caught.value.hint == "correct password of the vector store, or the password in url of the vector store"
        assert "hunter2" not in str(caught.value)
