"""Task types on a fake engine, and what each of them must have: documentation, an example, a recorded history."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.workflows.fake_engine import FakeEngine

from compozy.workflows.model.definition import Retry, Task
from compozy.workflows.model.scope import Scope
from compozy.workflows.read.loader import load_definition, parse_definition
from compozy.workflows.tasks.aggregate import Aggregate
from compozy.workflows.tasks.basic import CALL_TOOL, Basic
from compozy.workflows.tasks.engine import Call, CallError, Engine, TaskError
from compozy.workflows.tasks.sleep import Sleep
from compozy.workflows.tasks.task_type import TYPES

ROOT = Path(__file__).parents[2]


def scope(**inputs: Any) -> Scope:
    return Scope({"id": "f", "version": "1", "execution_id": "e", "input": inputs})


def perform(task: Task, engine: Engine, names: Scope) -> Any:
    async def run() -> Any:
        return await TYPES[task.type].run(task, engine, names)

    return asyncio.run(run())


@pytest.mark.parametrize("name", TYPES)
def test_each_task_type_is_documented_with_an_example_and_a_recorded_history(name: str) -> None:
    page = (ROOT / "docs" / "workflows.md").read_text(encoding="utf-8")
    assert f"### `{name}`" in page

    examples = [path for path in (ROOT / "examples").rglob("*.yaml") if "\ntasks:" in path.read_text(encoding="utf-8")]
    used = {task.type for path in examples for task in load_definition(path).tasks}
    assert name in used

    history = json.loads((Path(__file__).parent / "histories" / f"{name}.json").read_text(encoding="utf-8"))
    assert history["events"][-1]["eventType"] == "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"


def test_aggregate_renders_its_output_from_inputs_and_earlier_tasks() -> None:
    names = scope(n=2)
    names.finish("a", [1])
    task = Aggregate(
        id="t", output={"sum": "{{ workflow.input.n + tasks.a.output[0] }}", "text": "n={{ workflow.input.n }}"}
    )
    assert perform(task, FakeEngine(), names) == {"sum": 3, "text": "n=2"}


def test_aggregate_names_the_place_of_a_template_that_fails() -> None:
    with pytest.raises(TaskError) as failed:
        perform(Aggregate(id="t", output=["{{ workflow.input.gone }}"]), FakeEngine(), scope())
    assert failed.value.path == "tasks.t.output.0"


def test_basic_calls_its_tool_with_rendered_arguments_and_the_names_of_secrets() -> None:
    engine = FakeEngine(answers=["OUT"])
    arguments = {"n": "{{ workflow.input.n }}", "key": "{{ secrets.TOKEN }}"}
    task = Basic(id="t", tool="m:f", arguments=arguments, timeout_s=5.0, retry=Retry(2), isolation="process")

    assert perform(task, engine, scope(n=1)) == "OUT"

    argument = {
        "tool": "m:f", "arguments": {"n": 1, "key": None}, "task": "t", "secrets": [["TOKEN", "key"]],
        "isolation": "process",
    }  # fmt: skip
    assert engine.calls == [Call(CALL_TOOL, argument, 5.0, Retry(2))]


def test_basic_names_its_tool_when_it_fails() -> None:
    with pytest.raises(TaskError, match="tool m:f failed: ValueError: no"):
        perform(Basic(id="t", tool="m:f"), FakeEngine(answers=[CallError("ValueError: no")]), scope())


@pytest.mark.parametrize(("duration", "seconds"), [("1m30s", 90.0), ("{{ workflow.input.n }}", 2.0), ("0", 0.0)])
def test_sleep_pauses_for_a_duration_or_what_a_template_gives(duration: str, seconds: float) -> None:
    engine = FakeEngine()
    assert perform(Sleep(id="t", duration=duration), engine, scope(n="2s")) is None
    assert engine.slept == [seconds]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        pytest.param(5, "duration: expected a duration such as 500ms, 5m or 168h; '5' is not that", id="number"),
        pytest.param("99999h", "duration must be at most ten years", id="too-long"),
    ],
)
def test_sleep_rejects_what_is_no_duration(given: Any, reason: str) -> None:
    engine = FakeEngine()
    with pytest.raises(TaskError) as failed:
        perform(Sleep(id="t", duration="{{ workflow.input.n }}"), engine, scope(n=given))
    assert (failed.value.reason, failed.value.path, engine.slept) == (reason, "tasks.t.duration", [])


@pytest.mark.parametrize(
    ("duration", "problem"),
    [
        pytest.param("soon", "duration: expected a duration such as 500ms, 5m or 168h", id="text"),
        pytest.param("'{{ tasks.b.output }}'", 'task "b" does not exist', id="template"),
        pytest.param("null", 'a sleep task needs "duration", such as 5m', id="missing"),
    ],
)
def test_sleep_is_checked_when_its_file_is_read(duration: str, problem: str) -> None:
    with pytest.raises(Exception, match="not a valid workflow") as failed:
        parse_definition(f"id: a\ntasks:\n  - {{id: t, type: sleep, duration: {duration}}}\n", "f.yaml")
    assert problem in str(failed.value)
