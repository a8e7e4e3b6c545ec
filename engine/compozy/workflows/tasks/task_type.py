"""The task types by name; a further type is one module and one entry here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from compozy.base.record import dataclass
from compozy.base.shapes import Shape
from compozy.workflows.model.definition import Task
from compozy.workflows.model.scope import Scope
from compozy.workflows.tasks import aggregate, basic, knowledge, memory_task, sleep
from compozy.workflows.tasks.engine import Engine


@dataclass(frozen=True, slots=True)
class TaskType:
    """One type: the record of its tasks, their shape, which also is the static check, and how one runs."""

    record: type[Task]
    shape: Shape[Task]
    run: Callable[[Any, Engine, Scope], Awaitable[object]]


TYPES: dict[str, TaskType] = {
    kind.record.type: kind
    for kind in (
        TaskType(aggregate.Aggregate, aggregate.SHAPE, aggregate.run),
        TaskType(basic.Basic, basic.SHAPE, basic.run),
        TaskType(memory_task.MemoryTask, memory_task.SHAPE, memory_task.run),
        TaskType(knowledge.Knowledge, knowledge.SHAPE, knowledge.run),
        TaskType(sleep.Sleep, sleep.SHAPE, sleep.run),
    )
}
