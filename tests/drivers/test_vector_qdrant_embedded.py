"""The vector store on Qdrant's engine in the process."""

from __future__ import annotations

import math
import os
import random
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.polling import eventually

from compozy.drivers.inventory import Inventory
from compozy.drivers.vector_qdrant_embedded import QdrantEmbeddedDriver
from compozy.errors import DriverError, StateDirectoryError, VectorError
from compozy.vector.vector_store import VectorRecord, VectorStore

from .starting import Starting, marked

DIMENSION = 8
PATIENCE_S = 60.0


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


def test_writers_proceed_while_an_index_takes_over(
    tmp_path: Path, opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy of what was written meanwhile is interrupted after each few points, however much else is written."""
    monkeypatch.setattr("compozy.drivers.qdrant_shard._ADOPTED", 10)
    store, found = opened(str(tmp_path)), records(1000)
    store.upsert(found[:100])
    copy = store.duplicate()
    store.upsert(found[100:200])
    store.delete([one.id for one in found[:20]])
    waiting, written = [*range(200, 900, 25)], set(range(20, 200))

    def write(_: float) -> None:
        """More than one turn copies: new records, and some of those that wait to be copied."""
        at = waiting.pop()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(store.upsert, found[at : at + 25]).result(PATIENCE_S)
            pool.submit(store.delete, [found[199 - at % 7].id]).result(PATIENCE_S)
        written.update(range(at, at + 25))
        written.discard(199 - at % 7)

    monkeypatch.setattr("compozy.drivers.qdrant_shard.time.sleep", write)
    store.adopt(copy)
    store.forget()
    monkeypatch.undo()
    turns = 28 - len(waiting)
    assert 8 <= turns <= 12
    assert [one.id for one in store.export()] == [found[at].id for at in sorted(written)]
    assert one_shard(tmp_path / "docs")
    store.upsert(found[900:])
    assert store.count() == len(written) + 100


def stopped(path: Path, started: Starting, count: int) -> QdrantEmbeddedDriver:
    """Return the driver of a store that had `count` records when it was stopped."""
    driver = QdrantEmbeddedDriver(name="docs", path=str(path))
    driver.start(started.context())
    assert driver.handle is not None
    driver.handle.upsert(records(count))
    driver.stop(0)
    return driver


def test_lost_records_are_reported_by_doctor_and_start(tmp_path: Path, started: Starting) -> None:
    stopped(tmp_path, started, 20)
    shutil.copytree(tmp_path / "docs" / "shard-1", tmp_path / "earlier")
    driver = stopped(tmp_path, started, 30)
    shutil.rmtree(tmp_path / "docs" / "shard-1")
    (tmp_path / "earlier").rename(tmp_path / "docs" / "shard-1")
    for check in (driver.examine, driver.start):
        with pytest.raises(DriverError, match="docs holds 20 records, and held 30 before") as caught:
            check(started.context())
        assert "backup" in str(caught.value.hint)


def test_inventory_rejects_an_earlier_copy_of_a_store(tmp_path: Path, started: Starting) -> None:
    stopped(tmp_path / "kept", started, 20)
    shutil.copytree(tmp_path / "kept", tmp_path / "earlier")
    driver = stopped(tmp_path / "kept", started, 30)
    inventory, holding = Inventory(str(tmp_path)), driver.holding()
    assert holding is not None
    inventory.record({"docs": holding})
    inventory.check("docs", driver.holding())
    shutil.rmtree(tmp_path / "kept")
    (tmp_path / "earlier").rename(tmp_path / "kept")
    with pytest.raises(StateDirectoryError, match="holds 20 changes of records, and held 50"):
        Inventory(str(tmp_path)).check("docs", driver.holding())


def test_deleted_records_are_not_missed_after_a_kill(tmp_path: Path, started: Starting) -> None:
    """A copy of the directory of a running store is what a killed process leaves."""
    stopped(tmp_path, started, 30)
    driver = QdrantEmbeddedDriver(name="docs", path=str(tmp_path))
    driver.start(started.context())
    assert driver.handle is not None
    before = driver.holding()
    for one in records(30)[:25]:
        driver.handle.delete([one.id])
    shutil.copytree(tmp_path / "docs", tmp_path / "killed" / "docs")
    driver.stop(0)
    after = driver.holding()
    assert before is not None
    assert after is not None
    assert after.figure >= before.figure
    killed = QdrantEmbeddedDriver(name="docs", path=str(tmp_path / "killed"))
    killed.start(started.context())
    assert killed.handle is not None
    assert killed.handle.count() == 5
    killed.stop(0)
