"""The rows of tasks: what is recorded about tasks while an execution runs and after its end."""

from __future__ import annotations

import textwrap

import pytest
from tests.support.polling import eventually
from tests.workflows.bench import Bench

from compozy.store import TaskExecution
from compozy.workflows.facade import Workflows
from compozy.workflows.read.loader import parse_definition


def brief(tasks: tuple[TaskExecution, ...]) -> list[tuple[str, str, str, int]]:
    return [(task.path, task.type, task.status, task.attempt) for task in tasks]


def start(workflows: Workflows, text: str) -> str:
    return workflows.start(parse_definition(textwrap.dedent(text), "flow.yaml"))


def test_tasks_are_recorded_with_their_attempts_and_errors(bench: Bench) -> None:
    bench.write("mod_luck.py", "def never():\n    raise ValueError('no luck')\ndef always():\n    return 1\n")
    workflows = bench.open()
    name = start(
        workflows,
        """
        id: steps
        tasks:
          - {id: one, type: aggregate, output: 1}
          - {id: two, type: basic, tool: "mod_luck:always"}
          - {id: three, type: basic, tool: "mod_luck:never", retry: {max_attempts: 2, initial_interval: 1ms}}
          - {id: four, type: aggregate, output: 1}
        """,
    )
    assert workflows.wait(name, 20).status == "failed"

    tasks = workflows.tasks(name)
    assert brief(tasks) == [
        ("one", "aggregate", "completed", 0), ("two", "basic", "completed", 1), ("three", "basic", "failed", 2),
    ]  # fmt: skip
    assert [task.error for task in tasks] == [None, None, "tool mod_luck:never failed: ValueError: no luck"]
    assert all(task.finished_at and task.started_at <= task.finished_at for task in tasks)
    assert len({task.started_at for task in tasks}) == 3


def test_a_pause_shows_how_far_an_execution_is_and_a_cancellation_ends_it(bench: Bench) -> None:
    workflows = bench.open()
    flow = """
        id: nap
        tasks:
          - {id: first, type: aggregate, output: 1}
          - {id: nap, type: sleep, duration: 24h}
        """
    name = start(workflows, flow)
    first = ("first", "aggregate", "completed", 0)
    eventually(lambda: brief(workflows.tasks(name)) == [first, ("nap", "sleep", "running", 0)])

    workflows.cancel(name)
    eventually(lambda: brief(workflows.tasks(name)) == [first, ("nap", "sleep", "canceled", 0)])


def test_termination_from_outside_ends_running_tasks(bench: Bench) -> None:
    workflows = bench.open()
    name = start(workflows, "{id: nap, tasks: [{id: nap, type: sleep, duration: 24h}]}")
    eventually(lambda: workflows.tasks(name))

    workflows.terminate(name)

    assert brief(workflows.tasks(name)) == [("nap", "sleep", "terminated", 0)]


def test_running_tool_shows_its_attempt_and_earlier_tasks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compozy.workflows.run.activities.SHOWN_AFTER_S", 0.01)
    bench.write(
        "mod_gate.py",
        """
        import pathlib, time
        tries = []
        def quick():
            return 1
        def slow(gate):
            tries.append(1)
            if len(tries) == 1:
                raise OSError
            while not pathlib.Path(gate).exists():
                time.sleep(0.005)
        """.replace("\n        ", "\n"),
    )
    workflows = bench.open()
    gate = bench.directory / "open"
    name = start(
        workflows,
        f"""
        id: gate
        tasks:
          - {{id: quick, type: basic, tool: "mod_gate:quick"}}
          - {{id: slow, type: basic, tool: "mod_gate:slow", with: {{gate: {gate}}}, retry: {{initial_interval: 1ms}}}}
        """,
    )
    quick = ("quick", "basic", "completed", 1)
    eventually(lambda: brief(workflows.tasks(name)) == [quick, ("slow", "basic", "running", 2)])

    gate.touch()
    assert workflows.wait(name, 20).status == "completed"
    assert brief(workflows.tasks(name)) == [quick, ("slow", "basic", "completed", 2)]
