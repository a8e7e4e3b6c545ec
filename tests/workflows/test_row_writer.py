"""Rows of executions are written beside them: repeated while the database is away, announced when they are written."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.support.polling import eventually

from compozy.store import Execution, Store, UnavailableError
from compozy.store.records import timestamp
from compozy.workflows.ends import Ends
from compozy.workflows.run import row_writer
from compozy.workflows.run.row_writer import RowWriter

ROW = Execution("e", "w", "1", "completed", {}, timestamp(), output=1)


class FlakyStore(Store):
    """A store whose database is away for the first writes."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.written: list[Execution] = []

    def record_finished(self, execution: Execution, tasks: object = None) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise UnavailableError("database", "away")
        self.written.append(execution)

    record_started = record_finished


def test_final_row_is_written_again_after_a_failure() -> None:
    store = FlakyStore(failures=2)
    rows = RowWriter(store, Ends(), 1)
    rows.finish(ROW, ())
    assert [row.id for row in store.written] == ["e"]
    rows.close()


def test_final_row_is_given_up_while_the_database_stays_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(row_writer, "REPEATED_S", 0.15)
    store = FlakyStore(failures=1000)
    rows = RowWriter(store, Ends(), 1)
    rows.finish(ROW, ())
    assert store.written == []
    assert [record.message for record in caplog.records] == ["execution.row_late"]
    rows.close()


def test_close_ends_the_repetition_of_a_write() -> None:
    store = FlakyStore(failures=1_000_000)
    rows = RowWriter(store, Ends(), 1)
    written = rows._submit(lambda: store.record_finished(ROW))
    eventually(lambda: store.failures < 1_000_000)
    rows.close()
    eventually(written.done)


def test_end_is_announced_with_the_final_row() -> None:
    async def announced() -> Execution:
        ends = Ends()
        rows = RowWriter(FlakyStore(failures=0), ends, 1)
        rows.open()
        future = ends.future("e")
        await asyncio.to_thread(rows.finish, ROW, ())
        rows.close()
        return await future

    assert asyncio.run(announced()).output == 1


def test_pause_is_announced_to_the_start_only() -> None:
    async def announced() -> tuple[Execution, bool]:
        ends = Ends()
        rows = RowWriter(FlakyStore(failures=0), ends, 1)
        rows.open()
        first, final = ends.first("e"), ends.future("e")
        rows.begin(replace(ROW, status="running"), ())
        row = await first
        rows.close()
        return row, final.done()

    row, ended = asyncio.run(announced())
    assert (row.status, ended) == ("running", False)
