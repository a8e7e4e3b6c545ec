"""Render templates: Jinja2 expressions over JSON values.

Takes any JSON value whose texts may hold templates, and the names that they see; returns a JSON value. A text that is
one expression keeps its value's type; a mixed one becomes text, in which everything but text is written as JSON.
Undefined names fail; nothing is read from outside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import Environment, TemplateError, TemplateSyntaxError, nodes

from compozy.workflows.budget import Budget, BudgetError
from compozy.workflows.evaluate import Names, check_tree, evaluate, target_names, write
from compozy.workflows.filters import FUNCTIONS
from compozy.workflows.model.plain import why_not_plain
from compozy.workflows.read.check import TEMPLATE_MARKS

MAX_TEMPLATE = 100_000
WORKFLOW = ("id", "version", "execution_id", "input")

_MAX_BRACKETS = 20
_TEXT_OF_A_STEP = 64
_STEPS_OF_CODE = 6  # for one character, which takes the parser some microseconds
_CODE = re.compile(r"""(?s)\{[{%](?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?![}%]\}).)*""")
_DASHED_TASK = re.compile(r"\btasks\s*\.\s*([a-z0-9_]+(?:-[a-z0-9_]+)+)(?=\s*\.\s*output\b)")
_FAILURES = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError)


class TemplateProblem(Exception):
    """A template that cannot be read or rendered; `reason` names what, `path` where in the value."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


class WorkExceededError(TemplateProblem):
    """A rendering that needs more work than its budget has."""


@dataclass(frozen=True, slots=True)
class References:
    """The names that a template uses: inputs, tasks, and what is wrong with the others."""

    inputs: tuple[str, ...]
    tasks: tuple[str, ...]
    problems: tuple[str, ...]


def references(text: str) -> References:
    """Return what the template names, without rendering it.

    >>> references("{{ tasks.greet.output }} for {{ workflow.input.name }}")
    References(inputs=('name',), tasks=('greet',), problems=())

    Raises:
        TemplateProblem: the text is not a template.
    """
    with _translated():
        tree = _parse(text)
    unknown = dict.fromkeys(_unbound(tree, frozenset(("workflow", "tasks", *FUNCTIONS))))
    problems = [_unknown_name(name) for name in sorted(unknown)]
    chains = list(_chains(tree))
    for root, *members in chains:
        problems.extend(_member_problems(root, members))
    inputs = (chain[2] for chain in chains if chain[:2] == ("workflow", "input") and len(chain) > 2)
    tasks = (chain[1] for chain in chains if chain[0] == "tasks" and len(chain) > 1)
    return References(_unique(inputs), _unique(tasks), _unique(problems))


def render(value: Any, scope: Names, path: str = "", budget: Budget | None = None) -> Any:
    """Return `value` with every template in it replaced, all of them from one budget; `path` names it in a problem.

    >>> scope = {"workflow": {"input": {"n": 1}}}
    >>> render({"next": "{{ workflow.input.n + 1 }}", "text": "n={{ workflow.input.n }}"}, scope)
    {'next': 2, 'text': 'n=1'}

    Raises:
        WorkExceededError: it takes more work than the budget has.
        TemplateProblem: a name is undefined, or the result is too large or not JSON.
    """
    spending = budget or Budget()
    rendered = _rendered(value, scope, path, spending)
    with _translated(path):
        spending.weigh(rendered)
    reason = why_not_plain(rendered)
    if reason is not None:
        raise TemplateProblem(f"the value cannot be kept: {reason}", path)
    return rendered


def is_template(text: str) -> bool:
    """Return True if the text holds an expression, a statement or a comment."""
    return any(mark in text for mark in TEMPLATE_MARKS)


def _rendered(value: Any, scope: Names, path: str, budget: Budget) -> Any:
    if isinstance(value, Mapping):
        return {key: _rendered(item, scope, f"{path}.{key}", budget) for key, item in value.items()}
    if isinstance(value, list):
        return [_rendered(item, scope, f"{path}.{index}", budget) for index, item in enumerate(value)]
    if not isinstance(value, str) or not is_template(value):
        return value
    with _translated(path):
        budget.spend(_parsing_work(value))
        return _compiled(value)(scope, budget)


@lru_cache(maxsize=1024)
def _parsing_work(text: str) -> int:
    """Return the work of parsing a template; it counts each time, so that a replay with parsed ones ends alike."""
    return len(text) // _TEXT_OF_A_STEP + _STEPS_OF_CODE * sum(len(code) for code in _CODE.findall(text))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(autoescape=False, keep_trailing_newline=True, optimized=False)  # noqa: S701 - no HTML


@lru_cache(maxsize=1024)
def _compiled(text: str) -> Callable[[Names, Budget], Any]:
    tree = _parse(text)
    alone = _single_expression(tree)
    if alone is None:
        return lambda names, budget: write(tree.body, names, budget)
    return lambda names, budget: evaluate(alone, names, budget)


def _single_expression(tree: nodes.Template) -> nodes.Node | None:
    parts = tree.body[0].nodes if len(tree.body) == 1 and isinstance(tree.body[0], nodes.Output) else []
    return parts[0] if len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData) else None


def _parse(text: str) -> nodes.Template:
    if len(text) > MAX_TEMPLATE:
        raise ValueError(f"the template is longer than {MAX_TEMPLATE} characters")
    env = _environment()
    alone = text.strip()
    if alone.startswith("{{") and alone.endswith("}}"):
        text = alone
    _check_brackets(env, text)
    tree = env.parse(_quote_dashes(env, text) if _DASHED_TASK.search(text) else text)
    check_tree(tree)
    return tree


def _check_brackets(env: Environment, text: str) -> None:
    """Refuse what would exhaust the parser's stack, at the same depth on every stack."""
    depth = 0
    for _, kind, piece in env.lex(text):
        if kind == "operator":
            depth += (piece in "([{") - (piece in ")]}")
        if depth > _MAX_BRACKETS:
            raise RecursionError


def _unknown_name(name: str) -> str:
    if name == "secrets":
        return '"secrets" is there for a whole argument of a tool only: with: {key: "{{ secrets.NAME }}"}'
    return f'"{name}" is not defined; templates know workflow and tasks'


def _unbound(node: nodes.Node, bound: frozenset[str]) -> Iterator[str]:
    """Yield the names that no enclosing loop binds."""
    if isinstance(node, nodes.Name):
        if node.name not in bound:
            yield node.name
        return
    if isinstance(node, nodes.For):
        yield from _unbound(node.iter, bound)
        bound |= {"loop", *target_names(node.target)}
    for child in node.iter_child_nodes(exclude=("iter",) if isinstance(node, nodes.For) else None):
        yield from _unbound(child, bound)


def _quote_dashes(env: Environment, text: str) -> str:
    """Write `tasks.a-b.output` as `tasks['a-b'].output`, in which the dash is no minus."""
    parts: list[str] = []
    code: list[str] = []
    for _, kind, piece in env.lex(text):
        if kind in ("variable_begin", "block_begin"):
            parts.append("".join(code))
            code = [piece]
        elif kind in ("variable_end", "block_end"):
            parts.append(_DASHED_TASK.sub(r"tasks['\1']", "".join(code)) + piece)
            code = []
        else:
            code.append(piece)
    return "".join(parts) + "".join(code)


@contextmanager
def _translated(path: str = "") -> Iterator[None]:
    try:
        yield
    except TemplateSyntaxError as error:
        line = f" (line {error.lineno} of the template)" if error.lineno > 1 else ""
        raise TemplateProblem(f"template: {error.message or 'not readable'}{line}", path) from error
    except RecursionError as error:
        raise TemplateProblem("template: nested too deeply", path) from error
    except BudgetError as error:
        raise WorkExceededError(f"template: {error}", path) from error
    except _FAILURES as error:
        # A KeyError would show the representation of its message.
        raise TemplateProblem(f"template: {error.args[0] if error.args else type(error).__name__}", path) from error


def _chains(tree: nodes.Template) -> Iterator[tuple[str, ...]]:
    """Yield each longest `root.member.member` whose root is `workflow` or `tasks`."""
    inner: set[int] = set()
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        names = _chain(node)
        if id(node) not in inner and names is not None:
            yield names
        inner.update(_holders(node))


def _holders(node: nodes.Node) -> Iterator[int]:
    while isinstance(node, (nodes.Getattr, nodes.Getitem)):
        node = node.node
        yield id(node)


def _chain(node: nodes.Node) -> tuple[str, ...] | None:
    members: list[str] = []
    while not isinstance(node, nodes.Name):
        member = _member(node)
        if member is None or not isinstance(node, (nodes.Getattr, nodes.Getitem)):
            return None
        members.append(member)
        node = node.node
    return (node.name, *reversed(members)) if node.name in ("workflow", "tasks") else None


def _member(node: nodes.Node) -> str | None:
    if isinstance(node, nodes.Getattr):
        return node.attr
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return str(node.arg.value)
    return None


def _member_problems(root: str, members: list[str]) -> Iterator[str]:
    known, name = (WORKFLOW, members[:1]) if root == "workflow" else (("output",), members[1:2])
    if name and name[0] not in known:
        holder = root if root == "workflow" else f"tasks.{members[0]}"
        yield f'"{holder}.{name[0]}" does not exist; {holder} has: {", ".join(known)}'


def _unique(names: Iterator[str] | list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
