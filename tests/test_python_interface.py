"""Compozy as a library: from `load` to a workflow that has run."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import compozy
import compozy.tools
from compozy.errors import DriverError, NotFoundError
from compozy.provisioning.lifecycle import Lifecycle
from compozy.provisioning.runtime import Runtime
from compozy.resolution.configuration import load_configuration

WORKFLOW = "id: order\ninput: {item: tea}\ntasks: [{id: a, type: aggregate, output: '{{ workflow.input.item }}'}]\n"
SETTINGS = {"redis.standalone.engine": "fakeredis"}


@pytest.fixture
def project(tmp_path: Path) -> str:
    (tmp_path / "compozy.yaml").write_text("mode: memory\nmemories: [{id: chat}]\n")
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "order.yaml").write_text(WORKFLOW + "outputs: {ordered: '{{ tasks.a.output }}'}\n")
    return str(tmp_path)


def test_loaded_configuration_runs_a_workflow_in_one_block(project: str) -> None:
    lifecycle = compozy.load(directory=project, settings=SETTINGS, environment={})
    with lifecycle.provision() as runtime:
        execution = runtime.workflows.run("order", {"item": "coffee"})
        assert (execution.status, execution.output) == ("completed", {"ordered": "coffee"})
        assert runtime.workflows is runtime.workflows
        runtime.memory("chat").append("ada", {"role": "user", "content": execution.output})
        assert [message.content for message in runtime.memory("chat").read("ada").messages] == [execution.output]
        with pytest.raises(NotFoundError, match='memory "chta" does not exist'):
            runtime.memory("chta")
    assert lifecycle.state == "validated"


def test_runtime_of_components_alone_has_no_workflows_and_memories(project: str) -> None:
    configuration = load_configuration(directory=project, environment={}, flags=SETTINGS)
    with Lifecycle(configuration).provision() as runtime:
        with pytest.raises(DriverError, match="has no workflows"):
            assert runtime.workflows
        with pytest.raises(DriverError, match="has no memories"):
            runtime.memory("chat")


def described(section: str) -> set[str]:
    """Return the names in the first column of the table of a section of the reference page."""
    page = (Path(__file__).parents[1] / "docs" / "reference" / "python-api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", page.partition(f"\n## {section}\n")[2].partition("\n## ")[0], re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)[(`]", row)}


def test_reference_page_describes_the_arguments_of_load() -> None:
    assert described("compozy.load") == set(inspect.signature(compozy.load).parameters)


@pytest.mark.parametrize(
    ("section", "public"), [("Lifecycle", Lifecycle), ("Runtime", Runtime), ("compozy.tools", compozy.tools)]
)
def test_reference_page_names_existing_objects(section: str, public: object) -> None:
    names = described(section)
    assert names
    assert [name for name in names if not hasattr(public, name)] == []
