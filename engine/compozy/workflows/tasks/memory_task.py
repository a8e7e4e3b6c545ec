"""The task type `memory`: read and write the messages of a conversation memory."""

from __future__ import annotations

from compozy.base.record import dataclass
from compozy.base.shapes import Choice, integer, matching, may, need
from compozy.settings.values import NAME
from compozy.workflows.model.definition import Retry, Task
from compozy.workflows.model.scope import Scope
from compozy.workflows.tasks.engine import Call, CallError, Engine, TaskError
from compozy.workflows.tasks.kinds import PERIOD, RETRY, Templates, WithPlace, task_shape

USE_MEMORY = "compozy.memory"
DEFAULT_TIMEOUT_S = 30.0
WRITES = ("write", "append")
OPERATIONS = ("read", *WRITES, "delete", "clear", "flush", "stats", "health")
MEMORY = matching("the id of a memory: letters, digits, _, - and .", NAME, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTask(Task):
    """Perform `operation` on a key of `memory`.

    `key` is a text or a template, None for the key of the memory's setting; `payload` are messages to write, `limit`
    is how many of the newest are read; `timeout_s` bounds one attempt.
    """

    type = "memory"
    memory: str
    operation: str
    key: object = None
    payload: object = None
    limit: int | None = None
    retry: Retry = Retry()
    timeout_s: float = DEFAULT_TIMEOUT_S

    def __post_init__(self) -> None:
        """Check that the keys fit the operation; raises ValueError."""
        if (self.payload is not None) != (self.operation in WRITES):
            raise ValueError(f"`payload` is for the operations {' and '.join(WRITES)}, which need it")
        if self.limit is not None and self.operation != "read":
            raise ValueError("`limit` is for the operation read")


SHAPE = task_shape(
    MemoryTask,
    "Reads or writes messages of a conversation memory.",
    {
        "memory": need(WithPlace(MEMORY), "The id of a memory under memories."),
        "operation": need(Choice(OPERATIONS), "What to do."),
        "key": may(Templates(), "The key, a text; by default that of the memory's setting."),
        "payload": may(Templates(), "One message `{role, content}`, or a list of them."),
        "limit": may(integer(1, 1000), "How many of the newest messages to read; 1000 by default."),
        "timeout": may(PERIOD, "How long one attempt may take; 30s by default.", field="timeout_s"),
        "retry": may(RETRY, "How often and when an operation that failed is tried again."),
    },
    aliases={"memory_ref": "memory", "key_template": "key"},
)


async def run(task: MemoryTask, engine: Engine, scope: Scope) -> object:
    """Return the outcome of the operation; the names for the key of the setting are sent only where it is used."""
    names = {"workflow": dict(scope.about), "input": scope.about["input"]} if task.key is None else None
    argument = {
        "operation": task.operation,
        "memory": task.memory,
        "key": await engine.evaluate(task.key, scope, f"{task.path}.key"),
        "names": names,
        "payload": await engine.evaluate(task.payload, scope, f"{task.path}.payload"),
        "limit": task.limit,
    }
    try:
        return await engine.call(Call(USE_MEMORY, argument, task.timeout_s, task.retry))
    except CallError as error:
        raise TaskError(f"{task.operation} of memory {task.memory} failed: {error.reason}") from error
