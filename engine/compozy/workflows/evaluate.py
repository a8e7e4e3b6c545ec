"""Check and evaluate the syntax trees of templates: an allow-list, interpreted node by node.

A tree has passed `check_tree` before it is evaluated. Nothing of Python is reachable: members are keys of mappings,
calls are those of `filters.py`, operators take JSON values. Each node that is evaluated counts as a step.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import signature
from typing import Any

from jinja2 import nodes

from compozy.base.suggest import closest
from compozy.workflows.budget import MAX_BITS, MAX_TEXT, Budget, checked_number
from compozy.workflows.filters import FILTERS, FUNCTIONS, is_number, items_of, kind, text_of

MAX_DEPTH = 50
TESTS = ("defined", "none", "undefined")
Names = Mapping[str, Any]

_ARITHMETIC: Mapping[type[nodes.Node], tuple[str, Callable[[Any, Any], Any]]] = {
    nodes.Add: ("+", operator.add), nodes.Sub: ("-", operator.sub), nodes.Mul: ("*", operator.mul),
    nodes.Div: ("/", operator.truediv), nodes.FloorDiv: ("//", operator.floordiv), nodes.Mod: ("%", operator.mod),
    nodes.Pow: ("**", operator.pow),
}  # fmt: skip
_ORDER = {"lt": operator.lt, "lteq": operator.le, "gt": operator.gt, "gteq": operator.ge}
_REPLACEMENTS: Mapping[type[nodes.Node], tuple[str, str]] = {
    nodes.Assign: ("{% set %}", "give the value a task of its own"),
    nodes.AssignBlock: ("{% set %}", "give the value a task of its own"),
    nodes.Macro: ("{% macro %}", "repeat the text, or use a tool"),
    nodes.CallBlock: ("{% call %}", "repeat the text, or use a tool"),
    nodes.FilterBlock: ("{% filter %}", "use the filter in an expression"),
    nodes.Slice: ("a slice", "use first, last or truncate, or a tool"),
}


class Undefined:
    """What a name or a member that does not exist evaluates to; using it raises LookupError with `reason()`."""

    def __init__(self, reason: Callable[[], str]) -> None:
        self.reason = reason


def check_tree(tree: nodes.Template) -> None:
    """Raise TypeError with the construct and its replacement when the tree has more than the allow-list."""
    level: list[nodes.Node] = [tree]
    for _ in range(MAX_DEPTH):
        for node in level:
            _check(node)
        level = [child for node in level for child in node.iter_child_nodes()]
        if not level:
            return
    raise RecursionError


def _check(node: nodes.Node) -> None:
    if isinstance(node, nodes.Call):
        _check_call(node)
    elif isinstance(node, nodes.Filter):
        _check_filter(node)
    elif isinstance(node, nodes.Test) and node.name not in TESTS:
        raise TypeError(f'the test "{node.name}" is not available; compare with ==, <, > or in')
    elif isinstance(node, nodes.For):
        target_names(node.target)
        if node.recursive:
            raise TypeError("recursive loops are not available in templates; use a tool")
    elif type(node) not in _ALLOWED:
        name, advice = _REPLACEMENTS.get(type(node), (f"the construct {type(node).__name__}", "use a tool"))
        raise TypeError(f"{name} is not available in templates; {advice}")
    elif isinstance(node, nodes.Const):
        if is_number(node.value):
            checked_number(node.value)
        elif not isinstance(node.value, (str, bool, type(None))):
            raise TypeError(f"a {type(node.value).__name__} is not available in templates")


def _check_call(node: nodes.Call) -> None:
    if isinstance(node.node, nodes.Name) and node.node.name in FUNCTIONS:
        _check_arguments(node.node.name, FUNCTIONS[node.node.name], node)
        return
    if isinstance(node.node, nodes.Getattr):
        name = node.node.attr
        advice = f"use the filter: | {name}" if name in FILTERS else "use a filter or a tool"
        raise TypeError(f"the method {name}() is not available in templates; {advice}")
    name = f'the function "{node.node.name}"' if isinstance(node.node, nodes.Name) else "such a call"
    raise TypeError(f"{name} is not available in templates; there is: {', '.join(FUNCTIONS)}")


def _check_filter(node: nodes.Filter) -> None:
    if node.name == "default":
        _check_arguments("default", lambda budget, value, default: None, node)
    elif node.name not in FILTERS:
        meant = closest(node.name, (*FILTERS, "default"))
        advice = f'did you mean "{meant}"?' if meant else f"filters: default, {', '.join(FILTERS)}"
        raise TypeError(f"No filter named '{node.name}'. {advice[0].upper()}{advice[1:]}")
    else:
        _check_arguments(node.name, FILTERS[node.name], node)


def _check_arguments(name: str, called: Callable[..., Any], node: nodes.Filter | nodes.Call) -> None:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise TypeError("* and ** in arguments are not available in templates; write each argument")
    given = [None] * (len(node.args) + 1 + isinstance(node, nodes.Filter))
    try:
        signature(called).bind(*given, **{str(keyword.key): None for keyword in node.kwargs})
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from error


def evaluate(node: nodes.Node, names: Names, budget: Budget) -> Any:
    """Return the value of an expression.

    Raises:
        BudgetError: it takes too much work.
        LookupError: a name or a member does not exist.
        TypeError, ValueError, ArithmeticError: an operator or a filter does not take its values.
    """
    value = _raw(node, names, budget)
    if isinstance(value, Undefined):
        raise LookupError(value.reason())
    return value


def write(body: Sequence[nodes.Node], names: Names, budget: Budget) -> str:
    """Return the text that statements write; raises as `evaluate` does."""
    parts: list[str] = []
    length = 0
    for part in _written(body, names, budget):
        length += len(part)
        budget.text(length if length > MAX_TEXT else len(part))
        parts.append(part)
    return "".join(parts)


def _written(body: Sequence[nodes.Node], names: Names, budget: Budget) -> Iterator[str]:
    for node in body:
        budget.spend()
        if isinstance(node, nodes.Output):
            for part in node.nodes:
                fixed = isinstance(part, nodes.TemplateData)
                yield part.data if fixed else text_of(budget, evaluate(part, names, budget))  # type: ignore[attr-defined]
        elif isinstance(node, nodes.If):
            branches = [node, *node.elif_]
            chosen = next((one.body for one in branches if evaluate(one.test, names, budget)), node.else_)
            yield from _written(chosen, names, budget)
        elif isinstance(node, nodes.For):
            yield from _looped(node, names, budget)


def _looped(node: nodes.For, names: Names, budget: Budget) -> Iterator[str]:
    items = items_of(budget, evaluate(node.iter, names, budget))
    if node.test is not None:
        items = [item for item in items if evaluate(node.test, {**names, **_bound(node.target, item)}, budget)]
    last = len(items) - 1
    for index, item in enumerate(items):
        loop = {"index": index + 1, "index0": index, "first": not index, "last": index == last, "length": last + 1}
        yield from _written(node.body, {**names, **_bound(node.target, item), "loop": loop}, budget)
    if not items:
        yield from _written(node.else_, names, budget)


def _bound(target: nodes.Node, item: Any) -> dict[str, Any]:
    names = target_names(target)
    if isinstance(target, nodes.Name):
        return {names[0]: item}
    if not isinstance(item, list) or len(item) != len(names):
        raise ValueError(f"a loop over {len(names)} names needs lists of as many values")
    return dict(zip(names, item, strict=True))


def target_names(target: nodes.Node) -> list[str]:
    """Return the names that a loop binds.

    Raises:
        TypeError: it unpacks more than one level.
    """
    parts = target.items if isinstance(target, nodes.Tuple) else [target]
    if not all(isinstance(part, nodes.Name) for part in parts):
        raise TypeError("a loop binds names, or one list of names")
    return [part.name for part in parts if isinstance(part, nodes.Name)]


def _raw(node: nodes.Node, names: Names, budget: Budget) -> Any:
    budget.spend()
    return _EXPRESSIONS[type(node)](node, names, budget)


def _name(node: Any, names: Names, budget: Budget) -> Any:
    return names[node.name] if node.name in names else Undefined(lambda: f'"{node.name}" is undefined')


def _member(node: Any, names: Names, budget: Budget) -> Any:
    holder = evaluate(node.node, names, budget)
    key = node.attr if isinstance(node, nodes.Getattr) else evaluate(node.arg, names, budget)
    if isinstance(holder, dict) and isinstance(key, str):
        return holder[key] if key in holder else Undefined(lambda: _missing(key, holder))
    if isinstance(holder, (list, str)) and isinstance(key, int) and not isinstance(key, bool):
        inside = -len(holder) <= key < len(holder)
        return holder[key] if inside else Undefined(lambda: f"there is no item {key}; the length is {len(holder)}")
    name = f'"{key[:100]}"' if isinstance(key, str) else kind(key)
    return Undefined(lambda: f"{name} is undefined: {kind(holder)} has no such member")


def _missing(key: str, holder: Mapping[str, Any]) -> str:
    meant = closest(key, list(holder)[:1000])
    advice = f'did you mean "{meant}"?' if meant else f"there are: {', '.join([*holder][:20]) or 'none'}"
    return f'"{key[:100]}" is undefined; {advice}'


def _list(node: Any, names: Names, budget: Budget) -> list[Any]:
    return [evaluate(item, names, budget) for item in node.items]


def _dict(node: Any, names: Names, budget: Budget) -> dict[str, Any]:
    found = {}
    for pair in node.items:
        key = evaluate(pair.key, names, budget)
        if not isinstance(key, str):
            raise TypeError(f"the key {key!r} is not text, which JSON needs")
        found[key] = evaluate(pair.value, names, budget)
    return found


def _condition(node: Any, names: Names, budget: Budget) -> Any:
    if evaluate(node.test, names, budget):
        return _raw(node.expr1, names, budget)
    if node.expr2 is None:
        return Undefined(lambda: "the condition is false and has no else")
    return _raw(node.expr2, names, budget)


def _and(node: Any, names: Names, budget: Budget) -> Any:
    return evaluate(node.left, names, budget) and evaluate(node.right, names, budget)


def _or(node: Any, names: Names, budget: Budget) -> Any:
    return evaluate(node.left, names, budget) or evaluate(node.right, names, budget)


def _compare(node: Any, names: Names, budget: Budget) -> bool:
    left = evaluate(node.expr, names, budget)
    for operand in node.ops:
        right = evaluate(operand.expr, names, budget)
        if not _compared(operand.op, left, right, budget):
            return False
        left = right
    return True


def _compared(op: str, left: Any, right: Any, budget: Budget) -> bool:
    if op in ("eq", "ne"):
        budget.weigh(left, right)
        return bool(left == right) is (op == "eq")
    if op in ("in", "notin"):
        return _contained(left, right, budget) is (op == "in")
    if not (is_number(left) and is_number(right)) and not (isinstance(left, str) and isinstance(right, str)):
        raise TypeError(f"{kind(left)} and {kind(right)} have no order")
    budget.weigh(left, right)
    return bool(_ORDER[op](left, right))


def _contained(item: Any, holder: Any, budget: Budget) -> bool:
    if isinstance(holder, str) and isinstance(item, str):
        budget.search(holder, item)
    elif isinstance(holder, list):
        budget.weigh(holder)
    elif not (isinstance(holder, dict) and isinstance(item, str)):
        raise TypeError(f"{kind(item)} cannot be in {kind(holder)}")
    return item in holder


def _concat(node: Any, names: Names, budget: Budget) -> str:
    parts = [text_of(budget, evaluate(part, names, budget)) for part in node.nodes]
    budget.text(sum(map(len, parts)))
    return "".join(parts)


def _calculate(node: Any, names: Names, budget: Budget) -> Any:
    left, right = evaluate(node.left, names, budget), evaluate(node.right, names, budget)
    sign, compute = _ARITHMETIC[type(node)]
    if not is_number(left) or not is_number(right):
        raise TypeError(f"{sign} needs numbers, not {kind(left)} and {kind(right)}; ~ joins texts")
    large = sign == "**" and isinstance(left, int) and isinstance(right, int)
    if large and (left.bit_length() - 1) * abs(right) > MAX_BITS:
        raise OverflowError("the number is too large")
    return checked_number(compute(left, right))


def _sign(node: Any, names: Names, budget: Budget) -> Any:
    value = evaluate(node.node, names, budget)
    if not is_number(value):
        raise TypeError(f"a sign needs a number, not {kind(value)}")
    return -value if isinstance(node, nodes.Neg) else value


def _filter(node: Any, names: Names, budget: Budget) -> Any:
    if node.name == "default":
        value = _raw(node.node, names, budget)
        fallback = node.args[0] if node.args else node.kwargs[0].value
        return _raw(fallback, names, budget) if isinstance(value, Undefined) else value
    value = evaluate(node.node, names, budget)
    return FILTERS[node.name](budget, value, *_arguments(node, names, budget), **_named(node, names, budget))


def _call(node: Any, names: Names, budget: Budget) -> Any:
    return FUNCTIONS[node.node.name](budget, *_arguments(node, names, budget), **_named(node, names, budget))


def _arguments(node: Any, names: Names, budget: Budget) -> list[Any]:
    return [evaluate(item, names, budget) for item in node.args]


def _named(node: Any, names: Names, budget: Budget) -> dict[str, Any]:
    return {keyword.key: evaluate(keyword.value, names, budget) for keyword in node.kwargs}


def _test(node: Any, names: Names, budget: Budget) -> bool:
    value = _raw(node.node, names, budget)
    if node.name == "none":
        return value is None
    return isinstance(value, Undefined) is (node.name == "undefined")


_EXPRESSIONS: Mapping[type[nodes.Node], Callable[[Any, Names, Budget], Any]] = {
    nodes.And: _and, nodes.Call: _call, nodes.Compare: _compare, nodes.Concat: _concat, nodes.CondExpr: _condition,
    nodes.Const: lambda node, names, budget: node.value, nodes.Dict: _dict, nodes.Filter: _filter,
    nodes.Getattr: _member, nodes.Getitem: _member, nodes.List: _list, nodes.Name: _name, nodes.Neg: _sign,
    nodes.Not: lambda node, names, budget: not evaluate(node.node, names, budget), nodes.Or: _or, nodes.Pos: _sign,
    nodes.Test: _test, nodes.Tuple: _list, **dict.fromkeys(_ARITHMETIC, _calculate),
}  # fmt: skip
_ALLOWED = frozenset((
    *_EXPRESSIONS, nodes.For, nodes.If, nodes.Keyword, nodes.Operand, nodes.Output, nodes.Pair, nodes.Template,
    nodes.TemplateData,
))  # fmt: skip
