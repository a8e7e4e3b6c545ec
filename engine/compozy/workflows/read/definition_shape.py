"""The shape of workflow files: from nodes to records in one pass, and the JSON Schema of the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from compozy.base.document import Node
from compozy.base.findings import Collector, TooManyFindingsError
from compozy.base.manual import schema_url
from compozy.base.place import Place
from compozy.base.record import dataclass
from compozy.base.shapes import ANY, BOOLEAN, STRING, Choice, Plain, Schema, Shape, Variants, fault, may, need
from compozy.errors import DefinitionError
from compozy.workflows.model.definition import Input, Task
from compozy.workflows.model.input_types import INPUT_TYPES, fits, is_input_details
from compozy.workflows.model.scope import Scope
from compozy.workflows.tasks.kinds import FREE, IDENTIFIER, Reading, Templates, WithPlace, identifier, reading
from compozy.workflows.tasks.task_type import TYPES

_INPUT_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_DETAILS: Shape[dict[str, Any]] = Shape(
    "an input declaration",
    {
        "type": may(Choice(INPUT_TYPES), "Which values are taken."),
        "default": may(ANY, "The value of an input that is not given.", null=True),
        "required": may(BOOLEAN, "Whether the input must be given."),
        "description": may(STRING, "For readers."),
    },
    dict,
    free=FREE,
    null_unset=True,
)
_MISTAKEN = replace(_DETAILS, what="an input declaration (a default that is a mapping is written below default:)")


@dataclass(frozen=True, slots=True)
class InputDeclarations:
    """A mapping of the names of inputs to declarations or defaults; decoded as a tuple."""

    def decode(self, node: Node, found: Collector, path: str, what: str) -> object:
        """Return the inputs."""
        if not isinstance(node.value, dict):
            fault(found, node, path, what, "must be a mapping of names to defaults")
            return ()
        return tuple(_input(name, item, node, found) for name, item in node.value.items())

    def schema(self) -> Schema:
        """Return the schema of an object: a value that names a key of declarations is one."""
        details = {"if": {"type": "object", "anyOf": [{"required": [key]} for key in _DETAILS.keys]}}
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^{_INPUT_NAME}$"},
            "additionalProperties": {**details, "then": _DETAILS.schema()},
        }


def _input(name: str, node: Node, parent: Node, found: Collector) -> Input:
    path = f"input.{name}"
    if not re.fullmatch(_INPUT_NAME, name):
        at = (parent.keys or {}).get(name, node.place)
        reason = f'input name "{name}" must be letters, digits and _, not starting with a digit'
        found.add(DefinitionError.id, reason, at, key=path)
    if not is_input_details(node.value):
        default = node.plain()
        return Input(name, default, required=default is None)
    shape = _DETAILS if node.value.keys() <= _DETAILS.keys.keys() else _MISTAKEN
    details = shape.decode(node, found, path) or {}
    required, default, kind = details.get("required"), details.get("default"), details.get("type", "")
    if required and "default" in details:
        reason = f'input "{name}" is required and has a default; keep one of both'
        found.add(DefinitionError.id, reason, node.value["required"].place, key=path)
    if not fits(default, kind):
        reason = f"the default is not of the type {kind}"
        found.add(DefinitionError.id, reason, node.value["default"].place, key=f"{path}.default")
    needed = "default" not in details if required is None else required
    return Input(name, default, needed, details.get("description", ""), kind)


@dataclass(frozen=True, slots=True)
class TaskList:
    """A list of at least one task; each sees the outputs of those before it."""

    def decode(self, node: Node, found: Collector, path: str, what: str) -> object:
        """Return the tasks that could be decoded."""
        if not isinstance(node.value, list) or not node.value:
            fault(found, node, path, what, "must be a list with at least one task")
            return ()
        shapes = Variants("a task", "type", {name: kind.shape for name, kind in TYPES.items()})
        tasks: list[Task | None] = []
        first: dict[str, Place] = {}
        context = reading(found)
        for index, item in enumerate(node.value):
            at, task_id = f"{path}[{index}]", _task_id(item)
            context.name(at, item, task_id)
            if task_id in first:
                _note_twice(found, item, at, first[task_id])
            tasks.append(shapes.decode(item, found, at))
            if task_id is not None:
                first.setdefault(task_id, item.place)
                context.scope.finish(task_id, None)
        return tuple(task for task in tasks if task is not None)

    def schema(self) -> Schema:
        """Return the schema of an array, in which `type` decides about the other keys."""
        ways = [
            {"if": {"properties": {"type": {"const": name}}}, "then": {"$ref": f"#/$defs/{name}"}} for name in TYPES
        ]
        task = {
            "type": "object", "required": ["type"], "properties": {"type": {"enum": list(TYPES)}}, "allOf": ways,
        }  # fmt: skip
        return {"type": "array", "minItems": 1, "items": task}


def _task_id(node: Node) -> str | None:
    given = node.value.get("id") if isinstance(node.value, dict) else None
    return None if given is None else identifier(given)


def _note_twice(found: Collector, node: Node, path: str, first: Place) -> None:
    where = f" on line {first.line}" if first.line else ""
    given = node.value["id"]
    reason = f'task id "{given.value}" is used twice; the first one is{where}'
    found.add(DefinitionError.id, reason, given.place, key=f"{path}.id")


def _text(node: Node) -> str:
    if isinstance(node.value, bool) or not isinstance(node.value, (str, int, float)):
        raise ValueError
    return node.text or str(node.value)


_TEXT = Plain("text", _text, {"type": ["string", "number"]})
WORKFLOW: Shape[dict[str, object]] = Shape(
    "a workflow",
    {
        "id": need(WithPlace(IDENTIFIER), "The name of the workflow."),
        "version": may(_TEXT, "For readers."),
        "description": may(_TEXT, "For readers."),
        "input": may(InputDeclarations(), "What an execution takes; without it any input is taken.", field="inputs"),
        "tasks": need(TaskList(), "What is done, in this order."),
        "outputs": may(Templates(mapping=True), "What an execution gives: any JSON with templates."),
    },
    dict,
    "Keys that start with x- are free; null means that a key is not set.",
    free=FREE,
    null_unset=True,
)


def read_workflow(root: Node) -> tuple[dict[str, object] | None, Reading]:
    """Return the parts of a workflow, None if there are findings, and the findings and places."""
    value = root.value if isinstance(root.value, dict) else {}
    given = value.get("input")
    inputs = dict.fromkeys(given.value) if given is not None and isinstance(given.value, dict) else None
    found = Reading(Scope({"input": inputs}), frozenset(_task_ids(value.get("tasks"))))
    # Last, because outputs see every task, wherever they are written in the file.
    if "outputs" in value:
        last = {key: value[key] for key in (*(key for key in value if key != "outputs"), "outputs")}
        root = Node(last, root.place, root.keys)
    parts: dict[str, object] | None = None
    with suppress(TooManyFindingsError):
        parts = WORKFLOW.decode(root, found)
    return parts, found


def _task_ids(tasks: Node | None) -> Iterator[str]:
    for node in tasks.value if tasks is not None and isinstance(tasks.value, list) else ():
        task_id = _task_id(node)
        if task_id is not None:
            yield task_id


def workflow_schema() -> Schema:
    """Return the JSON Schema of workflow files, of draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": schema_url("workflow.json"),
        "title": "Compozy workflow",
        **WORKFLOW.schema(),
        "$defs": {name: kind.shape.schema() for name, kind in TYPES.items()},
    }
