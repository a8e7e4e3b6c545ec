"""Render templates: Jinja2 expressions over JSON values.

What comes in: any JSON value whose texts may hold templates, and the names that they see. What goes out:
a JSON value. A text that is one expression keeps its value's type; a mixed one becomes text, in which
everything but text is written as JSON. Undefined names fail; nothing is read from outside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.meta import find_undeclared_variables

from compozy.settings.suggest import closest
from compozy.workflows.sandbox import FILTERS, GLOBALS, Sandbox, build_environment, compile_template

MAX_TEMPLATE = 100_000
WORKFLOW = ("id", "version", "execution_id", "input")

_DASHED_TASK = re.compile(r"\btasks\s*\.\s*([a-z0-9_]+(?:-[a-z0-9_]+)+)(?=\s*\.\s*output\b)")
_FAILURES = (
    TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError,
    NameError, RuntimeError, MemoryError, SyntaxError, AssertionError,
)  # fmt: skip


class TemplateProblem(Exception):
    """A template that cannot be read or rendered; `reason` names what, `path` where in the value."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


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
        _compiled(text)
        unknown = find_undeclared_variables(tree) - {"workflow", "tasks", *GLOBALS}
        chains = list(_chains(tree))
    problems = [f'"{name}" is not defined; templates know workflow and tasks' for name in sorted(unknown)]
    for root, *members in chains:
        problems.extend(_member_problems(root, members))
    inputs = (chain[2] for chain in chains if chain[:2] == ("workflow", "input") and len(chain) > 2)
    tasks = (chain[1] for chain in chains if chain[0] == "tasks" and len(chain) > 1)
    return References(_unique(inputs), _unique(tasks), _unique(problems))


def render(value: Any, scope: Mapping[str, Any], path: str = "") -> Any:
    """Return `value` with every template in it replaced; `path` names the value in a problem.

    >>> scope = {"workflow": {"input": {"n": 1}}}
    >>> render({"next": "{{ workflow.input.n + 1 }}", "text": "n={{ workflow.input.n }}"}, scope)
    {'next': 2, 'text': 'n=1'}

    Raises:
        TemplateProblem: a name is undefined, or the result is too large or not JSON.
    """
    if isinstance(value, Mapping):
        return {key: render(item, scope, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [render(item, scope, f"{path}.{index}") for index, item in enumerate(value)]
    if not isinstance(value, str) or "{" not in value:
        return value
    with _translated(path):
        return _compiled(value)(scope)


@lru_cache(maxsize=1)
def _environment() -> Sandbox:
    return build_environment()


@lru_cache(maxsize=1024)
def _compiled(text: str) -> Callable[[Mapping[str, Any]], Any]:
    return compile_template(_environment(), _parse(text))


def _parse(text: str) -> nodes.Template:
    if len(text) > MAX_TEMPLATE:
        raise ValueError(f"the template is longer than {MAX_TEMPLATE} characters")
    env = _environment()
    alone = text.strip()
    if alone.startswith("{{") and alone.endswith("}}"):
        text = alone
    return env.parse(_quote_dashes(env, text) if _DASHED_TASK.search(text) else text)


def _quote_dashes(env: Sandbox, text: str) -> str:
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
        raise TemplateProblem(f"template: {_advised(error.message or 'not readable')}{line}", path) from error
    except RecursionError as error:
        raise TemplateProblem("template: nested too deeply", path) from error
    except _FAILURES as error:
        raise TemplateProblem(f"template: {error or type(error).__name__}", path) from error


def _advised(message: str) -> str:
    found = re.match(r"No filter named '(\w+)'", message)
    meant = closest(found[1], (*FILTERS, "tojson")) if found else None
    return f'{message} Did you mean "{meant}"?' if meant else message


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
