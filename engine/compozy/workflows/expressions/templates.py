"""Render templates and evaluate expressions over JSON values.

A text that is one expression keeps its value's type; a mixed one becomes text, in which everything but text is written
as JSON. Undefined names fail; nothing is read from outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from compozy.base.record import dataclass
from compozy.workflows.expressions import TEMPLATE_MARKS
from compozy.workflows.expressions.bounds import Budget, BudgetError
from compozy.workflows.expressions.compiler import Names, TemplateFault, compile_text
from compozy.workflows.expressions.syntax import EXPRESSION, TEMPLATE, parsing_steps
from compozy.workflows.model.plain import why_not_plain

_ROOTS = {"workflow": ("id", "version", "execution_id", "input"), "tasks": ("output",), "input": ()}


class TemplateProblem(Exception):
    """A template that cannot be compiled or rendered; `reason` names what, `path` where in the value."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


class WorkExceededError(TemplateProblem):
    """A rendering that needs more steps than its budget has."""


@dataclass(frozen=True, slots=True)
class References:
    """The names that a template uses: inputs, tasks, and what is wrong with the others."""

    inputs: tuple[str, ...]
    tasks: tuple[str, ...]
    faults: tuple[TemplateFault, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """The messages of the faults."""
        return tuple(fault.message for fault in self.faults)


def references(text: str, *, expression: bool = False) -> References:
    """Return what a template, or an expression without braces, names, without running it.

    >>> references("{{ tasks.greet.output }} for {{ workflow.input.name }}")
    References(inputs=('name',), tasks=('greet',), faults=())
    """
    program = compile_text(text, EXPRESSION if expression else TEMPLATE)
    inputs = (name[1:] if name[0] == "input" else name[2:] for name in program.names if "input" in name[:2])
    tasks = (name[1] for name in program.names if name[0] == "tasks" and len(name) > 1)
    unknown = (TemplateFault("template.name", reason) for reason in map(_unknown, program.names) if reason)
    faults = tuple(dict.fromkeys((*program.faults, *unknown)))
    return References(_unique(name[0] for name in inputs if name), _unique(tasks), faults)


def _unknown(name: tuple[str, ...]) -> str:
    root, at = name[0], 2 if name[0] == "tasks" else 1
    if root == "secrets":
        return '"secrets" is there for a whole argument of a tool only: with: {key: "{{ secrets.NAME }}"}'
    if root not in _ROOTS:
        return f'"{root}" is not defined; templates know {", ".join(_ROOTS)}'
    known = _ROOTS[root]
    if not known or len(name) <= at or name[at] in known:
        return ""
    holder = ".".join(name[:at])
    return f'"{holder}.{name[at]}" does not exist; {holder} has: {", ".join(known)}'


def _unique(names: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def render(value: object, scope: Names, path: str = "", budget: Budget | None = None) -> object:
    """Return `value` with every template in it replaced, all of them from one budget; `path` names it in a problem.

    >>> scope = {"workflow": {"input": {"n": 1}}}
    >>> render({"next": "{{ workflow.input.n + 1 }}", "text": "n={{ workflow.input.n }}"}, scope)
    {'next': 2, 'text': 'n=1'}

    Raises:
        WorkExceededError: it takes more steps than the budget has.
        TemplateProblem: a name is undefined, or the result is too large or not JSON.
    """
    budget = budget or Budget()
    rendered = _rendered(value, scope, path, budget)
    with _translated(path):
        # Parts that are shared in memory are written out in JSON, so that their size counts each time.
        budget.weigh(rendered)
    reason = why_not_plain(rendered)
    if reason is not None:
        raise TemplateProblem(f"the value cannot be kept: {reason}", path)
    return rendered


def evaluate(text: str, scope: Names, path: str = "", budget: Budget | None = None) -> object:
    """Return the value of an expression without braces; raises as `render` does.

    >>> evaluate("input.n > 3 and tasks.check.output", {"input": {"n": 4}, "tasks": {"check": {"output": True}}})
    True
    """
    return _run(EXPRESSION, text, scope, path, budget or Budget())


def is_template(text: str) -> bool:
    """Return True if the text holds an expression, a statement or a comment."""
    return any(mark in text for mark in TEMPLATE_MARKS)


def _rendered(value: object, scope: Names, path: str, budget: Budget) -> object:
    if isinstance(value, Mapping):
        return {key: _rendered(item, scope, f"{path}.{key}", budget) for key, item in value.items()}
    if isinstance(value, list):
        return [_rendered(item, scope, f"{path}.{index}", budget) for index, item in enumerate(value)]
    if not isinstance(value, str) or not is_template(value):
        return value
    return _run(TEMPLATE, value, scope, path, budget)


def _run(mode: str, text: str, scope: Names, path: str, budget: Budget) -> object:
    with _translated(path, mode):
        # Also when the program is kept from before: steps must not depend on what this process has compiled.
        budget.spend(parsing_steps(text, mode))
        program = compile_text(text, mode, budget.limits)
        if program.faults:
            raise TemplateProblem("; ".join(fault.message for fault in program.faults), path)
        return program.run(scope, budget)


@contextmanager
def _translated(path: str, mode: str = TEMPLATE) -> Iterator[None]:
    try:
        yield
    except RecursionError as error:
        raise TemplateProblem(f"{mode}: nested too deeply", path) from error
    except BudgetError as error:
        raise WorkExceededError(f"{mode}: {error}", path) from error
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise TemplateProblem(f"{mode}: {error}", path) from error
