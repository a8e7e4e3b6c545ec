"""The interpreter is deterministic: recorded histories replay, one for each task type and one for each kind of end.

A file in `histories/` is the history of one execution as `WorkflowHistory.to_json` writes it. A change that breaks one
would break running executions of users: keep the old path behind `workflow.patched`. `make histories` records them
anew, with the inputs in `SCENARIOS`.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakeredis import FakeRedis, FakeServer
from temporalio import workflow
from temporalio.client import WorkflowExecutionStatus, WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from tests.support.polling import eventually
from tests.support.vectors import words_library
from tests.workflows.bench import Bench

from compozy.drivers.protocol import LoopThread
from compozy.memory.memories import Memories
from compozy.memory.memory_definition import MemoryDefinition
from compozy.workflows.facade import Workflows
from compozy.workflows.read.loader import load_definition, parse_definition
from compozy.workflows.run.ingestion_workflow import IngestionWorkflow
from compozy.workflows.run.interpreter import Interpreter
from compozy.workflows.run.tool_loader import ToolOffer
from compozy.workflows.tasks.task_type import TYPES

EXAMPLES = Path(__file__).parents[2] / "examples"
HISTORIES = Path(__file__).parent / "histories"
RECORD = "RECORD_HISTORIES"
FAILING_TOOL = """
id: fails
tasks:
  - {id: work, type: basic, tool: "broken:work", retry: {max_attempts: 2, initial_interval: 1ms}}
"""
FAILING_TEMPLATE = """
id: fails
input: {n: 0}
tasks: [{id: divide, type: aggregate, output: "{{ 1 / workflow.input.n }}"}]
"""
SECRET = """
id: secret
tasks: [{id: work, type: basic, tool: "takes:work", with: {key: "{{ secrets.TOKEN }}"}}]
"""
HEAVY = """
id: heavy
tasks: [{id: many, type: aggregate, output: "{% for i in range(40000) %}{% endfor %}x"}]
outputs: {length: "{{ tasks.many.output | length }}"}
"""


@dataclass(frozen=True)
class Scenario:
    """The scenario of a recorded history: an example or a text, its end, and the actions meanwhile."""

    source: str
    status: str = "completed"
    modules: dict[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    act: Callable[[Workflows, str], Any] = lambda workflows, name: None
    base: str | None = None


SCENARIOS = {
    "aggregate": Scenario("hello-world.yaml"),
    "basic": Scenario("tool/shout.yaml"),
    "memory": Scenario("memory-notes/workflows/take-note.yaml", given={"person": "ada", "note": "Hello."}),
    "knowledge": Scenario("knowledge/workflows/ask.yaml", base="guide"),
    "sleep": Scenario("sleep.yaml"),
    "sleep-before": Scenario("sleep-between.yaml"),
    "canceled": Scenario("sleep-between.yaml", "canceled", act=lambda workflows, name: workflows.cancel(name)),
    "tool-fails": Scenario(FAILING_TOOL, "failed", {"broken": "def work():\n    raise ValueError('no')\n"}),
    "template-fails": Scenario(FAILING_TEMPLATE, "failed"),
    "secret": Scenario(SECRET, "failed", {"takes": "def work(key):\n    return 1\n"}),
    "rendered-apart": Scenario(HEAVY),
}


def notes() -> Memories:
    """Return the memory of the example."""
    client = FakeRedis(server=FakeServer())
    return Memories(lambda: client, [MemoryDefinition("notes", max_messages=4, key="{{ input.person }}")], "test")


def replay(loop: LoopThread, history: WorkflowHistory) -> None:
    """Replay a history; raise if the interpreter deviates from it."""
    replayer = Replayer(workflows=[Interpreter, IngestionWorkflow], workflow_runner=UnsandboxedWorkflowRunner())
    loop.call(replayer.replay_workflow(history), 30)


def record(bench: Bench, scenario: Scenario) -> WorkflowHistory:
    """Run a scenario and return the history of its execution."""
    example = EXAMPLES / scenario.source if scenario.source.endswith(".yaml") else None
    for name, text in scenario.modules.items():
        bench.write(f"{name}.py", text)
    text = example.read_text(encoding="utf-8") if example else scenario.source
    definition = parse_definition(text, f"examples/{scenario.source}" if example else "flow.yaml")
    bench.offer = ToolOffer(memories=notes())
    library = scenario.base and words_library(scenario.base, EXAMPLES / "knowledge", bench.database)
    workflows = bench.open(library or None, directory=str(example.parent if example else bench.directory))
    if scenario.base:
        workflows.base(scenario.base).ingest()
    name = workflows.start(definition, scenario.given)
    scenario.act(workflows, name)
    handle = bench.client.get_workflow_handle(name)
    eventually(lambda: bench.call(handle.describe()).status != WorkflowExecutionStatus.RUNNING)
    assert workflows.execution(name).status == scenario.status
    history: WorkflowHistory = bench.call(handle.fetch_history())
    return history


@pytest.mark.parametrize("name", SCENARIOS)
def test_recorded_histories_replay(loop: LoopThread, name: str, request: pytest.FixtureRequest) -> None:
    """Executions of an earlier version continue in this version."""
    file = HISTORIES / f"{name}.json"
    if os.environ.get(RECORD):
        history = record(request.getfixturevalue("timed"), SCENARIOS[name])
        anonymous = re.sub(r'"(identity|stackTrace)": "(?:[^"\\]|\\.)*"', r'"\1": "recorded"', history.to_json())
        file.write_text(anonymous + "\n", encoding="utf-8")
    replay(loop, WorkflowHistory.from_json(name, file.read_text(encoding="utf-8")))


def edited(name: str, **templates: Any) -> WorkflowHistory:
    """Return a recorded history whose start payload has other rules for templates."""
    history = json.loads((HISTORIES / f"{name}.json").read_text(encoding="utf-8"))
    payload = history["events"][0]["workflowExecutionStartedEventAttributes"]["input"]["payloads"][0]
    start = json.loads(base64.b64decode(payload["data"]))
    start["templates"].update(templates)
    payload["data"] = base64.b64encode(json.dumps(start).encode()).decode()
    return WorkflowHistory.from_json(name, history)


def test_limits_of_the_start_payload_decide_the_place_of_rendering(loop: LoopThread) -> None:
    replay(loop, edited("rendered-apart", inline_steps=30_001))

    with pytest.raises(workflow.NondeterminismError):
        replay(loop, edited("rendered-apart", inline_steps=10_000_000))


def test_another_version_of_jinja2_is_logged(loop: LoopThread, caplog: pytest.LogCaptureFixture) -> None:
    replay(loop, edited("aggregate", jinja2="3.0.0"))

    found = [record for record in caplog.records if record.message == "execution.jinja2_changed"]
    assert [vars(record)["began"] for record in found] == ["3.0.0"]


def test_recorded_histories_are_those_of_the_scenarios() -> None:
    assert {file.stem for file in HISTORIES.glob("*.json")} == set(SCENARIOS) >= set(TYPES)


@pytest.mark.parametrize("name", ["hello-world.yaml", "tool/shout.yaml"])
def test_examples_replay(bench: Bench, name: str) -> None:
    """A history of today replays today."""
    path = EXAMPLES / name
    ended = bench.open(directory=str(path.parent)).run(load_definition(path))

    replay(bench.loop, bench.call(bench.client.get_workflow_handle(ended.id).fetch_history()))
