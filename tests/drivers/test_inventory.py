"""The record of what components keep: what is refused, what is not compared, and when it is written."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.polling import eventually

from compozy.drivers.inventory import INVENTORY, Holding, Inventory, InventoryRecorder, forget_inventory
from compozy.drivers.sqlite import database_holding
from compozy.errors import StateDirectoryError


class Keeper:
    """A driver whose data is a number of bytes."""

    def __init__(self, path: Path, *figure: int) -> None:
        self.path = path
        self.figure = figure

    def holding(self) -> Holding:
        return Holding(str(self.path), self.figure)


def recorded(state: Path) -> object:
    return json.loads((state / INVENTORY).read_text())["components"]


@pytest.mark.parametrize(
    ("before", "now", "refused"),
    [
        pytest.param((100,), (100,), "", id="same"),
        pytest.param((100,), (101,), "", id="more"),
        pytest.param((100,), (99,), "holds 99 bytes, and held 100 bytes before", id="less"),
        pytest.param((100,), (), "is missing", id="missing"),
        pytest.param((1, 2, 100), (1, 3, 5), "", id="later-part"),
        pytest.param((1, 2, 100), (2, 2, 5), "", id="later-base"),
        pytest.param((1, 2, 100), (1, 1, 500), "holds 500 bytes", id="earlier-part"),
    ],
)
def test_check_refuses_less_than_recorded(
    tmp_path: Path, before: tuple[int, ...], now: tuple[int, ...], refused: str
) -> None:
    Inventory(str(tmp_path)).record({"a": Holding(str(tmp_path / "a"), before)})
    inventory = Inventory(str(tmp_path))
    if not refused:
        inventory.check("a", Holding(str(tmp_path / "a"), now))
        return
    with pytest.raises(StateDirectoryError, match=refused) as caught:
        inventory.check("a", Holding(str(tmp_path / "a"), now))
    assert "--accept-loss" in str(caught.value.hint)
    forget_inventory(str(tmp_path))
    Inventory(str(tmp_path)).check("a", Holding(str(tmp_path / "a"), now))


def test_another_place_or_component_is_not_compared(tmp_path: Path) -> None:
    Inventory(str(tmp_path)).record({"a": Holding(str(tmp_path / "a"), (100,))})
    inventory = Inventory(str(tmp_path))
    inventory.check("a", Holding(str(tmp_path / "b"), ()))
    inventory.check("b", Holding(str(tmp_path / "a"), ()))
    inventory.check("a", None)


def test_a_moved_state_directory_keeps_its_record(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    Inventory(str(tmp_path / "old")).record({"a": Holding(str(tmp_path / "old" / "a"), (100,))})
    shutil.move(tmp_path / "old", tmp_path / "new")
    with pytest.raises(StateDirectoryError, match="is missing"):
        Inventory(str(tmp_path / "new")).check("a", Holding(str(tmp_path / "new" / "a"), ()))


@pytest.mark.parametrize(
    "text", ["", "[]", '{"components": {"a": 1}}', '{"components": {"a": {"path": "a", "figure": []}}}']
)
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / INVENTORY).write_text(text)
    with pytest.raises(StateDirectoryError, match="inventory.json cannot be read"):
        Inventory(str(tmp_path)).check("a", Holding(str(tmp_path / "a"), (1,)))


def test_recorder_writes_while_the_components_run_and_at_the_end(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "a", 1)
    recorder = InventoryRecorder(Inventory(str(tmp_path)), {"a": keeper, "b": object()})
    recorder.start()
    eventually((tmp_path / INVENTORY).exists, "the first record")
    assert recorded(tmp_path) == {"a": {"path": "a", "figure": [1]}}
    keeper.figure = (2,)
    recorder.close(discard=False)
    assert recorded(tmp_path) == {"a": {"path": "a", "figure": [2]}}


def test_recorder_of_a_discarded_start_puts_the_earlier_record_back(tmp_path: Path) -> None:
    """The files of that start are removed with it."""
    Inventory(str(tmp_path)).record({"a": Holding(str(tmp_path / "a"), (1,))})
    inventory, keeper = Inventory(str(tmp_path)), Keeper(tmp_path / "a", 1)
    inventory.check("a", keeper.holding())
    recorder = InventoryRecorder(inventory, {"a": keeper, "b": Keeper(tmp_path / "b", 7)})
    recorder.start()
    eventually(lambda: "b" in recorded(tmp_path), "the record of the start")  # type: ignore[operator]
    recorder.close(discard=True)
    assert recorded(tmp_path) == {"a": {"path": "a", "figure": [1]}}


def test_the_log_of_a_database_counts(tmp_path: Path) -> None:
    """Rows that a killed server left in the log are data."""
    file = tmp_path / "a.db"
    with closing(sqlite3.connect(file)) as writer:
        writer.execute("PRAGMA journal_mode = wal")
        writer.execute("CREATE TABLE rows (text)")
        writer.executemany("INSERT INTO rows VALUES (?)", [("x" * 1000,)] * 100)
        writer.commit()
        held = database_holding(str(file))
        assert held is not None
        assert held.figure[0] > 100_000 > file.stat().st_size
    assert database_holding(str(file)) == held
