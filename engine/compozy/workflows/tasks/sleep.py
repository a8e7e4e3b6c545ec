"""The task type `sleep`: pause durably for a duration, which a template may compute."""

from __future__ import annotations

from compozy.base.record import dataclass
from compozy.base.shapes import need
from compozy.settings.values import parse_duration
from compozy.workflows.model.definition import MAX_DURATION_S, Task
from compozy.workflows.model.scope import Scope
from compozy.workflows.tasks.engine import Engine, TaskError
from compozy.workflows.tasks.kinds import PAUSE, OrTemplate, task_shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep(Task):
    """Pause for `duration`, a text such as `5m` or a template that gives one; the output is null."""

    type = "sleep"
    duration: str


SHAPE = task_shape(
    Sleep,
    "Pauses durably; the output is null.",
    {"duration": need(OrTemplate(PAUSE), "How long: a duration, or a template that gives one.")},
)


async def run(task: Sleep, engine: Engine, scope: Scope) -> None:
    """Pause; a template that gives no duration fails the task."""
    path = f"{task.path}.duration"
    text = str(await engine.evaluate(task.duration, scope, path))
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise TaskError(f"duration: {error}; {text[:100]!r} is not that", path) from error
    if seconds > MAX_DURATION_S:
        raise TaskError("duration must be at most ten years", path)
    await engine.sleep(seconds)
