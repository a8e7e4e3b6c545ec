"""The Jinja2 environment of templates: deterministic, JSON in and JSON out, bounded in steps and size.

What comes in: template texts and JSON values. What goes out: a compiled template. Chance, clocks and
filters that blow a text up are not there; loops, calls, powers, repetitions and concatenations are counted
and measured, so that a mistake in a template ends as an error instead of a worker that hangs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jinja2 import StrictUndefined, nodes, pass_context
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from compozy.settings.suggest import closest
from compozy.workflows.plain import shape_problem

MAX_TEXT = 1_000_000
MAX_STEPS = 100_000
MAX_BITS = 4096
FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "groupby"),
    *("int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr"),
    *("replace", "round", "select", "selectattr", "sort", "string", "sum", "title", "trim", "truncate"),
    *("unique", "upper", "urlencode", "wordcount"),
)
GLOBALS = ("dict", "namespace", "range")
_BUDGET = "_steps"


class Named(StrictUndefined):
    """An undefined value whose message names what is there instead."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        name, holder = self._undefined_name, self._undefined_obj
        if self._undefined_hint or not isinstance(name, str) or not isinstance(holder, Mapping):
            return super()._undefined_message
        meant = closest(name, [key for key in holder if isinstance(key, str)])
        advice = f'did you mean "{meant}"?' if meant else f"there are: {', '.join(map(str, holder)) or 'none'}"
        return f'"{name}" is undefined; {advice}'


class Steps:
    """How many steps one rendering may still take."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def take(self) -> None:
        """Count one step.

        Raises:
            OverflowError: the template takes more than `MAX_STEPS`.
        """
        self.left -= 1
        if self.left < 0:
            raise OverflowError(f"the template takes more than {MAX_STEPS} steps")


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox, in which the keys of a mapping come before its methods."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look `attribute` up as a key first: `x.items` is the key "items" where there is one."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute a binary operation whose result stays small.

        Raises:
            OverflowError: the result would be too large.
        """
        if operator == "%" and isinstance(left, str):
            raise TypeError("% does not format text here; write the values into the template")
        if _weight(operator, left, right) > MAX_TEXT:
            raise OverflowError(f"the result of {operator} is too large")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call what a template calls, as one step, with numbers of a sane size.

        Raises:
            OverflowError: too many steps, or a number that is too large.
        """
        context[_BUDGET].take()
        for value in (*args, *kwargs.values()):
            if isinstance(value, int) and abs(value) > MAX_TEXT:
                raise OverflowError(f"the number {value:.3g} is too large for a call")
        return super().call(context, called, *args, **kwargs)


def _weight(operator: str, left: Any, right: Any) -> float:
    if isinstance(left, int) and isinstance(right, int):
        return _bits(operator, left, right) * MAX_TEXT / MAX_BITS
    if operator == "**":
        return 0
    sizes = [len(value) for value in (left, right) if isinstance(value, (str, list, tuple))]
    times = [abs(value) for value in (left, right) if isinstance(value, int)]
    return sum(sizes) * math.prod(times)


def _bits(operator: str, left: int, right: int) -> float:
    if operator == "**":
        return abs(left).bit_length() * abs(right)
    return abs(left).bit_length() + abs(right).bit_length()


class _Bounds(NodeTransformer):
    """Put a counter into every loop and a measure onto every concatenation."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        """Count the turns of a loop."""
        if node.recursive:
            raise TypeError("recursive loops are not available")
        self.generic_visit(node)
        node.iter = _filter(node.iter, "_counted")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
        """Measure a concatenation."""
        self.generic_visit(node)
        return _filter(node, "_measured")


def _filter(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=node.environment)


@pass_context
def _counted(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    steps: Steps = context[_BUDGET]
    for item in items:
        steps.take()
        yield item


def _measured(text: Any) -> Any:
    return bounded(text)


def bounded(text: Any) -> Any:
    """Return `text` when it is of a sane size.

    Raises:
        OverflowError: it has more than `MAX_TEXT` characters.
    """
    if len(text) > MAX_TEXT:
        raise OverflowError(f"the text is longer than {MAX_TEXT} characters")
    return text


def json_text(value: Any) -> str:
    """Return how a value reads inside a text: text as it is, everything else as JSON.

    Raises:
        TypeError: the value is not JSON.
    """
    if isinstance(value, Undefined):
        return str(value)
    return value if isinstance(value, str) else json_text_of_any(value)


def as_json(value: Any) -> Any:
    """Return `value` as plain dicts, lists and scalars; other iterators become lists.

    Raises:
        TypeError: something in it is not JSON.
        jinja2.UndefinedError: it is undefined.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {_key(key): as_json(item) for key, item in value.items()}
    if isinstance(value, Undefined):
        return str(value)
    if isinstance(value, Iterable):
        return [as_json(item) for item in value]
    raise TypeError(f"the value is a {type(value).__name__}, which is not JSON")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the key {key!r} is not text, which JSON needs")
    return str(key)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise TypeError(f"the value is {value}, which is not JSON")
    return value


def build_environment() -> Sandbox:
    """Build the environment that every template is compiled with."""
    env = Sandbox(undefined=Named, autoescape=False, keep_trailing_newline=True, finalize=json_text, optimized=False)
    env.filters = {name: env.filters[name] for name in FILTERS}
    env.filters |= {"tojson": json_text_of_any, "_counted": _counted, "_measured": _measured}
    env.globals = {name: env.globals[name] for name in GLOBALS}
    return env


def json_text_of_any(value: Any) -> str:
    """Return `value` as JSON, texts in quotes.

    Raises:
        TypeError: the value is not JSON.
    """
    return json.dumps(as_json(_shapely(value)), ensure_ascii=False)


def _shapely(value: Any) -> Any:
    problem = shape_problem(value)
    if problem is not None:
        raise OverflowError(problem)
    return value


def compile_template(env: Sandbox, tree: nodes.Template) -> Callable[[Mapping[str, Any]], Any]:
    """Compile a parsed template; the result takes the names and returns a JSON value.

    Raises:
        jinja2.TemplateError: a filter or test does not exist.
    """
    bounded_tree = _Bounds().visit(tree)
    single = single_expression(bounded_tree)
    if single is None:
        template = env.from_string(bounded_tree)
        return lambda scope: bounded(template.render(scope, **{_BUDGET: Steps()}))
    result = nodes.Assign(nodes.Name("result", "store"), single, lineno=1)
    program = nodes.Template([result], lineno=1)
    program.set_environment(env)
    expression = env.from_string(program)

    def evaluate(scope: Mapping[str, Any]) -> Any:
        context = expression.new_context({**scope, _BUDGET: Steps()})
        for _ in expression.root_render_func(context):
            pass
        return as_json(_shapely(context.vars["result"]))

    return evaluate


def single_expression(tree: nodes.Template) -> nodes.Expr | None:
    """Return the expression of a template that is nothing but `{{ expression }}`."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return None
    parts = tree.body[0].nodes
    if len(parts) != 1 or isinstance(parts[0], nodes.TemplateData):
        return None
    return parts[0]
