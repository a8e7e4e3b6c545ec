"""Pass a long rendering from a workflow to an activity of the same process.

A workflow task must end within two seconds, so what takes longer is rendered by a local activity, whose result is
recorded: a replay does not repeat the work. A local activity runs beside its workflow, so values are handed over by
reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from compozy.base.record import dataclass
from compozy.workflows.expressions.bounds import LIMITS, Budget, TemplateLimits
from compozy.workflows.expressions.compiler import Names
from compozy.workflows.expressions.templates import evaluate, render


@dataclass(frozen=True, slots=True)
class Rendering:
    """A value to be rendered, or an expression to be evaluated, with its names and the limits of the execution."""

    value: Any
    scope: Names
    path: str
    limits: TemplateLimits = LIMITS
    expression: bool = False

    def render(self, budget: Budget) -> Any:
        """Return the rendered value; raises TemplateProblem."""
        return (evaluate if self.expression else render)(self.value, self.scope, self.path, budget)


_WAITING: dict[str, Rendering] = {}


@contextmanager
def handed_over(key: str, rendering: Rendering) -> Iterator[None]:
    """Make a rendering available to `rendering_of` within the block."""
    _WAITING[key] = rendering
    try:
        yield
    finally:
        # Also after a cancellation, or the values would stay in memory as long as the process.
        _WAITING.pop(key, None)


def rendering_of(key: str) -> Rendering:
    """Return the rendering that a workflow of this process handed over; raises KeyError when it does not wait."""
    return _WAITING[key]
