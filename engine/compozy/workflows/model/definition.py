"""Read a workflow file into frozen records, or say everything that is wrong with it.

What comes in: YAML text, or the same shape as JSON. What goes out: a `Definition`. Reading has no side
effect: tools are not imported and templates are not rendered, only checked. The plain JSON form of a
definition is what is stored, exported and handed to Temporal.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compozy.base.document import Node, json_node, read_document
from compozy.base.findings import Finding
from compozy.base.place import Place
from compozy.base.source_file import UnreadableError, read_source
from compozy.errors import DefinitionError, NotFoundError
from compozy.settings.values import parse_duration
from compozy.workflows.model.input_types import is_input_details
from compozy.workflows.model.plain import why_not_plain

DEFAULT_VERSION = "0.1.0"
DEFAULT_TIMEOUT_S = 60.0
THREAD = "thread"
ISOLATIONS = (THREAD, "process")


@dataclass(frozen=True, slots=True)
class Input:
    """A value that an execution is given; `required` ones have no default, an empty `type` takes every value."""

    name: str
    default: Any = None
    required: bool = False
    description: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a tool is tried; the pause grows by `backoff` from the initial to the longest interval."""

    max_attempts: int = 3
    initial_interval_s: float = 1.0
    backoff: float = 2.0
    max_interval_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Task:
    """One step: `aggregate` renders `output`, `basic` calls `tool` (module:function) with `arguments`.

    `sleep_s` is a durable pause before it, `timeout_s` bounds one call of the tool, `isolation` is one of
    `ISOLATIONS`.
    """

    id: str
    type: str
    sleep_s: float = 0.0
    output: Any = None
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    retry: Retry = Retry()
    timeout_s: float = DEFAULT_TIMEOUT_S
    isolation: str = THREAD


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
    outputs: Mapping[str, Any]
    file: str
    plain: Mapping[str, Any]
    places: Mapping[str, str]
    imported: bool = False

    def place(self, path: str) -> str:
        """Return where `path` stands, as `file:line:column`, or the path itself when no line is known."""
        found = self.places.get(path)
        return f"{self.file}:{found}" if found else f"{self.file}: {path}"

    def place_of(self, path: str) -> Place:
        """Return the place of `path`; one without a line when none is known."""
        line, _, column = self.places.get(path, "0:0").partition(":")
        return Place(self.file, int(line), int(column))


def load_definition(path: str | Path) -> Definition:
    """Read and check the workflow file at `path`.

    Raises:
        NotFoundError: there is no such file.
        SyntaxProblem: it is not YAML, or names a key twice.
        DefinitionError: it is not a workflow; all problems at once.
    """
    return parse_definition(read_workflow_file(path), str(path))


def read_workflow_file(path: str | Path) -> str:
    """Return the text of a workflow file.

    Raises:
        NotFoundError: there is no such file.
        DefinitionError: it cannot be read as text.
    """
    if not os.path.exists(path) or os.path.isdir(path):
        raise NotFoundError("workflow file", str(path))
    try:
        return read_source(str(path), own=False)
    except UnreadableError as error:
        finding = Finding.at(DefinitionError.id, f"cannot be read: {error}", Place(str(path), 0, 0))
        raise DefinitionError(str(path), [finding]) from error


def parse_definition(text: str, file: str) -> Definition:
    """Check the YAML `text` of a workflow; `file` is its name in messages.

    Raises:
        SyntaxProblem: the text is not YAML, or names a key twice.
        DefinitionError: the text is not a workflow; all problems at once.
    """
    return _checked(read_document(text, file), file)


def definition_from_json(plain: Any, name: str) -> Definition:
    """Check the JSON form of a workflow; `name` says in messages where it came from.

    Raises:
        DefinitionError: it is not a workflow; all problems at once.
    """
    reason = why_not_plain(plain)
    if reason is not None:
        raise DefinitionError(name, [Finding.at(DefinitionError.id, reason, Place(name, 0, 0))])
    return _checked(json_node(plain, name), name)


def decode_definition(plain: Mapping[str, Any], file: str, places: Mapping[str, str]) -> Definition:
    """Build the records of a definition that was checked before; takes what older versions wrote."""
    inputs = plain.get("input")
    return Definition(
        id=plain["id"],
        version=str(plain.get("version") or DEFAULT_VERSION),
        description=plain.get("description") or "",
        inputs=None if inputs is None else tuple(_input(name, value) for name, value in inputs.items()),
        tasks=tuple(_task(task) for task in plain.get("tasks") or ()),
        outputs=plain.get("outputs") or {},
        file=file,
        plain=plain,
        places=places,
    )


def _checked(node: Node, file: str) -> Definition:
    from compozy.workflows.read.check import check_definition

    plain = node.plain()
    reason = why_not_plain(plain)
    if reason is not None:
        raise DefinitionError(file, [Finding.at(DefinitionError.id, reason, node.place)])
    findings, places = check_definition(node)
    if findings:
        raise DefinitionError(file, findings)
    return decode_definition(plain, file, places)


def _input(name: str, value: Any) -> Input:
    if not is_input_details(value):
        return Input(name, value, required=value is None)
    required = value.get("required", "default" not in value)
    return Input(name, value.get("default"), bool(required), value.get("description") or "", value.get("type") or "")


def _task(plain: Mapping[str, Any]) -> Task:
    timeout = plain.get("timeout")
    return Task(
        id=plain["id"],
        type=plain["type"],
        sleep_s=_seconds(plain.get("sleep")),
        output=plain.get("output"),
        tool=plain.get("tool") or "",
        arguments=plain.get("with") or {},
        retry=_retry(plain.get("retry") or {}),
        isolation=plain.get("isolation") or THREAD,
        timeout_s=DEFAULT_TIMEOUT_S if timeout is None else _seconds(timeout),
    )


def _retry(plain: Mapping[str, Any]) -> Retry:
    usual = Retry()
    return Retry(
        max_attempts=plain.get("max_attempts") or usual.max_attempts,
        initial_interval_s=_seconds(plain.get("initial_interval")) or usual.initial_interval_s,
        backoff=float(plain.get("backoff") or usual.backoff),
        max_interval_s=_seconds(plain.get("max_interval")) or usual.max_interval_s,
    )


def _seconds(value: Any) -> float:
    return parse_duration(str(value)) if value is not None else 0.0
