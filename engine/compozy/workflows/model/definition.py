"""The records of a workflow: what it takes, its tasks, what it gives.

A definition is read once, by the package `read`; its plain JSON form is what is stored, exported and sent to Temporal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

from compozy.base.place import Place
from compozy.base.record import dataclass

DEFAULT_VERSION = "0.1.0"
MAX_PROBLEMS = 100
MAX_PROBLEM_LENGTH = 1000
MAX_DURATION_S = 10 * 365 * 86400.0


@dataclass(frozen=True, slots=True)
class Input:
    """A value that an execution is given; `required` ones have no default, an empty `type` takes every value."""

    name: str
    default: object = None
    required: bool = False
    description: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """The retry policy of a tool; the pause grows by `backoff` from the initial to the longest interval."""

    max_attempts: int = 3
    initial_interval_s: float = 1.0
    backoff: float = 2.0
    max_interval_s: float = 30.0


def changed(record: Any) -> dict[str, object]:
    """Return the fields of a record that differ from their defaults, as JSON.

    >>> changed(Retry(max_attempts=5))
    {'max_attempts': 5}
    """
    values = {one.name: getattr(record, one.name) for one in fields(record) if getattr(record, one.name) != one.default}
    return {name: changed(value) if is_dataclass(value) else value for name, value in values.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One step of a definition; each task type adds fields of its own.

    `condition` is an expression, empty for none: when it is false the task is skipped. `sleep_s` is a durable pause
    before the task.
    """

    type: ClassVar[str]
    id: str
    description: str = ""
    condition: str = ""
    sleep_s: float = 0.0

    @property
    def path(self) -> str:
        """The path of the task in templates, places and findings."""
        return f"tasks.{self.id}"

    def to_json(self) -> dict[str, object]:
        """Return type and fields as JSON, without those that have their default."""
        return {"type": self.type, **changed(self)}


@dataclass(frozen=True, slots=True)
class Definition:
    """A workflow that can be run.

    `inputs` is None when the file declares none: then any input is taken. `places` maps a path such as
    `tasks.greet.output` to `line:column` in `file`; `plain` is the JSON form. `imported`
    ones are rows of the store.
    """

    id: str
    version: str
    description: str
    inputs: tuple[Input, ...] | None
    tasks: tuple[Task, ...]
    outputs: Mapping[str, object]
    file: str
    plain: Mapping[str, object]
    places: Mapping[str, str]
    imported: bool = False

    def to_json(self) -> dict[str, object]:
        """Return what a run needs as JSON; `compozy.workflows.read.loader.decode_definition` reads it."""
        return {
            "id": self.id,
            "version": self.version,
            "tasks": [task.to_json() for task in self.tasks],
            "outputs": self.outputs,
            "file": self.file,
            "places": self.places,
        }

    def place(self, path: str) -> str:
        """Return where `path` stands, as `file:line:column`, or the path itself when no line is known."""
        found = self.places.get(path)
        return f"{self.file}:{found}" if found else f"{self.file}: {path}"

    def place_of(self, path: str) -> Place:
        """Return the place of `path`; one without a line when none is known."""
        line, _, column = self.places.get(path, "0:0").partition(":")
        return Place(self.file, int(line), int(column))
