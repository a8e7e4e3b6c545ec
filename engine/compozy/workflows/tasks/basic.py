"""The task type `basic`: call a Python function of the project, a tool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from compozy.base.record import dataclass
from compozy.base.shapes import Choice, matching, may, need
from compozy.workflows.model.definition import Retry, Task
from compozy.workflows.model.scope import Scope
from compozy.workflows.model.tool_secrets import split_secrets
from compozy.workflows.tasks.engine import Call, CallError, Engine, TaskError
from compozy.workflows.tasks.kinds import PERIOD, RETRY, Templates, WithPlace, task_shape

CALL_TOOL = "compozy.tool"
DEFAULT_TIMEOUT_S = 60.0
THREAD = "thread"
ISOLATIONS = (THREAD, "process")
TOOL = matching("module:function, such as package.module:function", r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic(Task):
    """Call `tool` (module:function) with `arguments`.

    `timeout_s` bounds one call, `isolation` is one of `ISOLATIONS`.
    """

    type = "basic"
    tool: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    retry: Retry = Retry()
    timeout_s: float = DEFAULT_TIMEOUT_S
    isolation: str = THREAD


SHAPE = task_shape(
    Basic,
    "Calls a Python function of the project.",
    {
        "tool": need(WithPlace(TOOL), "The function, as module:function."),
        "with": may(Templates(mapping=True, secrets=True), "Its keyword arguments.", field="arguments"),
        "timeout": may(PERIOD, "How long one call may take; 60s by default.", field="timeout_s"),
        "retry": may(RETRY, "How often and when a call that failed is tried again."),
        "isolation": may(Choice(ISOLATIONS), "`process` gives each call a process of its own."),
    },
)


async def run(task: Basic, engine: Engine, scope: Scope) -> object:
    """Return what the tool returns; secrets are filled in where it is called."""
    template, secrets = split_secrets(task.arguments)
    argument = {
        "tool": task.tool,
        "arguments": await engine.evaluate(template, scope, f"{task.path}.with"),
        "task": task.id,
        "secrets": secrets,
        "isolation": task.isolation,
    }
    try:
        return await engine.call(Call(CALL_TOOL, argument, task.timeout_s, task.retry))
    except CallError as error:
        raise TaskError(f"tool {task.tool} failed: {error.reason}") from error
