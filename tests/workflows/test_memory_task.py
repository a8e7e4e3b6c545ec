"""The task type `memory`: on a fake engine, on Temporal, and checked when its file is read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fakeredis import FakeRedis, FakeServer
from tests.workflows.bench import Bench
from tests.workflows.fake_engine import FakeEngine

from compozy.cli.main import run
from compozy.errors import DefinitionError
from compozy.memory.memories import Memories
from compozy.memory.memory import MemoryChange
from compozy.memory.memory_definition import MemoryDefinition
from compozy.memory.operations import OPERATIONS, MemoryRequest, perform
from compozy.workflows.model.definition import Retry
from compozy.workflows.model.scope import Scope
from compozy.workflows.read.loader import parse_definition
from compozy.workflows.run.tool_loader import ToolOffer
from compozy.workflows.tasks import memory_task
from compozy.workflows.tasks.engine import Call, CallError, TaskError
from compozy.workflows.tasks.memory_task import USE_MEMORY, MemoryTask


def memories(**fields: Any) -> Memories:
    client = FakeRedis(server=FakeServer())
    return Memories(lambda: client, [MemoryDefinition("chat", **fields)], "test")


def flow(*tasks: str) -> str:
    lines = [f"  - {{id: t{number}, type: memory, memory: chat, {task}}}" for number, task in enumerate(tasks)]
    return "\n".join(["id: flow", "tasks:", *lines, f'outputs: {{last: "{{{{ tasks.t{len(tasks) - 1}.output }}}}"}}'])


def test_task_calls_its_operation_with_rendered_key_and_payload() -> None:
    engine, scope = FakeEngine(answers=["OUT"]), Scope({"id": "f", "input": {"n": 1}})
    task = MemoryTask(
        id="t", memory="chat", operation="append", key="k{{ input.n }}", payload=[{"content": "{{ input.n }}"}],
        timeout_s=5.0, retry=Retry(2),
    )  # fmt: skip
    assert asyncio.run(memory_task.run(task, engine, scope)) == "OUT"
    argument = {
        "operation": "append", "memory": "chat", "key": "k1", "names": None, "payload": [{"content": 1}], "limit": None,
    }  # fmt: skip
    assert engine.calls == [Call(USE_MEMORY, argument, 5.0, Retry(2))]


def test_task_without_a_key_sends_the_names_of_the_setting() -> None:
    engine, scope = FakeEngine(answers=[CallError("no")]), Scope({"id": "f", "input": {"n": 1}})
    with pytest.raises(TaskError, match="read of memory chat failed: no"):
        asyncio.run(memory_task.run(MemoryTask(id="t", memory="chat", operation="read"), engine, scope))
    assert engine.calls[0].argument["names"] == {"workflow": {"id": "f", "input": {"n": 1}}, "input": {"n": 1}}


def test_operations_of_the_task_are_those_of_memories() -> None:
    assert set(memory_task.OPERATIONS) == set(OPERATIONS)


def test_operations_on_a_missing_key_succeed() -> None:
    chat = memories().memory("chat")
    found = {name: perform(chat, name, MemoryRequest("k")) for name in OPERATIONS if name not in memory_task.WRITES}
    assert found["read"]["messages"] == ()
    assert (found["delete"]["removed"], found["delete"]["existed"]) == (0, False)
    assert [found[name]["removed"] for name in ("clear", "flush")] == [0, 0]
    assert (found["stats"]["stats"]["entries"], found["health"]["healthy"]) == (0, True)


def test_health_reports_lowered_limits_and_an_unresponsive_server() -> None:
    client = FakeRedis(server=FakeServer())
    wide = Memories(lambda: client, [MemoryDefinition("chat")], "test").memory("chat")
    wide.append("k", [{"content": 1}, {"content": 2}])
    narrow = Memories(lambda: client, [MemoryDefinition("chat", max_messages=1)], "test").memory("chat")
    assert perform(narrow, "health", MemoryRequest("k"))["over_limit"] is True
    assert perform(narrow, "flush", MemoryRequest("k"))["removed"] == 1
    assert perform(narrow, "health", MemoryRequest("k"))["over_limit"] is False
    client.connection_pool.connection_kwargs["server"].connected = False
    client.connection_pool.disconnect()
    answer = perform(narrow, "health", MemoryRequest("k"))
    assert (answer["healthy"], answer.keys() >= {"memory", "key", "error"}) == (False, True)


def test_conversation_is_kept_between_executions(bench: Bench) -> None:
    bench.offer = ToolOffer(memories=memories(max_messages=3, key="user-{{ input.user }}"))
    workflows = bench.open()
    text = flow("operation: append, payload: {content: '{{ input.text }}'}", "operation: read, limit: 2")
    for word in ("a", "b", "c", "d"):
        ended = workflows.run(parse_definition(text, "f.yaml"), {"user": 7, "text": word})
    output: Any = ended.output
    last = output["last"]
    assert (last["key"], [one["content"] for one in last["messages"]]) == ("user-7", ["c", "d"])
    assert (last["stats"]["entries"], last["stats"]["evicted"]) == (3, 1)


def test_append_with_a_lost_answer_is_done_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.offer = ToolOffer(memories=memories())
    chat = bench.offer.memories.memory("chat")
    append, calls = chat.append, 0

    def lose_the_first_answer(*arguments: Any) -> MemoryChange:
        nonlocal calls
        calls += 1
        changed = append(*arguments)
        if calls == 1:
            raise ConnectionError
        return changed

    monkeypatch.setattr(chat, "append", lose_the_first_answer)
    text = flow("key: k, operation: append, payload: {content: 1}, retry: {initial_interval: 1ms}")
    assert bench.open().run(parse_definition(text, "f.yaml")).status == "completed"
    assert (calls, chat.read("k").stats.appended) == (2, 1)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        pytest.param("operation: read", "memory.refused: the task has no key (fix: write key: in the task", id="key"),
        pytest.param("operation: read, key: '{{ [1] }}'", "memory.refused: the key must be a text", id="key-type"),
        pytest.param(
            "operation: append, key: k, payload: {content: aaaa bbbb cccc}", "more than the max_tokens 6", id="tokens"
        ),
        pytest.param("operation: append, key: k, payload: text", "message 1 has no content", id="payload"),
    ],
)
def test_invalid_task_fails_with_its_place(bench: Bench, task: str, reason: str) -> None:
    bench.offer = ToolOffer(memories=memories(max_tokens=6))
    ended = bench.open().run(parse_definition(flow(task), "f.yaml"))
    assert (ended.status, str(ended.error).startswith('f.yaml:3:5: task "t0"')) == ("failed", True)
    assert reason in str(ended.error)


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        pytest.param("operation: put", "`operation` of a memory task must be read or write or append", id="operation"),
        pytest.param("operation: append, key: k", "a memory task: `payload` is for the operations", id="no-payload"),
        pytest.param("operation: read, payload: {}", "a memory task: `payload` is for the operations", id="payload"),
        pytest.param("operation: stats, limit: 3", "a memory task: `limit` is for the operation read", id="limit"),
        pytest.param("operation: read, key: '{{ tasks.x.output }}'", 'task "x" does not exist', id="template"),
        pytest.param("operation: read, key: '{{ secrets.K }}'", '"secrets" is there for', id="secret"),
        pytest.param("operation: read, memory_ref: b", "`memory_ref`, which is `memory`, and `memory` too", id="both"),
        pytest.param("operation: read, keys: b", 'unknown key "keys" in a memory task', id="unknown"),
    ],
)
def test_task_is_checked_when_its_file_is_read(task: str, problem: str) -> None:
    with pytest.raises(DefinitionError) as failed:
        parse_definition(flow(task), "f.yaml")
    assert problem in str(failed.value)


def test_other_names_of_keys_mean_the_same() -> None:
    text = "{id: a, tasks: [{id: t, type: memory, memory_ref: chat, key_template: k, operation: clear}]}"
    [task] = parse_definition(text, "f.yaml").tasks
    assert task == MemoryTask(id="t", memory="chat", key="k", operation="clear")


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        pytest.param("{id: chats}", 'memory "chat" is not declared; did you mean "chats"?', id="unknown"),
        pytest.param("{id: chat}", "a task needs `key`, because the setting of memory chat has none", id="no-key"),
        pytest.param('{id: chat, key: "{{ x }}"}', 'the key of memory chat: "x" is not defined', id="name"),
        pytest.param('{id: chat, key: "{{ tasks.a.output }}"}', '"tasks.a" is not defined; it knows', id="task"),
        pytest.param('{id: chat, key: "{{ input.user }}"}', None, id="valid"),
    ],
)
def test_memory_of_a_task_is_looked_up_in_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], declared: str,
    problem: str | None,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compozy.yaml").write_text(f"memories: [{declared}]\n")
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "flow.yaml").write_text(flow("operation: read"))
    assert run(["workflow", "validate", "--format", "json"]) == (0 if problem is None else 2)
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [problem in finding["message"] for finding in findings] == ([] if problem is None else [True])
    assert all(finding["where"]["line"] == 3 for finding in findings)
