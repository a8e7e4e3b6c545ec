"""The operations of tasks on conversation memories, with JSON as input and output.

The activity may run twice; a write that was done is not done again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from temporalio import activity

from compozy.errors import CompozyError, DriverError
from compozy.memory.memories import Memories
from compozy.memory.memory import PAGE, Repeatable
from compozy.memory.message import MemoryRefusedError
from compozy.memory.operations import MemoryRequest, perform
from compozy.workflows.expressions.templates import TemplateProblem, render
from compozy.workflows.run.activities import beat, benign
from compozy.workflows.tasks.memory_task import USE_MEMORY

THREADS = 4
# Longer than a task is retried after its worker ended.
_REPEATABLE_MS = 7 * 24 * 3600 * 1000


class MemoryActivities:
    """The memory activities of one worker; `redact` removes secrets from a text."""

    def __init__(self, memories: Memories, redact: Callable[[str], str]) -> None:
        self._memories = memories
        self._redact = redact
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="compozy-memory-tasks")

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities, as a worker wants them."""
        return [self.use]

    def close(self) -> None:
        """Release the threads; idempotent."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @activity.defn(name=USE_MEMORY)
    async def use(self, call: dict[str, Any], _tasks: list[dict[str, Any]]) -> dict[str, Any]:
        """Perform the operation of a task."""
        info = activity.info()
        once = Repeatable(f"{info.workflow_run_id}/{info.activity_id}", _REPEATABLE_MS)
        aside = asyncio.create_task(beat())
        try:
            output = await asyncio.get_running_loop().run_in_executor(self._threads, self._perform, call, once)
        except CompozyError as error:
            text = error.message if error.hint is None else f"{error.message} (fix: {error.hint})"
            final = not isinstance(error, DriverError)
            raise benign(self._redact(text), error.id, info.attempt, final=final) from error
        finally:
            aside.cancel()
        return {"output": output, "attempt": info.attempt}

    def _perform(self, call: Mapping[str, Any], once: Repeatable) -> dict[str, Any]:
        memory = self._memories.memory(call["memory"])
        key = call["key"] if call["key"] is not None else _key_of_setting(memory.definition.key, call)
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise MemoryRefusedError("the key must be a text")
        request = MemoryRequest(str(key), call["payload"], call["limit"] or PAGE, once)
        return perform(memory, call["operation"], request)


def _key_of_setting(template: str, call: Mapping[str, Any]) -> object:
    """Return the key of a task that names none.

    Raises:
        MemoryRefusedError: the setting has no template, or it cannot be rendered.
    """
    if not template:
        hint = f"write key: in the task, or set the key of memory {call['memory']} under memories: in compozy.yaml"
        raise MemoryRefusedError("the task has no key", hint=hint)
    try:
        return render(template, call["names"])
    except TemplateProblem as problem:
        hint = "it knows workflow.id, workflow.version, workflow.execution_id and input"
        raise MemoryRefusedError(f"the key of memory {call['memory']}: {problem.reason}", hint=hint) from problem
