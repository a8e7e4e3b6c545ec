"""Compozy as a library: from `load` to a workflow that has run."""

from __future__ import annotations

from pathlib import Path

import pytest

import compozy
from compozy.configuration import load_configuration
from compozy.errors import DriverError
from compozy.lifecycle import Lifecycle

WORKFLOW = "id: order\ninput: {item: tea}\ntasks: [{id: a, type: aggregate, output: '{{ workflow.input.item }}'}]\n"
SETTINGS = {"redis.standalone.engine": "fakeredis"}


@pytest.fixture
def project(tmp_path: Path) -> str:
    (tmp_path / "compozy.yaml").write_text("mode: memory\n")
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "order.yaml").write_text(WORKFLOW + "outputs: {ordered: '{{ tasks.a.output }}'}\n")
    return str(tmp_path)


def test_loaded_configuration_runs_a_workflow_in_one_block(project: str) -> None:
    lifecycle = compozy.load(directory=project, settings=SETTINGS, environment={})
    with lifecycle.provision() as runtime:
        execution = runtime.workflows.run("order", {"item": "coffee"})
        assert (execution.status, execution.output) == ("completed", {"ordered": "coffee"})
        assert runtime.workflows is runtime.workflows
    assert lifecycle.state == "validated"


def test_runtime_of_components_alone_has_no_workflows(project: str) -> None:
    configuration = load_configuration(directory=project, environment={}, flags=SETTINGS)
    with Lifecycle(configuration).provision() as runtime, pytest.raises(DriverError, match="has no workflows"):
        assert runtime.workflows
