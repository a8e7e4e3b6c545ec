"""The static check and a run agree on which names exist at each point of a definition."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.workflows.fake_engine import FakeEngine

from compozy.errors import DefinitionError
from compozy.workflows.model.definition import Definition
from compozy.workflows.model.scope import Scope
from compozy.workflows.read.loader import definition_from_json
from compozy.workflows.tasks.aggregate import Aggregate
from compozy.workflows.tasks.engine import TaskError
from compozy.workflows.tasks.task_type import TYPES

IDS = st.sampled_from(["a", "b", "c-d", "e_1"])
NAMES = st.sampled_from(["n", "m"])
REFERENCES = st.one_of(
    IDS.map(lambda name: f"{{{{ tasks['{name}'].output }}}}"),
    NAMES.map(lambda name: f"{{{{ workflow.input.{name} }}}}"),
    NAMES.map(lambda name: f"{{{{ input.{name} }}}}"),
    st.just("no template"),
)
TASKS = st.lists(st.tuples(IDS, REFERENCES), min_size=1, max_size=4, unique_by=lambda task: task[0])
DECLARED = st.sets(NAMES).map(lambda names: dict.fromkeys(sorted(names), 1))


def performed(definition: Definition, given_input: dict[str, Any]) -> None:
    """Run the tasks and the outputs; raises TaskError for a name that does not exist."""

    async def perform() -> None:
        scope, engine = Scope({"input": given_input}), FakeEngine()
        for task in definition.tasks:
            scope.finish(task.id, await TYPES[task.type].run(task, engine, scope))
        await engine.evaluate(definition.outputs, scope, "outputs")

    asyncio.run(perform())


@settings(deadline=None)
@given(TASKS, REFERENCES, DECLARED)
def test_check_accepts_exactly_existing_names(
    tasks: list[tuple[str, str]], output: str, declared: dict[str, Any]
) -> None:
    plain = {
        "id": "w",
        "input": declared,
        "tasks": [{"id": name, "type": "aggregate", "output": text} for name, text in tasks],
        "outputs": {"x": output},
    }
    try:
        definition_from_json(plain, "f")
    except DefinitionError:
        accepted = False
    else:
        accepted = True
    blank = {**plain, "tasks": [{"id": name, "type": "aggregate", "output": None} for name, _ in tasks], "outputs": {}}
    unchecked = tuple(Aggregate(id=name, output=text) for name, text in tasks)
    definition = replace(definition_from_json(blank, "f"), tasks=unchecked, outputs={"x": output})
    try:
        performed(definition, declared)
    except TaskError:
        exists = False
    else:
        exists = True
    assert accepted == exists
