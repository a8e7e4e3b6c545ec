"""Record how much data each component keeps, and refuse a start on data that is missing or has shrunk.

A store whose file was removed or emptied looks like a new one, and a server would start empty without an error. The
record lies in the state directory; it is written while the components run and when they have stopped.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from compozy.base.output_file import open_regular, write_file
from compozy.base.record import dataclass
from compozy.errors import DriverError, StateDirectoryError

INVENTORY = "inventory.json"
_FORMAT = 1
_FIRST_S, _INTERVAL_S = 1.0, 10.0
_HINT = "restore a backup, or run compozy start --accept-loss to continue with the remaining data"
log = logging.getLogger("compozy.provision")


@dataclass(frozen=True, slots=True)
class Holding:
    """The amount of data at `path`: numbers that never decrease, compared in order.

    The last number is in `unit`; none at all means that nothing is there.
    """

    path: str
    figure: tuple[int, ...]
    unit: str = "bytes"


class InventoryEntry(TypedDict):
    """One holding in the file."""

    path: str
    figure: list[int]


class Inventory:
    """The record of one state directory; holdings outside it are recorded as well."""

    def __init__(self, state_dir: str) -> None:
        self._folder = os.path.realpath(state_dir)
        self._file = Path(self._folder, INVENTORY)
        self._components: dict[str, InventoryEntry] | None = None
        self._found: dict[str, InventoryEntry] = {}

    def check(self, component: str, holding: Holding | None) -> None:
        """Refuse a component that holds less than what is recorded; one at another path is not compared.

        Raises:
            StateDirectoryError: it does, or the record cannot be read.
        """
        recorded = self._read().get(component)
        # Another path is another store: the user has moved the data or begun anew on purpose.
        if recorded is None or holding is None or recorded["path"] != self._name(holding.path):
            return
        before = tuple(recorded["figure"])
        # A comparison of numbers that only grow, so that a normal change of the data never stops a start.
        if holding.figure < before:
            now, unit = holding.figure, holding.unit
            less = f"holds {now[-1]} {unit}, and held {before[-1]} {unit} before" if now else ""
            raise StateDirectoryError(f"{holding.path} {less or 'is missing, and held data before'}", hint=_HINT)

    def record(self, holdings: Mapping[str, Holding]) -> None:
        """Replace the record, unless it is unchanged.

        Raises:
            OSError: it cannot be written.
        """
        components: dict[str, InventoryEntry] = {
            name: {"path": self._name(held.path), "figure": list(held.figure)}
            for name, held in holdings.items()
            if held.figure
        }
        self._write(components)

    def revert(self) -> None:
        """Put back what was recorded before, because a start has failed and its files were removed.

        Raises:
            OSError: it cannot be written.
        """
        self._write(self._found)

    def _write(self, components: dict[str, InventoryEntry]) -> None:
        # Without a change no write: the record of an idle server must not wear its disk.
        if components != self._components:
            write_file(self._file, json.dumps({"format": _FORMAT, "components": components}) + "\n")
            self._components = components

    def _read(self) -> dict[str, InventoryEntry]:
        if self._components is None:
            try:
                with open_regular(self._file) as stream:
                    found: dict[str, InventoryEntry] = json.load(stream)["components"]
                for entry in found.values():
                    _check_entry(entry)
                self._components = self._found = found
            except FileNotFoundError:
                self._components = {}
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise StateDirectoryError(f"{self._file} cannot be read", hint=_HINT) from error
        return self._components

    def _name(self, path: str) -> str:
        """Return a path as it is recorded: relative within the state directory, which may be moved with its data."""
        real = os.path.realpath(path)
        inside = os.path.commonpath([real, self._folder]) == self._folder
        return os.path.relpath(real, self._folder) if inside else real


def _check_entry(entry: InventoryEntry) -> None:
    numbers = entry["figure"]
    if not isinstance(entry["path"], str) or not numbers or any(type(number) is not int for number in numbers):
        raise ValueError("an entry has another shape")


class InventoryRecorder:
    """Keeps the inventory up to date while components run; drivers without a method `holding` are left out."""

    def __init__(self, inventory: Inventory, drivers: Mapping[str, object]) -> None:
        self._inventory = inventory
        self._drivers = drivers
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="compozy-inventory", daemon=True)

    def start(self) -> None:
        """Record from now on, in a thread."""
        self._thread.start()

    def _run(self) -> None:
        wait_s = _FIRST_S
        while not self._ended.wait(wait_s):
            self._record()
            wait_s = _INTERVAL_S

    def close(self, *, discard: bool) -> None:
        """End the thread and record a last time, or with `discard` put the earlier record back."""
        self._ended.set()
        # The record below must be the last one; a thread that hangs in a driver is not waited for longer than a round.
        self._thread.join(_INTERVAL_S)
        self._record(discard=discard)

    def _record(self, *, discard: bool = False) -> None:
        try:
            self._inventory.revert() if discard else self._inventory.record(holdings_of(self._drivers))
        except (OSError, DriverError) as error:
            reason = error.strerror if isinstance(error, OSError) else error.reason
            log.warning("inventory.failed", extra={"reason": reason})


def holdings_of(drivers: Mapping[str, object]) -> dict[str, Holding]:
    """Return the holdings of the drivers that can report them."""
    asked = {name: holding_of(driver) for name, driver in drivers.items()}
    return {name: held for name, held in asked.items() if held is not None}


def holding_of(driver: object) -> Holding | None:
    """Return the holding of a driver; None if the driver cannot report it or keeps nothing."""
    holding = getattr(driver, "holding", None)
    found: Holding | None = None if holding is None else holding()
    return found


def forget_inventory(state_dir: str) -> None:
    """Remove the record, so that the next start accepts what is there."""
    Path(state_dir, INVENTORY).unlink(missing_ok=True)
