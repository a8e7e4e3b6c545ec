"""The task type `aggregate`: compute a JSON value from templates."""

from __future__ import annotations

from compozy.base.record import dataclass
from compozy.base.shapes import need
from compozy.workflows.model.definition import Task
from compozy.workflows.model.scope import Scope
from compozy.workflows.tasks.engine import Engine
from compozy.workflows.tasks.kinds import Templates, task_shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate(Task):
    """Render `output`, any JSON with templates."""

    type = "aggregate"
    output: object


SHAPE = task_shape(
    Aggregate,
    "Computes `output` from templates; it has no side effect.",
    {"output": need(Templates(), "Any JSON with templates.", null=True)},
)


async def run(task: Aggregate, engine: Engine, scope: Scope) -> object:
    """Return the rendered output."""
    return await engine.evaluate(task.output, scope, f"{task.path}.output")
