"""The examples of findings: one configuration that shows each finding, and one that does not.

The documentation prints them; the tests and `compozy rules check` run them, in a directory that the caller gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from compozy.base.findings import Finding
from compozy.base.place import Place
from compozy.base.record import dataclass
from compozy.resolution.configuration import read_sources
from compozy.resolution.resolve import Resolved, resolve
from compozy.resolution.validate import occasions, validate
from compozy.rulebook.rows import Rulebook, with_constraints
from compozy.rulebook.verification import EXAMPLE_INPUTS
from compozy.settings.sources import Inputs
from compozy.tables.table import Decision, Table, TableExample

CONFIG_NAME = "compozy.yaml"
DOTENV_NAME = ".env"
KINDS = ("good", "bad")


@dataclass(frozen=True, slots=True)
class Example:
    """One example of the finding `id`; a `bad` one shows it, a `good` one does not.

    `given` is a configuration as a mapping, or its text. Keys of the mapping that start with `$` stand for the
    other inputs: `$environment`, `$flags` and `$machine` are mappings, `$dotenv` is the text of `.env`, `$never` the
    constraints, `$bytes` the content of the file in hexadecimal, `$files` the texts of further files by name.
    """

    id: str
    kind: str
    given: Any
    place: Place

    @property
    def text(self) -> str:
        """The text of `compozy.yaml`; empty when the example needs none."""
        if isinstance(self.given, str):
            return self.given
        settings = {key: value for key, value in self.given.items() if key not in EXAMPLE_INPUTS}
        return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True) if settings else ""

    def given_as(self, key: str) -> Any:
        """Return another input, such as `$environment`; None when the example has none."""
        return self.given.get(key) if isinstance(self.given, Mapping) else None


def examples_of(rulebook: Rulebook) -> Iterator[Example]:
    """Yield the examples of every finding, in the order of the tables."""
    for table in rulebook.ruleset.tables.values():
        for row in table.rows:
            for kind in KINDS:
                given = row.body.get(kind)
                if isinstance(given, str | Mapping):
                    yield Example(row.id, kind, given, row.place)


def run_example(rulebook: Rulebook, example: Example, directory: str) -> tuple[Finding, ...]:
    """Return the findings of an example; its files are written into `directory` and removed again."""
    with _resolved(rulebook, example, directory) as resolved:
        return validate(resolved)


def run_table_example(rulebook: Rulebook, table: Table, example: TableExample, directory: str) -> tuple[Decision, ...]:
    """Return what a table decides in an example of it: once, or for each element that it is evaluated for."""
    given = Example(table.id, "table", example.given, example.place)
    with _resolved(rulebook, given, directory) as resolved:
        found = tuple(decision for decision in resolved.decisions.values() if decision.table == table.id)
        return found or tuple(occasion.decision for occasion in occasions(resolved, table))


def _files(example: Example) -> dict[str, bytes]:
    files = {CONFIG_NAME: example.text.encode()} if example.text else {}
    if example.given_as("$bytes") is not None:
        files[CONFIG_NAME] = bytes.fromhex(example.given_as("$bytes"))
    if example.given_as("$dotenv") is not None:
        files[DOTENV_NAME] = example.given_as("$dotenv").encode()
    further: Mapping[str, str] = example.given_as("$files") or {}
    return files | {name: text.encode() for name, text in further.items()}


@contextmanager
def _resolved(rulebook: Rulebook, example: Example, directory: str) -> Iterator[Resolved]:
    """Yield the configuration of an example while its files exist."""
    folder = Path(directory)
    files = _files(example)
    if example.given_as("$never") is not None:
        rulebook = with_constraints(rulebook, yaml.safe_dump({"never": example.given_as("$never")}), str(example.place))
    file = str(folder / CONFIG_NAME) if CONFIG_NAME in files else None
    inputs = Inputs(directory, file, example.given_as("$flags") or {}, example.given_as("$environment") or {})
    facts = {name: fact.values[0] for name, fact in rulebook.registry.facts.items()}
    try:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        yield resolve(read_sources(inputs, rulebook), facts | (example.given_as("$machine") or {}))
    finally:
        for name in files:
            (folder / name).unlink(missing_ok=True)
