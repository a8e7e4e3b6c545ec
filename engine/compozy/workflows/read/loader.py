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
from compozy.workflows.model.definition import DEFAULT_VERSION, Definition, Retry, Task
from compozy.workflows.model.plain import why_not_plain
from compozy.workflows.read.definition_shape import read_workflow
from compozy.workflows.tasks.task_type import TYPES

_ABSENT: Mapping[str, Any] = {"version": DEFAULT_VERSION, "description": "", "inputs": None, "outputs": {}}


def is_workflow_file(text: str) -> bool:
    """Return True if a text names a file and not a workflow's id, which has neither a slash nor an ending."""
    return os.path.isfile(text) or text.endswith((".yaml", ".yml")) or os.sep in text


def load_definition(path: str | Path) -> Definition:
    """Read and check the workflow file at `path`.

    Raises:
        NotFoundError: the file does not exist.
        SyntaxProblem: it is not YAML, or names a key twice.
        DefinitionError: it is not a workflow; all problems at once.
    """
    return parse_definition(read_workflow_file(path), str(path))


def read_workflow_file(path: str | Path) -> str:
    """Return the text of a workflow file.

    Raises:
        NotFoundError: the file does not exist.
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
    root = read_document(text, file)
    return _definition(root, root.plain(), file)


def definition_from_json(plain: object, name: str) -> Definition:
    """Check the JSON form of a workflow; `name` is its origin in messages.

    Raises:
        DefinitionError: it is not a workflow; all problems at once.
    """
    return _definition(None, plain, name)


def _definition(root: Node | None, plain: Any, file: str) -> Definition:
    reason = why_not_plain(plain)
    if reason is not None:
        place = root.place if root else Place(file, 0, 0)
        raise DefinitionError(file, [Finding.at(DefinitionError.id, reason, place)])
    parts, found = read_workflow(root or json_node(plain, file))
    if parts is None or found.findings:
        raise DefinitionError(file, found.in_order())
    return Definition(**{**_ABSENT, **parts}, file=file, plain=plain, places=found.places)


def decode_definition(plain: Mapping[str, Any]) -> Definition:
    """Build the records of what `Definition.to_json` returned; it was checked before."""
    tasks = tuple(_task(**task) for task in plain["tasks"])
    return Definition(**{**_ABSENT, **plain, "tasks": tasks}, plain={})


def _task(type: str, **values: Any) -> Task:  # noqa: A002 - the name of the key
    retry = {"retry": Retry(**values["retry"])} if "retry" in values else {}
    return TYPES[type].record(**{**values, **retry})
