"""Executions on a real Temporal: what the generic workflow does with a definition."""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.exceptions import ActivityError, RetryState, TimeoutError, TimeoutType
from tests.support.polling import eventually
from tests.workflows.bench import Bench
from tests.workflows.test_replay import replay

from compozy.errors import NotFoundError
from compozy.settings.redact import Redactor
from compozy.store import Execution, TaskExecution, UnavailableError
from compozy.workflows.expressions import templates
from compozy.workflows.facade import Workflows, WorkflowSettings
from compozy.workflows.model.definition import Definition, Retry
from compozy.workflows.read.loader import definition_from_json, load_definition, parse_definition
from compozy.workflows.run import row_writer, temporal_engine
from compozy.workflows.run.tool_loader import ToolOffer
from compozy.workflows.tasks.engine import Call

EXAMPLES = Path(__file__).parents[2] / "examples"


def definition(text: str) -> Definition:
    """Parse an indented definition."""
    return parse_definition(textwrap.dedent(text).lstrip("\n"), "flow.yaml")


def test_hello_world_greets_and_is_recorded(bench: Bench) -> None:
    """The smallest example gives its greeting, and the row records all of it."""
    workflows = bench.open()

    ended = workflows.run(load_definition(EXAMPLES / "hello-world.yaml"), {"name": "Ada"})

    assert (ended.status, ended.output) == ("completed", {"greeting": "Hello, Ada!"})
    assert (ended.workflow, ended.version, ended.input) == ("hello-world", "0.1.0", {"name": "Ada"})
    assert ended.error is None
    assert ended.finished_at is not None
    assert workflows.executions() == (ended,)


def test_an_execution_is_listed_as_soon_as_its_id_is_known(bench: Bench) -> None:
    """The row of an accepted execution is there before anything else is asked."""
    workflows = bench.open()

    name = workflows.start(load_definition(EXAMPLES / "sleep-between.yaml"))

    assert [(row.id, row.status) for row in workflows.executions()] == [(name, "running")]


def test_sleep_is_a_durable_timer(timed: Bench) -> None:
    """A pause of a day passes in Temporal's time, not in real time."""
    flow = definition("""
        id: nap
        tasks:
          - {id: first, type: aggregate, output: 1}
          - {id: second, type: aggregate, sleep: 24h, output: "{{ tasks.first.output + 1 }}"}
        outputs: {sum: "{{ tasks.second.output }}"}
        """)

    workflows = timed.open()
    name = workflows.start(flow)
    assert workflows.execution(name).status == "running"

    timed.skip(hours=24)
    ended = workflows.wait(name, 20)

    assert (ended.status, ended.output) == ("completed", {"sum": 2})


def test_tools_are_called_with_rendered_arguments(bench: Bench) -> None:
    """A synchronous and an asynchronous tool get JSON values and give them back."""
    example = load_definition(EXAMPLES / "tool" / "shout.yaml")

    ended = bench.open(directory=str(EXAMPLES / "tool")).run(example, {"text": "hey", "times": 3})

    assert ended.output == {"loud": "HEY! HEY! HEY!", "letters": 9, "quiet": "hey! hey! hey!"}


def test_a_failing_tool_is_tried_again(bench: Bench) -> None:
    """The retry policy of the task bounds the attempts; a late success is a success."""
    bench.write(
        "flaky.py",
        """
calls = []
def work():
    calls.append(1)
    if len(calls) < 3:
        raise OSError("not yet")
    return len(calls)
""",
    )
    flow = definition("""
        id: flaky
        tasks:
          - {id: work, type: basic, tool: "flaky:work", retry: {max_attempts: 3, initial_interval: 1ms}}
        outputs: {calls: "{{ tasks.work.output }}"}
        """)

    assert bench.open().run(flow).output == {"calls": 3}


def test_failing_tool_names_task_place_and_reason(bench: Bench) -> None:
    """After the last attempt the execution fails, and its row holds task, place and reason."""
    bench.write("broken.py", "def work():\n    raise ValueError('no luck')\n")
    flow = definition("""
        id: broken
        tasks:
          - {id: work, type: basic, tool: "broken:work", retry: {max_attempts: 2, initial_interval: 1ms}}
        """)

    ended = bench.open().run(flow)

    assert ended.status == "failed"
    assert ended.error == 'flow.yaml:3:5: task "work": tool broken:work failed: ValueError: no luck'
    assert ended.output is None


def test_a_tool_may_fail_with_any_text(bench: Bench) -> None:
    """Half characters, zero bytes and megabytes in an error do not keep an execution from ending."""
    bench.write("mod_odd.py", "def work():\n    raise ValueError(chr(0xD800) + chr(0) + 'y' * 10**7)\n")
    flow = definition("""
        id: odd
        tasks:
          - {id: work, type: basic, tool: "mod_odd:work", retry: {max_attempts: 1}}
        """)

    error = bench.open().run(flow).error or ""

    assert "tool mod_odd:work failed: ValueError: \\ud800\\x00yyy" in error
    assert len(error) < 5000


def test_a_secret_in_a_tool_s_error_is_redacted(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the row, nor the history, nor the log shows a secret that an exception quotes."""
    bench.write("mod_leaks.py", "def work():\n    raise ValueError('wrong password s3cr3t-word')\n")
    flow = definition("""
        id: leaks
        tasks:
          - {id: work, type: basic, tool: "mod_leaks:work", retry: {max_attempts: 1}}
        """)
    workflows = Workflows(
        bench.client, bench.database, bench.loop,
        WorkflowSettings(str(bench.directory), bench.task_queue, grace_s=1.0),
        ToolOffer(redact=Redactor(["s3cr3t-word"]).text),
    )  # fmt: skip

    ended = bench.opened.enter_context(workflows).run(flow)

    history = bench.call(bench.client.get_workflow_handle(ended.id).fetch_history())
    assert (ended.error or "").endswith("ValueError: wrong password [REDACTED]")
    assert "s3cr3t-word" not in history.to_json() + "".join(str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_secrets_reach_tools_and_nothing_else(bench: Bench, isolation: str) -> None:
    """A secret as an argument is filled in where the tool is called; history, row and result do not hold it."""
    bench.write("mod_takes.py", "def work(key, parts):\n    return [len(key), parts[1]['k'] == key, 'got ' + key]\n")
    flow = definition(f"""
        id: takes
        tasks:
          - id: work
            type: basic
            tool: "mod_takes:work"
            isolation: {isolation}
            with: {{key: "{{{{ secrets.TOKEN }}}}", parts: [1, {{k: "{{{{ secrets.TOKEN }}}}"}}]}}
        outputs: {{found: "{{{{ tasks.work.output }}}}"}}
        """)
    workflows = Workflows(
        bench.client, bench.database, bench.loop,
        WorkflowSettings(str(bench.directory), bench.task_queue, grace_s=1.0),
        ToolOffer(secrets={"TOKEN": "s3cr3t-word"}),
    )  # fmt: skip

    ended = bench.opened.enter_context(workflows).run(flow)

    assert (ended.status, ended.output) == ("completed", {"found": [11, True, "got [REDACTED]"]})
    history = bench.call(bench.client.get_workflow_handle(ended.id).fetch_history())
    assert "s3cr3t-word" not in history.to_json() + str(ended)
    replay(bench.loop, history)


def test_an_undeclared_secret_fails_the_task(bench: Bench) -> None:
    """A secret that the project does not have is named, without a retry."""
    bench.write("mod_key.py", "def work(key):\n    return key\n")
    flow = definition("""
        id: takes
        tasks:
          - id: work
            type: basic
            tool: "mod_key:work"
            with: {key: "{{ secrets.NONE }}"}
            retry: {initial_interval: 1h}
        """)

    assert 'unknown secret "NONE"; declare it under secrets:' in (bench.open().run(flow).error or "")


def test_oversized_value_fails(bench: Bench) -> None:
    """A value beyond Temporal's limit ends the execution with its place instead of blocking it."""
    flow = definition("""
        id: grows
        tasks:
          - {id: one, type: aggregate, output: "{{ workflow.input.text }}"}
          - {id: two, type: aggregate, output: ["{{ tasks.one.output }}", "{{ tasks.one.output }}"]}
        """)

    ended = bench.open().run(flow, {"text": "x" * 900_000})

    assert (ended.error or "").endswith(
        "the value cannot be kept: it has 1800008 bytes as JSON; at most 1000000 are taken"
    )


def test_a_missing_tool_fails_without_a_retry(bench: Bench) -> None:
    """A missing tool stays missing, so a retry is useless."""
    flow = definition("""
        id: missing
        tasks:
          - {id: work, type: basic, tool: "nowhere:work", retry: {initial_interval: 1h}}
        """)

    ended = bench.open().run(flow)

    assert ended.error is not None
    assert "ToolNotFound: module nowhere not found in" in ended.error


def test_tool_beyond_its_timeout_fails(bench: Bench) -> None:
    """The timeout of a task bounds one call."""
    bench.write("slow.py", "import threading\ndef work():\n    threading.Event().wait(20)\n")
    flow = definition("""
        id: slow
        tasks:
          - {id: work, type: basic, tool: "slow:work", timeout: 300ms, retry: {max_attempts: 1}}
        """)

    ended = bench.open().run(flow)

    assert ended.status == "failed"
    assert (ended.error or "").endswith("tool slow:work failed: it took longer than its timeout of 0.3 s")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        pytest.param("{{ tasks.first.output.naem }}", 'did you mean "name"?', id="undefined"),
        pytest.param("{{ 1 / (tasks.first.output.n - 1) }}", "division by zero", id="arithmetic"),
        pytest.param("{{ range(tasks.first.output.n * 10**9) | list }}", "steps", id="too-much-work"),
    ],
)
def test_failing_template_names_its_place(bench: Bench, template: str, reason: str) -> None:
    """A template that only fails with its values ends the execution with file, line, task and reason."""
    flow = definition(f"""
        id: late
        tasks:
          - {{id: first, type: aggregate, output: {{name: x, n: 1}}}}
          - id: second
            type: aggregate
            output:
              deep: ["{template}"]
        """)

    ended = bench.open().run(flow)

    assert ended.status == "failed"
    assert ended.error is not None
    assert ended.error.startswith('flow.yaml:7:14: task "second": template: ')
    assert reason in ended.error


SLOW = "{% for i in range(60000) %}{{ i }}.{% endfor %}"


def test_pure_tasks_of_many_seconds_complete(bench: Bench) -> None:
    """Renderings that together take longer than a workflow task may are recorded one by one."""
    flow = definition_from_json(
        {
            "id": "pure",
            "tasks": [{"id": f"t{index}", "type": "aggregate", "output": SLOW} for index in range(5)],
            "outputs": {"length": "{{ tasks.t4.output | length }}"},
        },
        "pure",
    )

    workflows = bench.open()
    ended = workflows.run(flow)

    assert (ended.status, ended.output) == ("completed", {"length": 348_890})
    history = bench.call(bench.client.get_workflow_handle(ended.id).fetch_history())
    assert [event for event in history.events if event.HasField("workflow_task_failed_event_attributes")] == []
    replay(bench.loop, history)


def test_cancel_ends_a_chain_of_pure_tasks(bench: Bench) -> None:
    """A cancellation is answered between two workflow tasks, and stops the rendering at work."""
    tasks = [{"id": f"t{index}", "type": "aggregate", "output": SLOW} for index in range(2000)]
    workflows = bench.open()
    name = workflows.start(definition_from_json({"id": "pure", "tasks": tasks}, "pure"))

    workflows.cancel(name)

    assert workflows.wait(name, 30).status == "canceled"


def test_many_small_tasks_complete(bench: Bench) -> None:
    """Many cheap tasks do not exceed the deadline of a workflow task together."""
    tasks = [{"id": f"t{index}", "type": "aggregate", "output": "{{ [1, 2, 3] | sum }}"} for index in range(3000)]
    flow = definition_from_json({"id": "many", "tasks": tasks, "outputs": {"n": "{{ tasks.t2999.output }}"}}, "many")

    assert bench.open().run(flow).output == {"n": 6}


def test_a_bug_of_the_interpreter_fails_the_execution(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error ends the execution with its name instead of being repeated for ever."""
    flow = definition("id: bug\ntasks: [{id: only, type: aggregate, output: '{{ 1 }}'}]")
    monkeypatch.setattr(templates, "why_not_plain", lambda value: dict[int, str]()[0])

    ended = bench.open().run(flow)

    assert (ended.status, ended.error) == ("failed", 'flow.yaml:2:9: task "only": unexpected KeyError: 0')


def test_a_cancellation_during_the_last_write_leaves_no_disagreement(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row and history agree when a cancellation arrives while the final row is written."""
    workflows = bench.open()
    write, began, gate = workflows.store.record_finished, threading.Event(), threading.Event()

    def slow(row: Execution, tasks: Sequence[TaskExecution] | None = None) -> None:
        began.set()
        gate.wait(10)
        write(row, tasks)

    monkeypatch.setattr(workflows.store, "record_finished", slow)
    name = workflows.start(load_definition(EXAMPLES / "hello-world.yaml"))
    assert began.wait(10)
    workflows.cancel(name)
    gate.set()

    handle = bench.client.get_workflow_handle(name)
    eventually(lambda: bench.call(handle.describe()).status != WorkflowExecutionStatus.RUNNING)

    status = bench.call(handle.describe()).status.name.lower()
    eventually(lambda: workflows.execution(name).status == status)


def test_an_execution_ends_while_its_row_cannot_be_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that stays away holds no execution up; the row is repaired from Temporal's history."""
    monkeypatch.setattr(row_writer, "REPEATED_S", 0.2)
    workflows = bench.open()
    write = workflows.store.record_finished

    def away(row: Execution, tasks: Sequence[TaskExecution] | None = None) -> None:
        raise UnavailableError("database", "away")

    monkeypatch.setattr(workflows.store, "record_finished", away)
    name = workflows.start(load_definition(EXAMPLES / "hello-world.yaml"))
    bench.call(bench.client.get_workflow_handle(name).result())
    assert workflows.execution(name).status == "running"
    monkeypatch.setattr(workflows.store, "record_finished", write)

    ended = workflows.wait(name, 20)

    assert (ended.status, ended.output) == ("completed", {"greeting": "Hello, World!"})


def test_an_execution_ends_while_the_database_hangs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An execution does not wait for a write that never returns."""
    monkeypatch.setattr(row_writer, "PATIENCE_S", 0.1)
    workflows = bench.open()
    gate = threading.Event()
    hang = lambda row, tasks=None: gate.wait(30)  # noqa: E731
    workflows.store.record_finished = hang  # type: ignore[method-assign, assignment]
    name = workflows.start(load_definition(EXAMPLES / "hello-world.yaml"))

    assert bench.call(bench.client.get_workflow_handle(name).result()) == {"greeting": "Hello, World!"}
    gate.set()


def test_times_of_a_row_do_not_change_and_stay_in_order(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start is the one reported first; the end is not before it, even if the clock was set back."""
    monkeypatch.setattr("compozy.workflows.run.row_writer.timestamp", lambda: "2001-01-01T00:00:00.000000Z")
    bench.write("mod_one.py", "def work():\n    return 1\n")
    workflows = bench.open()
    name = workflows.start(definition("id: t\ntasks: [{id: a, type: basic, tool: 'mod_one:work', sleep: 1s}]"))
    began = workflows.execution(name)

    ended = workflows.wait(name, 20)

    assert (ended.started_at, ended.run_id) == (began.started_at, began.run_id)
    assert ended.finished_at == ended.started_at


def test_failing_outputs_name_their_place(bench: Bench) -> None:
    """The outputs are rendered at the end; a failure there is distinguished from that of a task."""
    flow = definition("""
        id: outs
        tasks:
          - {id: only, type: aggregate, output: {}}
        outputs:
          x: "{{ tasks.only.output.y }}"
        """)

    assert (bench.open().run(flow).error or "").startswith("flow.yaml:5:6: outputs: template:")


def test_cancel_ends_a_sleeping_execution(bench: Bench) -> None:
    """A canceled execution is recorded as such, with the task it was at."""
    workflows = bench.open()
    flow = definition("""
        id: long
        tasks:
          - {id: nap, type: aggregate, sleep: 1000h, output: 1}
        """)
    name = workflows.start(flow)

    workflows.cancel(name)
    ended = workflows.wait(name, 20)

    assert (ended.status, ended.error) == ("canceled", 'canceled while at task "nap"')
    assert workflows.cancel(name) == ended


def test_cancel_reaches_an_asynchronous_tool(bench: Bench) -> None:
    """An async tool of a canceled execution is canceled too."""
    bench.write(
        "waits.py",
        """
import asyncio, pathlib
async def work(mark):
    pathlib.Path(mark + ".began").touch()
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        pathlib.Path(mark).touch()
        raise
""",
    )
    mark = bench.directory / "canceled"
    flow = definition(f"""
        id: waits
        tasks:
          - {{id: work, type: basic, tool: "waits:work", with: {{mark: "{mark}"}}}}
        """)
    workflows = bench.open()
    name = workflows.start(flow)
    eventually(mark.with_suffix(".began").exists)

    workflows.cancel(name)

    assert workflows.wait(name, 20).status == "canceled"
    eventually(mark.exists)


def test_signals_are_kept_and_the_state_can_be_asked(bench: Bench) -> None:
    """A running execution keeps its signals in order and reports its state."""
    workflows = bench.open()
    flow = definition("""
        id: listens
        tasks:
          - {id: first, type: aggregate, output: 1}
          - {id: nap, type: aggregate, sleep: 1000h, output: 1}
        """)
    name = workflows.start(flow)

    workflows.signal(name, "go", {"n": 1})
    workflows.signal(name, "stop")

    signals = [{"name": "go", "payload": {"n": 1}}, {"name": "stop", "payload": None}]
    eventually(lambda: bench.call(workflows.service.state(name))["signals"] == signals)
    assert bench.call(workflows.service.state(name)) == {"task": "nap", "done": ["first"], "signals": signals}
    workflows.cancel(name)


def test_templates_see_the_execution(bench: Bench) -> None:
    """Id, version and execution id are there for templates."""
    flow = definition("""
        id: self
        version: 2.1.0
        tasks:
          - {id: a-b, type: aggregate, output: "{{ workflow.id }} {{ workflow.version }}"}
        outputs: {about: "{{ tasks.a-b.output }}", me: "{{ workflow.execution_id }}"}
        """)

    ended = bench.open().run(flow, execution_id="mine")

    assert ended.output == {"about": "self 2.1.0", "me": "mine"}


def test_an_unknown_execution_is_not_found(bench: Bench) -> None:
    """The error names the execution that does not exist."""
    with pytest.raises(NotFoundError, match='execution "nope" does not exist'):
        bench.open().execution("nope")


def test_wait_gives_the_running_execution_when_the_time_is_up(bench: Bench) -> None:
    """The wait is bounded; its result reports that the execution is still running."""
    workflows = bench.open()
    name = workflows.start(load_definition(EXAMPLES / "sleep-between.yaml"))

    waited: Execution = workflows.wait(name, 0.05)

    assert waited.status == "running"


def test_tool_of_a_lost_worker_fails_with_this_reason() -> None:
    """A call without heartbeats fails with that reason after its attempts."""
    error = ActivityError(
        "activity timed out", scheduled_event_id=1, started_event_id=2, identity="", activity_type="compozy.tool",
        activity_id="a", retry_state=RetryState.MAXIMUM_ATTEMPTS_REACHED,
    )  # fmt: skip
    error.__cause__ = TimeoutError("heartbeat", type=TimeoutType.HEARTBEAT, last_heartbeat_details=[])

    assert temporal_engine._reason(error, Call("a", {}, 1.0, Retry())) == "its worker ended"
