"""A backup of an embedded vector store while it is written."""

from __future__ import annotations

import shutil
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from tests.drivers.starting import starting
from tests.support.polling import eventually

from compozy.backup.snapshot import CopiedData, copy_at_one_moment
from compozy.drivers.vector_qdrant_embedded import QdrantEmbeddedDriver
from compozy.vector.vector_store import VectorRecord, VectorStore

pytestmark = pytest.mark.persistent

BATCH = 50
COPIES = 2
KEPT = 3  # batches


class Writer:
    """Writes batches of records and deletes the one before the last, until it is closed."""

    def __init__(self, store: VectorStore) -> None:
        self.acknowledged = 0
        self._store, self._ended = store, threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        while not self._ended.is_set():
            self._store.upsert(batch(self.acknowledged))
            self._store.delete([record.id for record in batch(self.acknowledged - KEPT)])
            self.acknowledged += 1

    def passed(self, number: int) -> bool:
        return self.acknowledged > number

    def close(self) -> None:
        self._ended.set()
        self._thread.join()


def batch(number: int) -> list[VectorRecord]:
    return [VectorRecord(f"{number}/{n}", [1.0, n, number], f"text {number}" * 50) for n in range(BATCH)]


def test_copies_hold_whole_operations_up_to_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the engine are overwritten in place: without a lock a copy has parts of several moments."""
    monkeypatch.setattr("compozy.drivers.qdrant_shard.FLUSHED", 4 * BATCH * 3)
    with starting() as started:
        driver = QdrantEmbeddedDriver(name="docs", path=str(tmp_path / "kept"))
        driver.start(started.context())
        assert driver.handle is not None
        with closing(Writer(driver.handle)) as writer:
            for number in range(COPIES):
                eventually(partial(writer.passed, writer.acknowledged + 3 * KEPT), "batches between two copies")
                before = writer.acknowledged
                room = tmp_path / str(number)
                room.mkdir()
                copy_at_one_moment([CopiedData("docs", tmp_path / "kept" / "docs", locked=True)], room)
                copy = QdrantEmbeddedDriver(name="docs", path=str(room))
                copy.start(started.context())
                assert copy.handle is not None
                found = {record.id: record.text for record in copy.handle.export()}
                copy.stop(0)
                shutil.rmtree(room)
                last = max(int(name.partition("/")[0]) for name in found)
                assert last >= before - 1
                first = min(int(name.partition("/")[0]) for name in found)
                assert found == {record.id: record.text for n in range(first, last + 1) for record in batch(n)}
                assert last - first in (KEPT - 1, KEPT) or first == 0
        driver.stop(0)
