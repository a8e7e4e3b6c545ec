"""Kinds of values in the shapes of tasks, and the reading of one definition, which they check templates against."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Set
from typing import Any

from compozy.base.document import Node
from compozy.base.findings import ERROR, Collector
from compozy.base.place import Place
from compozy.base.record import dataclass
from compozy.base.shapes import (
    FAULT,
    STRING,
    Choice,
    Key,
    Kind,
    Plain,
    Schema,
    Shape,
    fault,
    integer,
    may,
    need,
    number,
)
from compozy.errors import DefinitionError
from compozy.settings.values import DURATION, parse_duration
from compozy.workflows.expressions import TEMPLATE_MARKS
from compozy.workflows.model.definition import MAX_DURATION_S, MAX_PROBLEM_LENGTH, MAX_PROBLEMS, Retry, Task
from compozy.workflows.model.scope import Scope

FREE = "x-"
MAX_ID_LENGTH = 100
_IDENTIFIER = r"[a-z0-9][a-z0-9_-]*"
_A_DURATION = "such as 500ms, 5m or 168h"


class Reading(Collector):
    """The findings of one definition, the places of its tasks and templates, and the scope at the present point.

    `tasks` are the ids of all its tasks.
    """

    def __init__(self, scope: Scope, tasks: Set[str]) -> None:
        super().__init__(most=MAX_PROBLEMS, longest=MAX_PROBLEM_LENGTH)
        self.scope = scope
        self.tasks = tasks
        self.places: dict[str, str] = {}
        self._named: dict[str, str] = {}

    def add(self, id_: str, message: str, *places: Place, key: str = "", hint: str = "", severity: str = ERROR) -> None:
        """Note one finding; those of shapes get the id of workflow files."""
        name = DefinitionError.id if id_ == FAULT else id_
        super().add(name, message, *places, key=key, hint=hint, severity=severity)

    def name(self, path: str, node: Node, task_id: str | None) -> None:
        """Register the places below `path`, of a task in its list, below the task's id."""
        self._named[path] = f"tasks.{task_id}" if task_id else path
        self.keep(path, node)

    def keep(self, path: str, node: Node) -> None:
        """Record the place of `path`, for failures while it runs."""
        if node.place.line:
            head, dot, rest = path.partition(".")
            self.places[self._named.get(head, head) + dot + rest] = f"{node.place.line}:{node.place.column}"

    def check(self, text: str, node: Node, path: str, *, expression: bool = False) -> None:
        """Note what is wrong with a template, or with an expression, at the present point."""
        from compozy.workflows.expressions.templates import references

        self.keep(path, node)
        named = references(text, expression=expression)
        for found in named.faults:
            self.add(found.id, found.message, node.place, key=path)
        inputs = self.scope.inputs
        for name in named.inputs:
            if inputs is not None and name not in inputs:
                self._unknown(f'input "{name}" is not declared', name, inputs, node, path)
        for task in named.tasks:
            if task not in self.tasks:
                self._unknown(f'task "{task}" does not exist', task, self.tasks, node, path)
            elif task not in self.scope.tasks:
                late = f'task "{task}" has not run yet at this point; only earlier tasks have an output'
                self.add("template.name", late, node.place, key=path)

    def _unknown(self, reason: str, name: str, known: Set[str], node: Node, path: str) -> None:
        self.add("template.name", reason + self.suggestions.did_you_mean(name, known), node.place, key=path)


def reading(found: Collector) -> Reading:
    """Return the collector of a definition's findings as what it is."""
    if not isinstance(found, Reading):
        raise TypeError("kinds of tasks are decoded while a definition is read")
    return found


@dataclass(frozen=True, slots=True)
class Templates:
    """Any JSON whose texts may hold templates; with `mapping` an object, with `secrets` a text may name a secret."""

    mapping: bool = False
    secrets: bool = False

    def decode(self, node: Node, found: Collector, path: str, what: str) -> object:
        """Return the plain value; each template in it is checked."""
        if self.mapping and not isinstance(node.value, dict):
            fault(found, node, path, what, "must be a mapping of names to values")
            return {}
        self._check(node, reading(found), path)
        return node.plain()

    def schema(self) -> Schema:
        """Return the schema of an object, or of everything."""
        return {"type": "object"} if self.mapping else {}

    def _check(self, node: Node, found: Reading, path: str) -> None:
        if isinstance(node.value, dict):
            for key, item in node.value.items():
                self._check(item, found, f"{path}.{key}")
        elif isinstance(node.value, list):
            for index, item in enumerate(node.value):
                self._check(item, found, f"{path}.{index}")
        elif is_template(node.value) and not (self.secrets and _is_secret(node.value)):
            found.check(node.value, node, path)
        elif is_template(node.value):
            found.keep(path, node)


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression without braces."""

    def decode(self, node: Node, found: Collector, path: str, what: str) -> object:
        """Return its text."""
        if isinstance(node.value, (dict, list)):
            fault(found, node, path, what, "must be an expression such as input.n > 3")
            return ""
        text = node.value if isinstance(node.value, str) else node.text or json.dumps(node.value)
        reading(found).check(text, node, path, expression=True)
        return text

    def schema(self) -> Schema:
        """Return the schema of a text, or of a value that YAML reads as none."""
        return {"type": ["string", "boolean", "number"]}


@dataclass(frozen=True, slots=True)
class WithPlace:
    """A kind whose places are remembered."""

    kind: Kind

    def decode(self, node: Node, found: Collector, path: str, what: str) -> object:
        """Return what the kind returns."""
        reading(found).keep(path, node)
        return self.kind.decode(node, found, path, what)

    def schema(self) -> Schema:
        """Return the schema of the kind."""
        return self.kind.schema()


@dataclass(frozen=True, slots=True)
class OrTemplate:
    """A text that is a template, or a value of a kind; decoded as text."""

    kind: Kind

    def decode(self, node: Node, found: Collector, path: str, what: str) -> object:
        """Return the text."""
        if is_template(node.value):
            return Templates().decode(node, found, path, what)
        self.kind.decode(node, found, path, what)
        return str(node.value)

    def schema(self) -> Schema:
        """Return both schemas."""
        return {"anyOf": [self.kind.schema(), {"type": "string", "pattern": r"\{[{%#]"}]}


def is_template(value: object) -> bool:
    """Return True if a value is a text with a template; the library of templates is not loaded for it."""
    return isinstance(value, str) and any(mark in value for mark in TEMPLATE_MARKS)


def _is_secret(text: str) -> bool:
    from compozy.workflows.model.tool_secrets import secret_name

    return secret_name(text) is not None


def _duration(words: str, least: float) -> Plain:
    def convert(node: Node) -> float:
        seconds = parse_duration(str(node.value))
        if not least <= seconds <= MAX_DURATION_S:
            raise ValueError
        return seconds

    schema = {"anyOf": [{"type": "string", "pattern": rf"^\s*(?:{DURATION}|0)\s*$"}, {"const": 0}]}
    return Plain(f"{words}, {_A_DURATION}", convert, schema)


def identifier(node: Node) -> str | None:
    """Return the text of a node that is an id, else None."""
    text = node.value
    fits = isinstance(text, str) and len(text) <= MAX_ID_LENGTH and re.fullmatch(_IDENTIFIER, text)
    return text if fits else None


def _as_identifier(node: Node) -> str:
    found = identifier(node)
    if found is None:
        raise ValueError
    return found


IDENTIFIER = Plain(
    f"lower-case letters, digits, - and _ (at most {MAX_ID_LENGTH}), quoted if a number",
    _as_identifier,
    {"type": "string", "pattern": f"^{_IDENTIFIER}$", "maxLength": MAX_ID_LENGTH},
)
PAUSE = _duration("at most ten years", 0.0)
PERIOD = _duration("more than nothing and at most ten years", 1e-6)
RETRY = Shape(
    "a retry policy",
    {
        "max_attempts": may(integer(1, 1000), "How often the tool is tried."),
        "initial_interval": may(PERIOD, "The pause after the first failure.", field="initial_interval_s"),
        "backoff": may(number(1, 100), "By how much each pause is longer than the one before."),
        "max_interval": may(PERIOD, "The longest pause.", field="max_interval_s"),
    },
    Retry,
    free=FREE,
    null_unset=True,
)


def task_shape(
    record: type[Task], about: str, keys: Mapping[str, Key], aliases: Mapping[str, str] | None = None
) -> Shape[Task]:
    """Return the shape of a task type: the keys that every task has, and its own; `aliases` are other names of keys."""
    article = "an" if record.type[0] in "aeiou" else "a"
    every = {
        "id": need(IDENTIFIER, "The name of the task, unique in its file."),
        "type": need(Choice((record.type,))),
        "description": may(STRING, "For readers."),
        "condition": may(Expression(), "When it is false, the task is skipped and its output is null."),
        "sleep": may(PAUSE, "A durable pause before the task.", field="sleep_s"),
    }
    return Shape(
        f"{article} {record.type} task", {**every, **keys}, _maker(record), about, free=FREE, null_unset=True,
        aliases=aliases or {},
    )  # fmt: skip


def _maker(record: type[Task]) -> Callable[..., Task]:
    def make(*, type: str, **values: Any) -> Task:  # noqa: A002 - the name of the key
        return record(**values)

    return make
