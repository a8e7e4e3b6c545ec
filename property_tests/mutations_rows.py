"""Change every shipped row that is in no table: settings, facts, components, drivers, lifecycle.

What comes in: the shipped rule files. What goes out: mutants with a verdict. One is caught because the rows can no
longer be read, because they differ from what `oracle_rows` promises, or by verification.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from property_tests.oracle_rows import (
    COMPONENTS,
    DRIVERS,
    FACTS,
    GROUP_ALIASES,
    SETTINGS,
    STATES,
    TRANSITIONS,
    VECTOR_STORE,
)

from compozy.document import read_document
from compozy.rulebook import Rulebook
from compozy.rulefiles import shipped_texts
from compozy.rulerows import read_rows
from compozy.settings.faults import Faults
from compozy.settings.registry import Registry, Setting, environment_name
from compozy.states import STEPS, Graph

KEYS = ("settings", "machine", "components", "drivers", "states", "transitions")
# Columns that say something to people and decide nothing.
SAID_ONLY = {"help", "about", "because", "path", "id", "type"}
# Planned and shown, tested with the commands that show them.
SHOWN_ONLY = {"addresses", "checks", "timeout"}


@dataclass(frozen=True)
class RowMutant:
    """One changed rule file."""

    name: str
    file: str
    content: Mapping[str, Any]


def row_mutants() -> Iterator[RowMutant]:
    """Yield every row deleted, every deciding column dropped, every lifecycle column changed."""
    for file, text in shipped_texts().items():
        content = yaml.safe_load(text)
        for key in KEYS:
            for at, row in enumerate(content.get(key, ())):
                for words, changed in _changed(key, row):
                    mutant = deepcopy(content)
                    mutant[key][at : at + 1] = changed
                    yield RowMutant(f"{key}/{_name(row)}: {words}", file, mutant)


def _name(row: Mapping[str, Any]) -> str:
    return str(row.get("path") or row.get("fact") or row.get("id") or f"{row['from']} {row['trigger']}")


def _changed(key: str, row: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    yield "deleted", []
    for column in row:
        if column not in SAID_ONLY | SHOWN_ONLY:
            yield f"{column} dropped", [{name: value for name, value in row.items() if name != column}]
    for at, item in enumerate(row.get("items", ())):
        items = [*row["items"][:at], *row["items"][at + 1 :]]
        yield f"field {item['path']} deleted", [{**row, "items": items}]
    for name in row.get("options", ()) if key == "drivers" else ():
        options = {other: value for other, value in row["options"].items() if other != name}
        yield f"option {name} dropped", [{**row, "options": options}]
    if key == "transitions":
        others = {"to": STATES, "from": STATES, "step": STEPS}
        for column, values in others.items():
            for value in values:
                if value != row[column]:
                    yield f"{column} changed to {value}", [{**row, column: value}]


@cache
def _shipped_rows() -> dict[str, Any]:
    return {name: read_document(text, name) for name, text in shipped_texts().items()}
