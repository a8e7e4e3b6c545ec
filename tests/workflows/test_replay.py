"""The interpreter is deterministic: recorded histories replay, those of earlier versions too.

A file in `histories/` is the history of one execution as `WorkflowHistory.to_json` writes it. A change
that breaks one would break running executions of users: keep the old path behind `workflow.patched`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from tests.workflows.bench import Bench

from compozy.drivers.protocol import LoopThread
from compozy.workflows.model.definition import load_definition
from compozy.workflows.run.interpreter import Interpreter

EXAMPLES = Path(__file__).parents[2] / "examples"
HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


def replay(loop: LoopThread, history: WorkflowHistory) -> None:
    """Replay a history; raises when the interpreter does something else than it says."""
    replayer = Replayer(workflows=[Interpreter], workflow_runner=UnsandboxedWorkflowRunner())
    loop.call(replayer.replay_workflow(history), 30)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_recorded_histories_replay(loop: LoopThread, path: Path) -> None:
    """What an earlier version began, this version continues in the same way."""
    replay(loop, WorkflowHistory.from_json(path.stem, path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["hello-world.yaml", "tool/shout.yaml"])
def test_examples_replay(bench: Bench, name: str) -> None:
    """A history of today replays today."""
    path = EXAMPLES / name
    ended = bench.open(directory=str(path.parent)).run(load_definition(path))

    replay(bench.loop, bench.call(bench.client.get_workflow_handle(ended.id).fetch_history()))
