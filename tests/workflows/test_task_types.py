"""Task types on a fake engine, and what each of them must have: documentation, an example, a recorded history."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus
from tests.support.polling import eventually
from tests.workflows.bench import Bench
from tests.workflows.fake_engine import FakeEngine
from tests.workflows.test_replay import replay

from compozy.errors import DefinitionError
from compozy.workflows.model.definition import Retry, Task
from compozy.workflows.model.scope import Scope
from compozy.workflows.read.loader import load_definition, parse_definition
from compozy.workflows.run import wire
from compozy.workflows.tasks.aggregate import Aggregate
from compozy.workflows.tasks.basic import CALL_TOOL, Basic
from compozy.workflows.tasks.engine import Call, CallError, Engine, TaskError, run_concurrently
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


def test_aggregate_names_the_place_of_a_failing_template() -> None:
    with pytest.raises(TaskError) as failed:
        perform(Aggregate(id="t", output=["{{ workflow.input.missing }}"]), FakeEngine(), scope())
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
def test_sleep_pauses_for_a_literal_or_rendered_duration(duration: str, seconds: float) -> None:
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
def test_sleep_rejects_an_invalid_duration(given: Any, reason: str) -> None:
    engine = FakeEngine()
    with pytest.raises(TaskError) as failed:
        perform(Sleep(id="t", duration="{{ workflow.input.n }}"), engine, scope(n=given))
    assert (failed.value.reason, failed.value.path, engine.slept) == (reason, "tasks.t.duration", [])


@pytest.mark.parametrize(
    ("duration", "problem"),
    [
        pytest.param("soon", "`duration` of a sleep task: expected a duration such as 500ms, 5m or 168h", id="text"),
        pytest.param("'{{ tasks.b.output }}'", 'task "b" does not exist', id="template"),
        pytest.param("99999h", "`duration` of a sleep task must be at most ten years", id="too-long"),
        pytest.param("null", "a sleep task needs `duration`", id="missing"),
    ],
)
def test_sleep_is_checked_when_its_file_is_read(duration: str, problem: str) -> None:
    with pytest.raises(Exception, match="not a valid workflow") as failed:
        parse_definition(f"id: a\ntasks:\n  - {{id: t, type: sleep, duration: {duration}}}\n", "f.yaml")
    assert problem in str(failed.value)


@pytest.mark.parametrize(("n", "output", "status"), [(4, "ran", "completed"), (3, None, "skipped")])
def test_condition_skips_a_task_when_it_is_false(bench: Bench, n: int, output: str | None, status: str) -> None:
    text = """
id: maybe
input: {n: 0}
tasks:
  - {id: t, type: aggregate, condition: input.n > 3, sleep: 0s, output: ran}
outputs: {t: "{{ tasks.t.output }}"}
"""
    workflows = bench.open()
    ended = workflows.run(parse_definition(text, "f.yaml"), {"n": n})
    assert (ended.status, ended.output) == ("completed", {"t": output})
    assert [task.status for task in workflows.tasks(ended.id)] == [status]


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        pytest.param("input.m > 3", 'input "m" is not declared', id="input"),
        pytest.param("tasks.t.output", 'task "t" has not run yet', id="itself"),
        pytest.param("input.n >", "expression: ", id="syntax"),
        pytest.param("[1]", "`condition` of an aggregate task must be an expression such as input.n > 3", id="list"),
    ],
)
def test_condition_is_checked_when_its_file_is_read(condition: str, problem: str) -> None:
    text = (
        f"id: a\ninput: {{n: 0}}\ntasks:\n  - id: t\n    type: aggregate\n    condition: {condition}\n    output: 1\n"
    )
    with pytest.raises(DefinitionError) as failed:
        parse_definition(text, "f.yaml")
    assert str(failed.value.findings[0]).startswith(f"f.yaml:6:16: {problem}")


def test_engine_waits_for_signals_and_runs_blocks_concurrently_on_temporal(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task type that only tests have: it waits for one signal in each of two blocks."""

    async def run(task: Aggregate, engine: Engine, scope: Scope) -> Any:
        async def one(name: str) -> Any:
            return await engine.wait_signal(name)

        return await engine.concurrently([lambda: one("a"), lambda: one("b")], 2)

    monkeypatch.setitem(TYPES, "aggregate", replace(TYPES["aggregate"], run=run))
    workflows = bench.open()
    name = workflows.start(parse_definition("{id: w, tasks: [{id: t, type: aggregate, output: 1}]}", "f.yaml"))
    workflows.signal(name, "b", 2)
    workflows.signal(name, "other", 0)
    workflows.signal(name, "a", 1)

    assert workflows.wait(name, 20).status == "completed"
    assert bench.call(bench.client.get_workflow_handle(name).result()) == {}
    replay(bench.loop, bench.call(bench.client.get_workflow_handle(name).fetch_history()))


@pytest.mark.parametrize("most", [1, 2, 5])
def test_blocks_run_in_order_with_a_bound_and_give_results_in_order(most: int) -> None:
    running, peak = 0, 0
    began: list[int] = []

    async def block(number: int) -> int:
        nonlocal running, peak
        running, began[len(began) :] = running + 1, [number]
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1
        return number

    results = asyncio.run(run_concurrently([partial(block, number) for number in range(4)], most))
    assert (results, began, peak) == ([0, 1, 2, 3], [0, 1, 2, 3], min(most, 4))


def test_first_failing_block_cancels_the_others() -> None:
    ended: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("canceled")

    async def fails() -> None:
        raise TaskError("no")

    with pytest.raises(TaskError, match="no"):
        asyncio.run(run_concurrently([waits, fails], 2))
    assert ended == ["canceled"]


def test_wait_for_a_signal_ends_after_its_timeout(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(task: Aggregate, engine: Engine, scope: Scope) -> Any:
        try:
            return await engine.wait_signal("never", 0.01)
        except TimeoutError:
            return "timed out"

    monkeypatch.setitem(TYPES, "aggregate", replace(TYPES["aggregate"], run=run))
    text = '{id: w, tasks: [{id: t, type: aggregate, output: 1}], outputs: {t: "{{ tasks.t.output }}"}}'
    assert bench.open().run(parse_definition(text, "f.yaml")).output == {"t": "timed out"}


def test_newer_start_payload_is_left_to_a_newer_worker(bench: Bench) -> None:
    """The workflow task fails, not the execution."""
    bench.open()
    starting = bench.client.start_workflow(
        wire.WORKFLOW_TYPE, {"format": wire.FORMAT + 1}, id=bench.task_queue, task_queue=bench.task_queue
    )
    handle = bench.call(starting)

    def failures() -> list[str]:
        events = bench.call(handle.fetch_history()).events
        return [event.workflow_task_failed_event_attributes.failure.message for event in events]

    eventually(lambda: any(f"format {wire.FORMAT + 1}" in message for message in failures()))
    assert bench.call(handle.describe()).status == WorkflowExecutionStatus.RUNNING
    bench.call(handle.terminate())
