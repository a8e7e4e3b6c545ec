"""Change every shipped row that is in no table: settings, facts, components, drivers, lifecycle.

What comes in: the shipped rule files. What goes out: mutants with a verdict. One is caught because the rows can no
longer be read, because they differ from what `oracle_rows` promises, or by verification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import yaml
from property_tests.oracle_rows import (
    COMPONENTS,
    DRIVERS,
    FACTS,
    FILES,
    GROUP_ALIASES,
    SETTINGS,
    STATES,
    TRANSITIONS,
    VECTOR_STORE,
)

from compozy.document import Node, read_document
from compozy.rulebook import check_rules
from compozy.rulebook.drivers import DriverRow, read_drivers
from compozy.rulebook.files import shipped_texts
from compozy.rulebook.rows import read_components
from compozy.rulebook.states import STEPS, read_graph
from compozy.settings.faults import Faults
from compozy.settings.registry import Registry, Setting, environment_name, read_registry

VERIFIED, ORACLE, SURVIVED = "verification", "oracle", "survived"
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


def row_verdict(mutant: RowMutant) -> str:
    """Return what notices a changed row: reading it, the oracle or verification; or that nothing does."""
    text = yaml.safe_dump(mutant.content, sort_keys=False)
    document = read_document(text, mutant.file)
    faults = Faults()
    agrees = all(part(document, faults) for part in _PARTS[mutant.file])
    if faults.reports:
        return VERIFIED
    if not agrees:
        return ORACLE
    return SURVIVED if check_rules({**shipped_texts(), mutant.file: text}).valid else VERIFIED


def settings_agree(document: Node, faults: Faults) -> bool:
    """Tell whether settings, their spellings and machine facts are the promised ones."""
    registry = read_registry([document], faults)
    stores = registry.settings["knowledge.vector_dbs"].items if "knowledge.vector_dbs" in registry.settings else {}
    return (
        {path: (item.type, item.default, _marks(item)) for path, item in registry.settings.items()} == SETTINGS
        and {path: (item.type, _marks(item)) for path, item in stores.items()} == VECTOR_STORE
        and {name: (fact.values, fact.binary) for name, fact in registry.facts.items()} == FACTS
        and all(registry.spelled.get(f"{alias}.{_first(registry, group)}") for alias, group in GROUP_ALIASES.items())
    )


def _first(registry: Registry, group: str) -> str:
    return next((path for path in registry.settings if path.startswith(f"{group}.")), "").removeprefix(f"{group}.")


def _marks(setting: Setting) -> dict[str, Any]:
    """Return what a setting promises besides its type and its default."""
    plain = Setting(setting.path, setting.type, setting.help, setting.place, env=environment_name(setting.path))
    names = (
        "env", "flag", "secret", "header", "secret_parts", "schemes", "parts", "ordered", "empty", "url",
        "authenticated_by", "host_port",
        "unique", "identifies", "memory", "minimum", "same_as", "shares", "splits", "aliases", "values",
        "near", "unused",
    )  # fmt: skip
    found = {name: getattr(setting, name) for name in (*names, "also", "checked")}
    return {name: value for name, value in found.items() if value != getattr(plain, name)}


def components_agree(document: Node, faults: Faults) -> bool:
    """Tell whether the components are the promised ones."""
    return {row.id: (row.mode, row.driver) for row in read_components([document], faults)} == COMPONENTS


def drivers_agree(document: Node, faults: Faults) -> bool:
    """Tell whether each driver is built as promised, after nothing else, and keeps data where it should."""
    found = read_drivers([document], faults)
    built = {key: (row.factory.removeprefix("compozy.drivers."), row.options) for key, row in found.items()}
    return (
        all(row.needs == () for row in found.values())
        and built == dict(DRIVERS)
        and {key: _files(row) for key, row in found.items() if row.files} == dict(FILES)
    )


def _files(row: DriverRow) -> dict[str, str | None]:
    """Return the settings that name files, each with the switch that must be on for it."""
    return {
        file.setting: next((path for path, value in file.when.items() if value is True), None) for file in row.files
    }


def lifecycle_agrees(document: Node, faults: Faults) -> bool:
    """Tell whether states and transitions are the promised ones."""
    graph = read_graph(document, faults)
    rows = {(row.source, row.trigger): (row.target, row.step, row.stages) for row in graph.transitions}
    return (graph.states, graph.initial, rows) == (STATES, STATES[0], TRANSITIONS)


_PARTS: Mapping[str, Sequence[Callable[[Node, Faults], bool]]] = {
    "rules/settings.yaml": [settings_agree],
    "rules/lifecycle.yaml": [lifecycle_agrees],
    "rules/provision/components.yaml": [components_agree],
    "rules/provision/drivers.yaml": [drivers_agree],
}
