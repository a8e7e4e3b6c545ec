"""Read a workflow file, or the same shape as JSON, into records; all findings are reported at once.

Reading has no side effect: tools are not imported and templates are not rendered, only checked.
"""

from __future__ import annotations

import os
import os.path
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compozy.base.document import Node, json_node, read_document
from compozy.base.findings import Finding
from compozy.base.place import Place
from compozy.base.source_file import UnreadableError, read_source
from compozy.errors import DefinitionError, NotFoundError
from compozy.settings.values import parse_duration
from compozy.workflows.model.definition import DEFAULT_VERSION, Definition, Input, Retry, Task
from compozy.workflows.model.input_types import is_input_details
from compozy.workflows.model.plain import why_not_plain
from compozy.workflows.tasks.aggregate import Aggregate
from compozy.workflows.tasks.basic import DEFAULT_TIMEOUT_S, THREAD, Basic
from compozy.workflows.tasks.sleep import Sleep


def is_workflow_file(text: str) -> bool:
    """Return True if a text names a file and not a workflow's id, which has neither a slash nor an ending."""
    return os.path.isfile(text) or text.endswith((".yaml", ".yml")) or os.sep in text


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
    common: dict[str, Any] = {"id": plain["id"], "sleep_s": _seconds(plain.get("sleep"))}
    if plain["type"] == Aggregate.type:
        return Aggregate(**common, output=plain.get("output"))
    if plain["type"] == Sleep.type:
        return Sleep(**common, duration=str(plain["duration"]))
    timeout = plain.get("timeout")
    return Basic(
        **common,
        tool=plain["tool"],
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
