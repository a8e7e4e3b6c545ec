"""The vector store on Qdrant's engine in the process."""

from __future__ import annotations

import math
import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.polling import eventually

from compozy.drivers.vector_qdrant_embedded import QdrantEmbeddedDriver
from compozy.errors import DriverError, VectorError
from compozy.vector.vector_store import VectorRecord, VectorStore

from .starting import Starting, marked

DIMENSION = 8


@pytest.fixture
def opened(started: Starting) -> Iterator[Callable[..., VectorStore]]:
    drivers = []

    def start(path: str, **options: Any) -> VectorStore:
        driver = QdrantEmbeddedDriver(name="docs", path=path, **options)
        driver.start(started.context())
        drivers.append(driver)
        driver.ping()
        store = driver.handle
        assert store is not None
        return store

    yield start
    for driver in drivers:
        driver.stop(0)


def records(count: int, seed: int = 1) -> list[VectorRecord]:
    chance = random.Random(seed)
    return [
        VectorRecord(
            f"r{number:05}", [chance.gauss(0, 1) for _ in range(DIMENSION)], f"text {number}", {"n": number % 7}
        )
        for number in range(count)
    ]


def cosine(left: VectorRecord, right: VectorRecord) -> float:
    dot = sum(a * b for a, b in zip(left.vector, right.vector, strict=True))
    return dot / math.hypot(*left.vector) / math.hypot(*right.vector)


@pytest.mark.parametrize("metric", [None, "l2", "ip"])
def test_search_agrees_with_exact_search(metric: str | None, opened: Callable[..., VectorStore]) -> None:
    store, found = opened(":memory:", metric=metric), records(500)
    store.upsert(found)
    expected = sorted(found, key=lambda one: -cosine(found[3], one))[:10]
    matches = store.search(found[3].vector, 10)
    assert [match.id for match in matches] == [one.id for one in expected]
    assert [match.score for match in matches] == pytest.approx([cosine(found[3], one) for one in expected], abs=1e-6)


def test_temporary_directory_is_removed_at_stop(
    started: Starting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    driver = QdrantEmbeddedDriver(name="docs", path=":memory:")
    driver.start(started.context())
    assert driver.handle is not None
    driver.handle.upsert(records(3))
    assert len(os.listdir(tmp_path)) == 1
    driver.stop(0)
    assert os.listdir(tmp_path) == []


def test_restart_keeps_every_record(tmp_path: Path, started: Starting) -> None:
    for expected in (0, 3):
        driver = QdrantEmbeddedDriver(name="docs", path=str(tmp_path))
        driver.start(started.context())
        assert driver.handle is not None
        assert driver.handle.count() == expected
        driver.handle.upsert(records(3))
        driver.stop(0)


def test_start_removes_copies_of_a_killed_build(
    tmp_path: Path, started: Starting, opened: Callable[..., VectorStore]
) -> None:
    driver = QdrantEmbeddedDriver(name="docs", path=str(tmp_path))
    driver.start(started.context())
    assert driver.handle is not None
    driver.handle.upsert(records(3))
    driver.stop(0)
    for name in ("temp-shard-2", "shard-2"):
        shutil.copytree(tmp_path / "docs" / "shard-1", tmp_path / "docs" / name)
    assert opened(str(tmp_path)).count() == 3
    assert one_shard(tmp_path / "docs")


def test_second_start_is_refused_with_the_owner(tmp_path: Path, opened: Callable[..., VectorStore]) -> None:
    opened(str(tmp_path))
    with pytest.raises(DriverError, match=f"in use by process {os.getpid()}"):
        opened(str(tmp_path))


def test_another_dimension_is_refused(tmp_path: Path, started: Starting, opened: Callable[..., VectorStore]) -> None:
    driver = QdrantEmbeddedDriver(name="docs", path=str(tmp_path))
    driver.start(started.context())
    assert driver.handle is not None
    driver.handle.upsert(records(3))
    driver.stop(0)
    with pytest.raises(DriverError, match=r"dimension 8, and the configuration 9"):
        opened(str(tmp_path), dimension=9)
    with pytest.raises(VectorError, match="wrong dimension"):
        opened(str(tmp_path)).search([1.0] * 9)


@pytest.mark.parametrize(
    "file",
    [
        pytest.param("vector_storage/vectors/status.dat", id="panic"),
        pytest.param("segment.json", id="error"),
        pytest.param("vector_storage/vectors/chunk_0.mmap", id="unreadable-vector"),
    ],
)
def test_damaged_file_is_reported_by_doctor_and_start(file: str, tmp_path: Path, started: Starting) -> None:
    """Doctor loads a copy, because the engine changes what it loads."""
    driver = QdrantEmbeddedDriver(name="docs", path=str(tmp_path))
    driver.start(started.context())
    assert driver.handle is not None
    driver.handle.upsert(records(3))
    driver.stop(0)
    driver.examine(started.context())
    damaged = next(tmp_path.glob(f"docs/shard-1/segments/*/{file}"))
    os.truncate(damaged, 0)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(DriverError, match=str(tmp_path)):
        driver.examine(started.context())
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    with pytest.raises(DriverError, match=str(tmp_path)):
        driver.start(started.context())


def test_index_is_built_while_vectors_are_written(
    tmp_path: Path, opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, on a copy: what is written or deleted meanwhile is in the indexed shard as well."""
    monkeypatch.setattr("compozy.drivers.qdrant_shard.INDEXED", 500)
    store, found = opened(str(tmp_path)), records(5000)
    store.upsert(found[:600])
    written = 600

    def indexed_meanwhile() -> bool:
        nonlocal written
        store.upsert([found[written]])
        store.delete([found[written - 600].id])
        written += 1
        return bool(store.indexed())

    eventually(indexed_meanwhile, "the index")
    left = found[written - 600 : written]
    assert [one.id for one in store.export()] == [one.id for one in left]
    expected = sorted(left, key=lambda one: -cosine(found[3], one))[:10]
    assert [match.id for match in store.search(found[3].vector, 10)] == [one.id for one in expected]
    eventually(partial(one_shard, tmp_path / "docs"), "the removal of the other shard")
    store.upsert(found[written : written + 600])
    eventually(lambda: store.indexed() >= 1000 and not store.building(), "the next index")
    assert store.count() == 1200


def one_shard(folder: Path) -> bool:
    return sum(entry.is_dir() for entry in folder.iterdir()) == 1


def test_close_ends_the_build_of_an_index(
    tmp_path: Path, started: Starting, opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copies of the build are removed, and no record is lost."""
    monkeypatch.setattr("compozy.drivers.qdrant_shard.INDEXED", 500)
    driver = QdrantEmbeddedDriver(name="docs", path=str(tmp_path))
    driver.start(started.context())
    assert driver.handle is not None
    driver.handle.upsert(records(600))
    driver.stop(0)
    assert marked("compozy.drivers.qdrant_index") == []
    assert one_shard(tmp_path / "docs")
    assert opened(str(tmp_path)).count() == 600
