"""The JSON Schema of workflow files agrees with the reader, as far as a schema can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from compozy.errors import DefinitionError
from compozy.workflows.read.definition_shape import workflow_schema
from compozy.workflows.read.loader import definition_from_json, load_definition
from compozy.workflows.tasks.task_type import TYPES

EXAMPLES = Path(__file__).parents[2] / "examples"
SCHEMA = Draft202012Validator(workflow_schema())
FILES = [path for path in sorted(EXAMPLES.rglob("*.yaml")) if "\ntasks:" in path.read_text(encoding="utf-8")]
SPARE = {"id": "t", "x-mine": [1], "description": "d", "condition": "true", "sleep": "1s"}
TASKS: dict[str, dict[str, Any]] = {
    "aggregate": {"output": None},
    "basic": {
        "tool": "m:f", "with": {"k": "{{ secrets.A }}"}, "timeout": "1m", "isolation": "process",
        "retry": {"max_attempts": 2, "initial_interval": "1s", "backoff": 1.5, "max_interval": None},
    },
    "knowledge": {
        "base": "docs", "query": "{{ input.text }}", "top_k": 3, "min_score": 0.5, "filter": {"title": "A"},
        "timeout": "1m", "retry": {"max_attempts": 2},
    },
    "memory": {
        "memory_ref": "chat", "operation": "append", "key_template": "k", "payload": {"content": "{{ input.text }}"},
        "timeout": "1m", "retry": {"max_attempts": 2},
    },
    "sleep": {"duration": "{{ input.pause }}"},
}  # fmt: skip


def accepted(document: Any) -> bool:
    try:
        definition_from_json(document, "f")
    except DefinitionError:
        return False
    return True


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_schema_accepts_the_examples(path: Path) -> None:
    assert load_definition(path)
    assert [error.message for error in SCHEMA.iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize("name", TYPES)
def test_schema_and_reader_accept_every_key_of_a_task_type(name: str) -> None:
    document = {"id": "a", "tasks": [{**SPARE, "type": name, **TASKS[name]}]}
    assert [error.message for error in SCHEMA.iter_errors(document)] == []
    assert accepted(document)


BAD = [
    pytest.param({}, id="empty"),
    pytest.param({"id": "A", "tasks": [{"id": "t", "type": "aggregate", "output": 1}]}, id="id"),
    pytest.param({"id": "a", "tasks": []}, id="no-task"),
    pytest.param({"id": "a", "tasks": [{"id": "t", "type": "nothing"}]}, id="type"),
    pytest.param({"id": "a", "tasks": [{"id": "t", "type": "aggregate"}]}, id="output"),
    pytest.param({"id": "a", "tasks": [{"id": "t", "type": "aggregate", "output": 1, "tool": "m:f"}]}, id="key"),
    pytest.param({"id": "a", "tasks": [{"id": "t", "type": "basic", "tool": "nothing"}]}, id="tool"),
    pytest.param({"id": "a", "tasks": [{"id": "t", "type": "basic", "tool": "m:f", "retry": {"x": 1}}]}, id="retry"),
    pytest.param({"id": "a", "tasks": [{"id": "t", "type": "sleep", "duration": 5}]}, id="duration"),
    pytest.param({"id": "a", "tasks": [{"id": "t", "type": "memory", "operation": "read"}]}, id="memory"),
    pytest.param(
        {"id": "a", "tasks": [{"id": "t", "type": "memory", "memory": "a/b", "operation": "read"}]}, id="name"
    ),
    pytest.param({"id": "a", "tasks": [{"id": "t", "type": "sleep", "duration": "1s"}], "outputs": 3}, id="outputs"),
    pytest.param(
        {"id": "a", "input": {"n": {"type": "int"}}, "tasks": [{"id": "t", "type": "sleep", "duration": "1s"}]},
        id="input-type",
    ),
    pytest.param(
        {"id": "a", "input": {"user-name": 1}, "tasks": [{"id": "t", "type": "sleep", "duration": "1s"}]},
        id="input-name",
    ),
]


@pytest.mark.parametrize("document", BAD)
def test_schema_and_reader_reject_the_same(document: Any) -> None:
    assert not SCHEMA.is_valid(document)
    assert not accepted(document)
