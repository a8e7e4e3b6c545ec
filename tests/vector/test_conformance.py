"""The contract of every vector store, as one suite for each provider in each mode, on its real engine."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.drivers.starting import Starting
from tests.drivers.suite import answers
from tests.support.polling import eventually

from compozy.errors import DriverError, VectorError
from compozy.provisioning.step import build_driver
from compozy.vector.metadata_filter import Condition, matches
from compozy.vector.vector_store import VectorMatch, VectorRecord, VectorStore

from .subjects import DIMENSION, FILLED, SUBJECTS, Bed, Place, records, step_of

PATIENCE_S = 60.0


def exact(
    found: Sequence[VectorRecord], query: Sequence[float], k: int, where: Mapping[str, Condition] | None = None
) -> list[tuple[str, float]]:
    """Return ids and cosine similarities of the `k` nearest records, by comparison with each in double precision."""
    scores = [
        (one.id, float(np.dot(one.vector, query)) / math.hypot(*one.vector) / math.hypot(*query))
        for one in found
        if matches(one.metadata, where or {})
    ]
    return sorted(scores, key=lambda one: (-one[1], one[0]))[:k]


def assert_same(found: Sequence[VectorMatch], expected: Sequence[tuple[str, float]]) -> None:
    assert [match.id for match in found] == [key for key, _ in expected]
    assert [match.score for match in found] == pytest.approx([score for _, score in expected], abs=1e-5)


def test_search_orders_and_scores_as_exact_search(store: VectorStore) -> None:
    known = records(200)
    store.upsert(known)
    for query in records(5, seed=2):
        assert_same(store.search(query.vector, 10), exact(known, query.vector, 10))
    query = known[7]
    assert_same(store.search(query.vector, 500), exact(known, query.vector, 500))
    best = store.search(query.vector, 1)[0]
    assert (best.id, best.score, best.text, best.metadata) == (query.id, 1.0, query.text, query.metadata)
    opposite = store.search([-number for number in query.vector], 200)[-1]
    assert (opposite.id, opposite.score) == (query.id, -1.0)


def test_search_returns_only_records_of_the_least_score(store: VectorStore) -> None:
    known = records(50)
    store.upsert(known)
    expected = exact(known, known[3].vector, 50)
    least = expected[4][1] - 1e-4
    assert_same(store.search(known[3].vector, 20, min_score=least), [one for one in expected[:20] if one[1] >= least])
    assert store.search(known[3].vector, 0) == []


def test_equal_scores_are_ordered_by_id(store: VectorStore) -> None:
    same = records(1)[0].vector
    store.upsert([VectorRecord(key, same) for key in "gbeadcfh"])
    assert [match.id for match in store.search(same, 3)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "where",
    [
        pytest.param({"n": 3}, id="number"),
        pytest.param({"n": [1, 2.0], "even": True}, id="any-of-and-boolean"),
        pytest.param({"language": "en", "n": [5, 6]}, id="text"),
        pytest.param({"language": None}, id="null"),
        pytest.param({"even": 1}, id="number-against-boolean"),
        pytest.param({"missing": None}, id="missing-key"),
        pytest.param({"n": []}, id="none"),
        pytest.param({}, id="empty"),
        pytest.param({"language": ["en", "\0", "\ud800", math.nan], "n": [1, 2**70]}, id="what-no-metadata-has"),
        pytest.param({"\ud800": 1}, id="key-that-no-metadata-has"),
    ],
)
def test_filter_selects_as_metadata_matches(where: Mapping[str, Condition], filled: VectorStore) -> None:
    known = records(FILLED)
    query = known[20].vector
    assert_same(filled.search(query, 10, where), exact(known, query, 10, where))
    assert filled.count(where) == len([one for one in known if matches(one.metadata, where)])


def test_delete_by_ids_and_by_filter_returns_the_number_of_records(store: VectorStore) -> None:
    known = records(60)
    store.upsert(known)
    assert store.delete([known[0].id, known[1].id, "unknown"]) == 2
    assert store.delete(where={"n": 3}) == len([one for one in known if one.metadata["n"] == 3])
    left = [one for one in known[2:] if one.metadata["n"] != 3]
    assert store.count() == len(left)
    assert_same(store.search(known[0].vector, 100), exact(left, known[0].vector, 100))
    assert (store.delete([]), store.delete(["unknown", "\ud800"]), store.delete(where={"n": 3})) == (0, 0, 0)
    store.upsert(known)
    assert store.delete(where={}) == 60
    assert (store.count(), store.search(known[0].vector)) == (0, [])


def test_upsert_is_idempotent_and_replaces(store: VectorStore) -> None:
    known = records(30)
    for _ in range(2):
        store.upsert(known)
    changed = VectorRecord(known[0].id, known[1].vector, "changed", {"new": [1, {"a": None}]})
    store.upsert([known[0], changed])
    store.upsert([])
    assert store.count() == 30
    first, second = store.search(known[1].vector, 2)
    assert (first.id, first.text, first.metadata) == (changed.id, "changed", changed.metadata)
    assert (second.id, second.score) == (known[1].id, 1.0)


def test_restart_keeps_the_data_of_the_mode(place: Place) -> None:
    known = records(40)
    place.open().upsert(known)
    store = place.reopen()
    assert store.count() == (40 if place.subject.kept else 0)
    if place.subject.kept:
        assert store.dimension == DIMENSION
        assert_same(store.search(known[5].vector, 5), exact(known, known[5].vector, 5))


WRITER = """
import sys
from pathlib import Path
from tests.drivers.starting import starting
from tests.vector.subjects import records, step_of
from compozy.provisioning.step import build_driver
mode, provider, folder = sys.argv[1:]
with starting() as begun:
    driver = build_driver(step_of(mode, {"provider": provider}, Path(folder)))
    driver.start(begun.context())
    known = records(2000)
    for at in range(0, len(known), 10):
        driver.handle.upsert(known[at : at + 10])
        print(at + 10, flush=True)
"""


@pytest.mark.persistent
@pytest.mark.parametrize("provider", ["filesystem", "qdrant"])
def test_kill_of_the_process_loses_no_acknowledged_vector(provider: str, tmp_path: Path, started: Starting) -> None:
    """A child is killed with `kill -9` between two writes, or within one."""
    command = [sys.executable, "-c", WRITER, "persistent", provider, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as child:
        assert child.stdout is not None
        acknowledged = [int(child.stdout.readline()) for _ in range(10)][-1]
        child.kill()
        acknowledged = max([acknowledged, *map(int, child.stdout.read().split())])
    driver = build_driver(step_of("persistent", {"provider": provider}, tmp_path))
    driver.start(started.context())
    try:
        known, found = records(2000), list(driver.handle.export())
        assert acknowledged <= len(found) < len(known)
        assert [one.id for one in found[:acknowledged]] == [one.id for one in known[:acknowledged]]
        assert_same(driver.handle.search(known[3].vector, 1), [(known[3].id, 1.0)])
    finally:
        driver.stop(0)


@pytest.mark.persistent
def test_kill_of_the_redis_of_the_project_loses_no_acknowledged_vector(bed: Bed, tmp_path: Path) -> None:
    subject = next(one for one in SUBJECTS if one.server == "valkey")
    place, known = Place(subject, bed, tmp_path, "killed"), records(200)
    store = place.open()
    for at in range(0, 200, 20):
        store.upsert(known[at : at + 20])
    os.kill(bed.drivers["valkey"].describe().details["pid"], signal.SIGKILL)
    eventually(lambda: place.driver is not None and answers(place.driver), "the answer of the restarted Redis")
    assert store.count() == 200
    assert_same(store.search(known[0].vector, 200), exact(known, known[0].vector, 200))
    place.close()


def test_export_yields_every_record_ordered_by_id(store: VectorStore) -> None:
    known = records(700, dimension=4)
    store.upsert(known[::-1])
    found = list(store.export())
    assert [(one.id, one.text, one.metadata) for one in found] == [(one.id, one.text, one.metadata) for one in known]
    lengths = np.linalg.norm([one.vector for one in known], axis=1, keepdims=True)
    assert (
        np.abs(np.array([one.vector for one in found]) - np.array([one.vector for one in known]) / lengths).max() < 1e-6
    )


def test_ten_thousand_vectors_are_searched_as_exactly(place: Place) -> None:
    """As many as the engine takes in the time of a test."""
    store, known = place.open(), records(place.subject.many, dimension=8)
    for at in range(0, len(known), 2000):
        store.upsert(known[at : at + 2000])
    assert store.count() == len(known)
    matrix = np.array([one.vector for one in known])
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    for query in matrix[:20]:
        nearest = np.argsort(-(matrix @ query))[:10]
        assert [match.id for match in store.search(query.tolist(), 10)] == [known[at].id for at in nearest]


def test_concurrent_readers_and_a_writer(store: VectorStore) -> None:
    """Readers find each record whole while others are written and deleted."""
    known = records(120)
    store.upsert(known[:20])
    ended = threading.Event()

    def read() -> int:
        searches = 0
        while not ended.is_set() or not searches:
            found = store.search(known[searches % 20].vector, 5)
            assert (found[0].id, found[0].score) == (known[searches % 20].id, 1.0)
            assert len({match.id for match in found}) == len(found)
            assert all(match.text == f"text {int(match.id[1:])}" for match in found)
            searches += 1
        return searches

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            for at in range(20, 120, 10):
                store.upsert(known[at : at + 10])
                store.delete([one.id for one in known[at : at + 5]])
        finally:
            ended.set()
        assert min(reader.result(PATIENCE_S) for reader in readers) > 0
    assert store.count() == 70


def test_concurrent_writers_lose_nothing(store: VectorStore) -> None:
    known = records(160)
    store.upsert(known[:1])

    def write(first: int) -> None:
        for at in range(first, 160, 40):
            store.upsert(known[at : at + 10])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write, first) for first in range(0, 40, 10)]:
            done.result(PATIENCE_S)
    assert store.count() == 160
    assert_same(store.search(known[0].vector, 160), exact(known, known[0].vector, 160))


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(VectorRecord("../ ключ/🚀 'x\"; --\\", [1, 2, 3], "文本\n", {"ключ '\"": "знак\\", "日": ["本"]}),
                     id="unicode"),
        pytest.param(VectorRecord("large", [1, 2, 3], "x" * 300_000, {"list": ["y" * 1000] * 200, "n": -(2**53)}),
                     id="large"),
        pytest.param(VectorRecord("empty", [1e-20, 2e-20, 3e-20]), id="empty"),
    ],
)  # fmt: skip
def test_any_text_and_metadata_come_back_unchanged(record: VectorRecord, store: VectorStore) -> None:
    store.upsert([record, VectorRecord("other", [-1, 0, 0])])
    found = store.search(record.vector, 1)[0]
    assert (found.id, found.text, found.metadata, found.score) == (record.id, record.text, record.metadata, 1.0)
    assert json.loads(json.dumps(found.metadata)) == found.metadata
    for key, value in record.metadata.items():
        if not isinstance(value, list):
            assert store.count({key: value}) == 1  # type: ignore[dict-item]
    assert store.delete([record.id]) == 1


OTHER = [1.0] * (DIMENSION - 1)
SAME = [1.0] * DIMENSION


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(lambda store: store.upsert([VectorRecord("b", OTHER)]), id="upsert-dimension"),
        pytest.param(lambda store: store.upsert([VectorRecord("b", SAME), VectorRecord("c", [1])]), id="one-of-two"),
        pytest.param(lambda store: store.search(OTHER), id="search-dimension"),
        pytest.param(lambda store: store.upsert([VectorRecord("b", [0.0] * DIMENSION)]), id="zero"),
        pytest.param(lambda store: store.search([math.nan, *OTHER]), id="not-a-number"),
        pytest.param(lambda store: store.upsert([VectorRecord("b", SAME, "", {"a": object()})]), id="no-json"),
        pytest.param(lambda store: store.count({"a": {"b": 1}}), id="condition"),
        pytest.param(lambda store: store.delete(), id="delete-without-selection"),
        pytest.param(lambda store: store.delete(["r00000"], {"n": 1}), id="delete-two-ways"),
    ],
)
def test_invalid_arguments_are_refused_without_changes(
    refused: Callable[[VectorStore], object], filled: VectorStore
) -> None:
    with pytest.raises(VectorError):
        refused(filled)
    assert filled.count() == FILLED


def test_configured_dimension_is_compared_with_the_stored_one(place: Place) -> None:
    store = place.open(dimension=3)
    assert store.dimension == 3
    with pytest.raises(VectorError, match="dimension"):
        store.upsert([VectorRecord("a", [1, 2])])
    store.upsert([VectorRecord("a", [1, 2, 3])])
    if not place.subject.kept:
        return
    place.close()
    with pytest.raises(DriverError, match="3") as caught:
        place.open(dimension=4)
    assert caught.value.hint
    assert place.open(dimension=3).count() == 1


def test_stopped_store_refuses(place: Place) -> None:
    place.open()
    driver = place.driver
    assert driver is not None
    driver.ping()
    assert json.loads(json.dumps(dict(driver.describe().details))) == driver.describe().details
    place.close()
    with pytest.raises(DriverError):
        driver.ping()
