"""The Jinja2 environment of templates: deterministic, JSON in and JSON out, bounded in steps and size.

What comes in: template texts and JSON values. What goes out: a compiled template. Chance, clocks and
filters that blow a text up are not there; loops, calls, powers, repetitions and concatenations are counted
and measured, so that a mistake in a template ends as an error instead of a worker that hangs.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from types import BuiltinMethodType, MethodType, ModuleType
from typing import Any

from jinja2 import StrictUndefined, nodes, pass_context
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from compozy.settings.suggest import closest
from compozy.workflows.budget import MAX_TEXT, Budget, bounded, current, spending, too_long
from compozy.workflows.growth import FILTERS as CHECKS
from compozy.workflows.growth import (
    check_comparison,
    check_concatenation,
    check_format,
    check_method,
    check_operator,
    check_text,
)
from compozy.workflows.plain import shape_problem

FILTERS = tuple(name for name in CHECKS if name != "tojson")
GLOBALS = ("dict", "namespace", "range")
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
    "in": lambda item, items: item in items,
    "notin": lambda item, items: item not in items,
}
_COMPARING_TESTS = (
    *("!=", "<", "<=", "==", ">", ">=", "eq", "equalto", "ge", "greaterthan", "gt", "in", "le", "lessthan", "lt"),
    "ne",
)
_TEXT_TESTS = ("lower", "upper")
# What Jinja2's compiler adds to the arguments of a call inside a loop or a block.
_CALL_VARIABLES = ("_loop_vars", "_block_vars")


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


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox, in which the keys of a mapping come before its methods and nothing gets too large."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look `attribute` up as a key first: `x.items` is the key "items" where there is one."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Let `format` make texts of a sane size only."""
        formatting = super().wrap_str_format(value)
        if formatting is None:
            return None

        def limited(*args: Any, **named: Any) -> str:
            if value.__name__ != "format":
                raise TypeError(f"the method {value.__name__} is not available in templates")
            check_format(current(), str(value.__self__), args, named)
            return bounded(formatting(*args, **named))  # type: ignore[no-any-return]

        return limited

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute a binary operation whose result stays small.

        Raises:
            OverflowError: the result would be too large.
        """
        check_operator(current(), operator, left, right)
        return current().keep(super().call_binop(context, operator, left, right))

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call what a template calls, as one step, with numbers of a sane size.

        Raises:
            OverflowError: too many steps, a number or a result that is too large.
            TypeError: templates cannot call it.
        """
        budget = current()
        budget.step()
        for value in (*args, *kwargs.values()):
            if isinstance(value, int) and abs(value) > MAX_TEXT:
                raise OverflowError(f"the number {value:.3g} is too large for a call")
        if isinstance(called, (BuiltinMethodType, MethodType)):
            given = {name: value for name, value in kwargs.items() if name not in _CALL_VARIABLES}
            _check_method(budget, called, args, given)
        return budget.keep(super().call(context, called, *args, **kwargs))


def _check_method(
    budget: Budget, method: BuiltinMethodType | MethodType, args: tuple[Any, ...], given: Mapping[str, Any]
) -> None:
    owner = method.__self__
    if isinstance(owner, LoopContext):
        budget.work(sum(map(budget.weight, args)))  # `changed` compares them with those of the turn before
    elif not isinstance(owner, ModuleType):
        check_method(budget, owner, method.__name__, args, given)


class _Bounds(NodeTransformer):
    """Put a counter into every loop and a check onto everything that makes a value."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        """Count the turns of a loop."""
        if node.recursive:
            raise TypeError("recursive loops are not available")
        self.generic_visit(node)
        node.iter = _filter(node.iter, "_counted")
        return node

    def visit_ScopedEvalContextModifier(self, node: nodes.ScopedEvalContextModifier) -> nodes.Node:
        """Refuse to escape by itself, which is not for texts that are no HTML."""
        raise TypeError("autoescape is not available")

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Const:
        """Let fixed text be written as any other value is, counted each time."""
        return nodes.Const(node.data, lineno=node.lineno)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
        """Measure the operands of a concatenation."""
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno, environment=node.environment), "_joined")

    def visit_Compare(self, node: nodes.Compare) -> nodes.Expr:
        """Measure what is compared; `a < b < c` is `a < b and b < c`."""
        self.generic_visit(node)
        left, compared = node.expr, list[nodes.Expr]()
        for operand in node.ops:
            compared.append(_filter(left, "_compared", nodes.Const(operand.op), operand.expr))
            left = operand.expr
        return reduce(lambda one, other: nodes.And(one, other, lineno=node.lineno), compared[1:], compared[0])

    def visit_List(self, node: nodes.List) -> nodes.Filter:
        """Measure a list."""
        self.generic_visit(node)
        return _filter(node, "_kept")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Filter:
        """Measure a mapping."""
        self.generic_visit(node)
        return _filter(node, "_kept")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:
        """Measure a tuple, unless it is what values are assigned to."""
        self.generic_visit(node)
        return _filter(node, "_kept") if node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:
        """Measure a slice, which is a copy."""
        self.generic_visit(node)
        return _filter(node, "_kept") if isinstance(node.arg, nodes.Slice) else node

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.AssignBlock:
        """Measure what a block wrote."""
        self.generic_visit(node)
        written = node.filter or _filter(None, "_kept", like=node)
        node.filter = _filter(written, "_kept") if node.filter else written
        return node


def _filter(value: Any, name: str, *args: nodes.Expr, like: nodes.Node | None = None) -> nodes.Filter:
    place = value if like is None else like
    found = nodes.Filter(value, name, list(args), [], None, None, lineno=place.lineno)
    if place.environment:
        found.set_environment(place.environment)
    return found


def _counted(items: Iterable[Any]) -> Iterator[Any]:
    budget = current()
    for item in items:
        budget.step()
        yield item


def _kept(value: Any) -> Any:
    current().call(value)
    return current().keep(value)


def _joined(parts: list[Any]) -> str:
    check_concatenation(current(), parts)
    text = "".join(map(str, parts))
    current().keep(text)
    return text


def _compared(left: Any, name: str, right: Any) -> bool:
    check_comparison(current(), name, left, right)
    return _COMPARISONS[name](left, right)


@pass_context
def _written(_context: Context, value: Any) -> str:
    """Return how a value reads inside a text; takes the context, so that nothing is written ahead of time."""
    budget = current()
    if not isinstance(value, str) and budget.weight(value) > MAX_TEXT:
        raise too_long()
    text = json_text(value)
    budget.emit(text)
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
    raw = Sandbox(undefined=Named)
    raw.filters["tojson"] = json_text_of_any
    env = Sandbox(undefined=Named, autoescape=False, keep_trailing_newline=True, finalize=_written, optimized=False)
    env.filters = {name: _checked(raw, name) for name in CHECKS}
    env.filters |= {"_counted": _counted, "_kept": _kept, "_joined": _joined, "_compared": _compared}
    tests: dict[str, Any] = env.tests
    tests |= {name: _checked_test(tests[name], check_comparison, name) for name in _COMPARING_TESTS}
    tests |= {name: _checked_test(tests[name], check_text) for name in _TEXT_TESTS}
    env.globals = {name: env.globals[name] for name in GLOBALS}
    return env


def _checked(raw: Sandbox, name: str) -> Callable[..., Any]:
    """Return a filter of `raw` that is checked before and after."""

    @pass_context
    def checked(context: Context, value: Any, *args: Any, **named: Any) -> Any:
        CHECKS[name](current(), value, *args, **named)
        return current().keep(raw.call_filter(name, value, args, named, context))

    return checked


def _checked_test(test: Callable[..., Any], check: Callable[..., None], *about: str) -> Callable[..., Any]:
    def checked(*values: Any) -> Any:
        check(current(), *about, *values)
        return test(*values)

    return checked


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
    is_single = single_expression(tree) is not None
    bounded_tree = _Bounds().visit(tree)
    if not is_single:
        return _text_program(env, bounded_tree)
    return _value_program(env, bounded_tree.body[0].nodes[0])


def _text_program(env: Sandbox, tree: nodes.Template) -> Callable[[Mapping[str, Any]], Any]:
    template = env.from_string(tree)

    def evaluate(scope: Mapping[str, Any]) -> Any:
        with spending():
            return bounded(template.render(scope))

    return evaluate


def _value_program(env: Sandbox, expression: nodes.Expr) -> Callable[[Mapping[str, Any]], Any]:
    program = nodes.Template([nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)], lineno=1)
    program.set_environment(env)
    template = env.from_string(program)

    def evaluate(scope: Mapping[str, Any]) -> Any:
        with spending():
            context = template.new_context(dict(scope))
            for _ in template.root_render_func(context):
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
