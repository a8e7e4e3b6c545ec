"""An engine for unit tests of task types: it notes calls and pauses, and renders templates for real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from compozy.workflows.expressions.templates import TemplateProblem, evaluate, render
from compozy.workflows.model.scope import Scope
from compozy.workflows.tasks.engine import Block, Call, TaskError, run_concurrently


@dataclass
class FakeEngine:
    """Give each call the next of `answers`; an exception among them is raised."""

    answers: list[Any] = field(default_factory=list)
    signals: list[tuple[str, Any]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    async def call(self, call: Call) -> Any:
        self.calls.append(call)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def wait_signal(self, name: str, timeout_s: float | None = None) -> Any:
        found = next((signal for signal in self.signals if signal[0] == name), None)
        if found is None:
            raise TimeoutError
        self.signals.remove(found)
        return found[1]

    async def concurrently(self, blocks: Sequence[Block], most: int) -> list[Any]:
        return await run_concurrently(blocks, most)

    async def evaluate(self, value: Any, scope: Scope, path: str, *, expression: bool = False) -> Any:
        try:
            return (evaluate if expression else render)(value, scope.names(), path)
        except TemplateProblem as problem:
            raise TaskError(problem.reason, problem.path) from problem
