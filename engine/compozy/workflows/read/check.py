"""Check the nodes of a workflow file; return all findings, and the place of each template."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace

from compozy.base.document import Node
from compozy.base.findings import Collector, Finding, TooManyFindingsError
from compozy.base.place import Place
from compozy.base.suggest import Suggestions
from compozy.errors import DefinitionError
from compozy.settings.values import parse_duration
from compozy.workflows.expressions import TEMPLATE_MARKS
from compozy.workflows.model.definition import MAX_DURATION_S
from compozy.workflows.model.input_types import INPUT_KEYS, INPUT_TYPES, fits, is_input_details
from compozy.workflows.tasks.basic import ISOLATIONS

IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")
INPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
TOOL = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z")
MAX_ID_LENGTH = 100
MAX_PROBLEMS = 100
MAX_PROBLEM_LENGTH = 1000

_TOP = ("id", "version", "description", "input", "tasks", "outputs")
_TASK = ("id", "type", "description", "sleep")
_TYPES: Mapping[str, tuple[str, ...]] = {
    "aggregate": (*_TASK, "output"),
    "basic": (*_TASK, "tool", "with", "retry", "timeout", "isolation"),
    "sleep": (*_TASK, "duration"),
}
_RETRY = ("max_attempts", "initial_interval", "backoff", "max_interval")


@dataclass(slots=True)
class Findings:
    """The findings so far, and where each template stands."""

    found: Collector = field(default_factory=lambda: Collector(most=MAX_PROBLEMS, longest=MAX_PROBLEM_LENGTH))
    places: dict[str, str] = field(default_factory=dict)

    @property
    def suggestions(self) -> Suggestions:
        """The suggestions of this answer."""
        return self.found.suggestions

    def add(self, place: Place, path: str, reason: str) -> None:
        """Note one finding.

        Raises:
            TooManyFindingsError: it is one more than an answer holds.
        """
        self.found.add(DefinitionError.id, reason, place, key=path)

    def keep(self, node: Node, path: str) -> None:
        """Remember where `path` stands, for failures while it runs."""
        if node.place.line:
            self.places[path] = f"{node.place.line}:{node.place.column}"


@dataclass(frozen=True, slots=True)
class Known:
    """What a template may name: the inputs (None: any) and the tasks that ran before, out of all."""

    inputs: Set[str] | None
    before: Set[str]
    tasks: Set[str]
    secrets: bool = False


def check_definition(root: Node) -> tuple[tuple[Finding, ...], Mapping[str, str]]:
    """Return the first `MAX_PROBLEMS` findings, in the order of the file, and the place of each task and template."""
    found = Findings()
    with suppress(TooManyFindingsError):
        _definition(found, root)
    return found.found.in_order(), found.places


def _definition(found: Findings, root: Node) -> None:
    if not isinstance(root.value, dict):
        found.add(root.place, "", "expected a mapping with id and tasks")
        return
    _keys(found, root, _TOP, "")
    if _identifier(found, root, "id", "") is not None:
        found.keep(root.value["id"], "id")
    for key in ("version", "description"):
        _expect(found, root, key, "", "text", lambda value: isinstance(value, (str, int, float)))
    inputs = _inputs(found, root)
    tasks = _tasks(found, root, inputs)
    _mapping_of_templates(found, root, "outputs", "outputs", Known(inputs, tasks, tasks))


def _keys(found: Findings, node: Node, allowed: tuple[str, ...], path: str, more: str = "") -> None:
    for key in node.value:
        if key in allowed or key.startswith("x-"):
            continue
        meant = found.suggestions.closest(key, allowed)
        advice = f'did you mean "{meant}"?' if meant else f"known keys: {', '.join(allowed)}"
        found.add((node.keys or {}).get(key, node.place), _join(path, key), f'unknown key "{key}"; {advice}{more}')


def _identifier(found: Findings, node: Node, key: str, path: str) -> str | None:
    given = node.value.get(key)
    if given is None or given.value is None:
        found.add(node.place, path, f'"{key}" is missing')
        return None
    if isinstance(given.value, str) and len(given.value) <= MAX_ID_LENGTH and IDENTIFIER.match(given.value):
        return given.value
    reason = f"{key} must be lower-case letters, digits, - and _ (at most {MAX_ID_LENGTH}), quoted if a number"
    found.add(given.place, _join(path, key), reason)
    return None


def _expect(found: Findings, node: Node, key: str, path: str, what: str, fits: Callable[[object], bool]) -> Node | None:
    given: Node | None = node.value.get(key)
    if given is None or given.value is None:
        return None
    if fits(given.value) and not (isinstance(given.value, bool) and what != "true or false"):
        return given
    found.add(given.place, _join(path, key), f"{key} must be {what}")
    return None


def _inputs(found: Findings, root: Node) -> Set[str] | None:
    given = root.value.get("input")
    if given is None or given.value is None:
        return None
    if not isinstance(given.value, dict):
        found.add(given.place, "input", "input must be a mapping of names to defaults")
        return None
    for name, node in given.value.items():
        _input(found, given, name, node)
    return given.value.keys()


def _input(found: Findings, parent: Node, name: str, node: Node) -> None:
    path = f"input.{name}"
    if not INPUT_NAME.match(name):
        at = (parent.keys or {}).get(name, node.place)
        found.add(at, path, f'input name "{name}" must be letters, digits and _, not starting with a digit')
    if not is_input_details(node.value):
        return
    _keys(found, node, INPUT_KEYS, path, " A default that is a mapping is written below default:")
    _input_type(found, node, path)
    required = _expect(found, node, "required", path, "true or false", lambda value: isinstance(value, bool))
    _expect(found, node, "description", path, "text", lambda value: isinstance(value, str))
    if required is not None and required.value and "default" in node.value:
        found.add(required.place, path, f'input "{name}" is required and has a default; keep one of both')


def _input_type(found: Findings, node: Node, path: str) -> None:
    given = _expect(found, node, "type", path, "text", lambda value: isinstance(value, str))
    if given is None:
        return
    default = node.value.get("default")
    if given.value not in INPUT_TYPES:
        found.add(given.place, f"{path}.type", f'unknown input type "{given.value}"; types: {", ".join(INPUT_TYPES)}')
    elif default is not None and not fits(default.plain(), given.value):
        found.add(default.place, f"{path}.default", f"the default is not of the type {given.value}")


def _tasks(found: Findings, root: Node, inputs: Set[str] | None) -> Set[str]:
    given = root.value.get("tasks")
    if given is None or not isinstance(given.value, list) or not given.value:
        found.add(given.place if given else root.place, "tasks", "tasks must be a list with at least one task")
        return frozenset()
    nodes = [(f"tasks[{index}]", node) for index, node in enumerate(given.value)]
    named = dict.fromkeys(_task_ids(given.value)).keys()
    before: dict[str, Place] = {}
    for path, node in nodes:
        if not isinstance(node.value, dict):
            found.add(node.place, path, "a task must be a mapping with id and type")
            continue
        task_id = _task(found, node, path, Known(inputs, before.keys(), named), before)
        if task_id is not None:
            before.setdefault(task_id, node.place)
    return before.keys()


def _task_ids(nodes: list[Node]) -> Iterator[str]:
    for node in nodes:
        given = node.value.get("id") if isinstance(node.value, dict) else None
        if given is not None and isinstance(given.value, str):
            yield given.value


def _task(found: Findings, node: Node, path: str, known: Known, before: Mapping[str, Place]) -> str | None:
    task_id = _identifier(found, node, "id", path)
    if task_id is not None and task_id in before:
        first = f"; the first one is on line {before[task_id].line}" if node.place.line else ""
        found.add(node.value["id"].place, path, f'task id "{task_id}" is used twice{first}')
    kind = _task_type(found, node, path)
    _keys(found, node, _TYPES.get(kind or "", tuple({key for keys in _TYPES.values() for key in keys})), path)
    _duration(found, node, "sleep", path)
    _expect(found, node, "description", path, "text", lambda value: isinstance(value, str))
    inside = f"tasks.{task_id}" if task_id else path
    found.keep(node, inside)
    if kind == "aggregate":
        _aggregate(found, node, path, inside, known)
    elif kind == "basic":
        _basic(found, node, path, inside, known)
    elif kind == "sleep":
        _sleep(found, node, path, inside, known)
    return task_id


def _task_type(found: Findings, node: Node, path: str) -> str | None:
    given = node.value.get("type")
    if given is None:
        found.add(node.place, path, f'"type" is missing; task types: {", ".join(_TYPES)}')
        return None
    if isinstance(given.value, str) and given.value in _TYPES:
        return given.value
    meant = found.suggestions.closest(str(given.value), _TYPES) if isinstance(given.value, str) else None
    advice = f'did you mean "{meant}"?' if meant else f"task types: {', '.join(_TYPES)}"
    found.add(given.place, f"{path}.type", f'unknown task type "{given.plain()}"; {advice}')
    return None


def _aggregate(found: Findings, node: Node, path: str, inside: str, known: Known) -> None:
    if "output" not in node.value:
        found.add(node.place, path, 'an aggregate task needs "output"')
        return
    _templates(found, node.value["output"], f"{inside}.output", known)


def _sleep(found: Findings, node: Node, path: str, inside: str, known: Known) -> None:
    duration = node.value.get("duration")
    if duration is None or duration.value is None:
        found.add(node.place, path, 'a sleep task needs "duration", such as 5m')
    elif isinstance(duration.value, str) and any(mark in duration.value for mark in TEMPLATE_MARKS):
        _templates(found, duration, f"{inside}.duration", known)
    else:
        _duration(found, node, "duration", path)


def _basic(found: Findings, node: Node, path: str, inside: str, known: Known) -> None:
    tool = node.value.get("tool")
    if tool is None or not isinstance(tool.value, str) or not TOOL.match(tool.value):
        written = f"; {str(tool.plain())[:100]!r} is not that" if tool and tool.value is not None else ""
        place = tool.place if tool else node.place
        found.add(place, path, f'a basic task needs "tool": module:function, such as package.module:function{written}')
    else:
        found.keep(tool, f"{inside}.tool")
    _mapping_of_templates(found, node, "with", f"{inside}.with", replace(known, secrets=True))
    _expect(found, node, "isolation", path, " or ".join(ISOLATIONS), lambda value: value in ISOLATIONS)
    _duration(found, node, "timeout", path, positive=True)
    retry = _expect(found, node, "retry", path, "a mapping", lambda value: isinstance(value, dict))
    if retry is not None:
        _retry(found, retry, f"{path}.retry")


def _retry(found: Findings, node: Node, path: str) -> None:
    _keys(found, node, _RETRY, path)
    whole = "a whole number from 1 to 1000"
    _expect(found, node, "max_attempts", path, whole, lambda value: isinstance(value, int) and 1 <= value <= 1000)
    _expect(
        found, node, "backoff", path, "a number from 1 to 100",
        lambda value: isinstance(value, (int, float)) and 1 <= value <= 100,
    )  # fmt: skip
    _duration(found, node, "initial_interval", path, positive=True)
    _duration(found, node, "max_interval", path, positive=True)


def _duration(found: Findings, node: Node, key: str, path: str, *, positive: bool = False) -> None:
    given = node.value.get(key)
    if given is None or given.value is None:
        return
    try:
        seconds = parse_duration(str(given.value))
    except ValueError as error:
        found.add(given.place, _join(path, key), f"{key}: {error}")
        return
    if seconds > MAX_DURATION_S or (positive and seconds <= 0):
        low = "more than nothing and " if positive else ""
        found.add(given.place, _join(path, key), f"{key} must be {low}at most ten years")


def _mapping_of_templates(found: Findings, node: Node, key: str, inside: str, known: Known) -> None:
    given = _expect(found, node, key, "", "a mapping of names to values", lambda value: isinstance(value, dict))
    if given is not None:
        _templates(found, given, inside, known)


def _templates(found: Findings, node: Node, path: str, known: Known) -> None:
    if isinstance(node.value, dict):
        for key, item in node.value.items():
            _templates(found, item, f"{path}.{key}", known)
    elif isinstance(node.value, list):
        for index, item in enumerate(node.value):
            _templates(found, item, f"{path}.{index}", known)
    elif isinstance(node.value, str) and any(mark in node.value for mark in TEMPLATE_MARKS):
        found.keep(node, path)
        for reason in _template_problems(node.value, known, found.suggestions):
            found.add(node.place, path, reason)


def _template_problems(text: str, known: Known, suggestions: Suggestions) -> Iterator[str]:
    from compozy.workflows.expressions.templates import references
    from compozy.workflows.model.tool_secrets import secret_name

    if known.secrets and secret_name(text) is not None:
        return
    named = references(text)
    yield from named.problems
    for name in named.inputs:
        if known.inputs is not None and name not in known.inputs:
            yield f'input "{name}" is not declared{_meant(name, known.inputs, suggestions)}'
    for task in named.tasks:
        if task not in known.tasks:
            yield f'task "{task}" does not exist{_meant(task, known.tasks, suggestions)}'
        elif task not in known.before:
            yield f'task "{task}" has not run yet at this point; only earlier tasks have an output'


def _meant(name: str, names: Set[str], suggestions: Suggestions) -> str:
    meant = suggestions.closest(name, names)
    return f'; did you mean "{meant}"?' if meant else ""


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
