"""Compile templates and expressions: an allow-list over the syntax tree of Jinja2.

Members are keys of mappings, calls are those of `functions.py`, operators take JSON values. A construct that is not on
the list is a fault that names its replacement; no text raises an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial, reduce
from inspect import signature
from typing import Any, NamedTuple

from jinja2 import TemplateSyntaxError, nodes

from compozy.base.suggest import closest
from compozy.workflows.expressions.bounds import LIMITS, Budget, TemplateLimits
from compozy.workflows.expressions.functions import (
    FILTERS,
    FUNCTIONS,
    OPERATORS,
    MissingValueError,
    compare,
    concatenate,
    member,
)
from compozy.workflows.expressions.replacements import CALLS, CONSTRUCTS, SIGNS
from compozy.workflows.expressions.syntax import EXPRESSION, TEMPLATE, parse, parsing_steps

Names = dict[str, object]
At = tuple[Names, Budget]
Evaluate = Callable[[Names, Budget], object]

_MOST_KEPT = 24_000  # parsing steps: about four thousand characters of code
_MISSING = object()


class TemplateFault(NamedTuple):
    """The reason why a text cannot be compiled; `id` is that of the finding."""

    id: str
    message: str


class Program(NamedTuple):
    """A compiled text: the names that it uses with their constant members, and what is wrong with it.

    `run` takes the values of the names.
    """

    names: tuple[tuple[str, ...], ...]
    faults: tuple[TemplateFault, ...]
    run: Evaluate


def compile_text(text: str, mode: str = TEMPLATE, limits: TemplateLimits = LIMITS) -> Program:
    """Compile a template, or an expression without braces as conditions have them.

    A template that is one expression keeps the type of its value; every other one becomes text.
    """
    # A program takes up to 250 bytes for a character of code, so long ones are not kept.
    make = _program if parsing_steps(text, mode) <= _MOST_KEPT else _program.__wrapped__
    return make(text, mode, limits)


@lru_cache(maxsize=512)
def _program(text: str, mode: str, limits: TemplateLimits) -> Program:
    compiler = _Compiler(mode, limits)
    run: Evaluate = _unusable
    try:
        run = compiler.tree(parse(text, mode, limits))
    except TemplateSyntaxError as error:
        line = f" (line {error.lineno})" if error.lineno > 1 else ""
        braces = {"{{": "write it without {{ }}"} if mode == EXPRESSION else {}
        advice = next((f"; {advice}" for sign, advice in (braces | SIGNS).items() if sign in text), "")
        compiler.fault(f"{error.message or 'not readable'}{line}{advice}", "template.syntax")
    except RecursionError:
        compiler.fault("nested too deeply", "template.limit")
    except (ValueError, OverflowError) as error:
        compiler.fault(str(error), "template.limit")
    return Program(tuple(compiler.names), tuple(compiler.faults), run)


def _chain(node: nodes.Node) -> tuple[object, ...]:
    """Return a name with its constant members, `("tasks", "a", "output", 0)`, or nothing for other nodes."""
    keys: list[object] = []
    while isinstance(node, (nodes.Getattr, nodes.Getitem)):
        key = nodes.Const(node.attr) if isinstance(node, nodes.Getattr) else node.arg
        if not isinstance(key, nodes.Const):
            return ()
        keys.append(key.value)
        node = node.node
    return (node.name, *reversed(keys)) if isinstance(node, nodes.Name) else ()


def _unusable(names: Names, budget: Budget) -> object:
    raise ValueError("the template has faults")


class _Compiler:
    """Compiles the nodes of one text; the names in `bound` are those of the loops around a node."""

    def __init__(self, mode: str, limits: TemplateLimits) -> None:
        self.names: dict[tuple[str, ...], None] = {}
        self.faults: dict[TemplateFault, None] = {}
        self.depth = self.count = 0
        self.bound: frozenset[str] = frozenset()
        self.mode = mode
        self.limits = limits

    def fault(self, message: str, name: str = "template.construct") -> Evaluate:
        self.faults[TemplateFault(name, f"{self.mode}: {message}")] = None
        return _unusable

    def refuse(self, construct: str, advice: str = "use a tool") -> Evaluate:
        return self.fault(f"{construct} is not available in templates; {advice}")

    def tree(self, tree: nodes.Template) -> Evaluate:
        parts = tree.body[0].nodes if len(tree.body) == 1 and isinstance(tree.body[0], nodes.Output) else []
        shown = [part for part in parts if not (isinstance(part, nodes.TemplateData) and part.data.isspace())]
        if len(shown) == 1 and not isinstance(shown[0], nodes.TemplateData):
            return self.node(shown[0])
        if self.mode == EXPRESSION:
            return self.fault("expected one expression, without {{ and {%")
        return self.body(tree.body)

    def node(self, node: nodes.Node) -> Evaluate:
        self.depth += 1
        self.count += 1
        if self.depth > self.limits.depth:
            raise RecursionError
        # Whole chains first: they are what templates mostly hold, and their names are what `references` reports.
        if chain := _chain(node):
            made = self.path(chain)
        elif type(node) in FORMS:
            made = FORMS[type(node)](self, node)
        elif type(node) in OPERATORS:
            made = self.strict(OPERATORS[type(node)], node.iter_child_nodes())
        else:
            name = type(node).__name__
            made = self.refuse(*CONSTRUCTS.get(name, (f"the construct {name}",)))
        self.depth -= 1
        return made

    def constant(self, value: object) -> Evaluate:
        Budget(limits=self.limits).result(value)
        return lambda names, budget: value

    def path(self, chain: tuple[object, ...]) -> Evaluate:
        if chain[0] not in self.bound:
            self.names[tuple(map(str, chain))] = None
        self.count += len(chain)
        return lambda names, budget: reduce(member, chain, names)

    def lazy(self, evaluate: Callable[..., object], *children: nodes.Node) -> Evaluate:
        parts = [self.node(child) for child in children]
        return lambda names, budget: evaluate((names, budget), *parts)

    def strict(self, evaluate: Callable[..., object], children: Iterable[nodes.Node]) -> Evaluate:
        parts = [self.node(child) for child in children]
        return lambda names, budget: evaluate(budget, *[part(names, budget) for part in parts])

    def body(self, body: list[nodes.Node]) -> Evaluate:
        return self.node(nodes.Output(body) if len(body) != 1 else body[0])

    def branch(self, node: nodes.If) -> Evaluate:
        branches = [(self.node(one.test), self.body(one.body)) for one in (node, *node.elif_)]
        otherwise = self.body(node.else_)

        def write(names: Names, budget: Budget) -> object:
            return next((body for test, body in branches if test(names, budget)), otherwise)(names, budget)

        return write

    def loop(self, node: nodes.For) -> Evaluate:
        targets = node.target.items if isinstance(node.target, nodes.Tuple) else [node.target]
        keys = [target.name for target in targets if isinstance(target, nodes.Name)]
        if node.recursive or "loop" in keys or len(keys) < len(targets):
            return self.refuse("such a loop", "a loop binds names, or one list of names, and is not recursive")
        items, otherwise = self.node(node.iter), self.body(node.else_)
        outer, before = self.bound, self.count
        # The filter of a loop sees the names of the item, but not `loop`, whose length is known only after filtering.
        self.bound = outer | {*keys}
        kept = self.node(node.test or nodes.Const(True))
        self.bound |= {"loop"}
        body, self.bound = self.body(node.body), outer
        steps = 1 + self.count - before

        def bind(names: Names, item: object) -> Names:
            values = [item] if targets == [node.target] else item
            if not isinstance(values, list) or len(values) != len(keys):
                raise ValueError(f"a loop over {len(keys)} names needs lists of as many values")
            names.update(zip(keys, values, strict=True))
            return names

        def write(names: Names, budget: Budget) -> object:
            found, inner = budget.items(items(names, budget)), dict(names)
            # The steps of all turns before the first one: a loop that is too long ends before its work and not in the
            # middle. The code around loops is paid for with its parsing.
            budget.spend(steps * len(found))
            turns = [item for item in found if kept(bind(inner, item), budget)]
            last, written, texts = len(turns) - 1, 0, []
            for index, item in enumerate(turns):
                place = {"index": index + 1, "index0": index, "first": not index, "last": index == last}
                inner["loop"] = place | {"length": last + 1}
                texts.append(str(body(bind(inner, item), budget)))
                written += len(texts[-1])
                budget.fits(written)
            return concatenate(budget, *texts) if turns else otherwise(names, budget)

        return write

    def test(self, node: nodes.Test) -> Evaluate:
        if node.name not in _TESTS or len([*node.iter_child_nodes()]) > 1:
            return self.refuse(f'the test "{node.name}"', "compare with ==, <, > or in")
        return self.lazy(_TESTS[node.name], node.node)

    def call(self, node: nodes.Call) -> Evaluate:
        name = node.node.name if isinstance(node.node, nodes.Name) else ""
        if name in FUNCTIONS:
            return self.called(name, FUNCTIONS[name].call, node, node.args)
        advice, construct = f"there is: {', '.join(FUNCTIONS)}", f'the function "{name}"'
        if isinstance(node.node, nodes.Getattr):
            name = node.node.attr
            advice = f"use the filter: | {name}" if name in FILTERS else "use a filter or a tool"
            construct = f"the method {name}()"
        return self.refuse(construct, CALLS.get(name, advice))

    def filter(self, node: nodes.Filter) -> Evaluate:
        if node.name in FILTERS:
            return self.called(node.name, FILTERS[node.name].call, node, [node.node, *node.args])
        meant = closest(node.name, FILTERS)
        advice = f'did you mean "{meant}"?' if meant else f"filters: {', '.join(FILTERS)}"
        return self.refuse(f'the filter "{node.name}"', advice)

    def called(self, name: str, function: Callable[..., object], node: Any, args: list[Any]) -> Evaluate:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            return self.refuse("* and ** in arguments", "write each argument")
        try:
            # Checked when the definition is read, so that a wrong call is a finding and not the failure of an
            # execution.
            call = signature(function).bind(None, *args, **{given.key: given.value for given in node.kwargs})
        except TypeError as error:
            return self.fault(f"{name}: {error}")
        call.apply_defaults()
        values = [value if isinstance(value, nodes.Node) else nodes.Const(value) for value in call.args[1:]]
        # Its first argument may be missing, so it is the only one whose arguments are not evaluated before the call.
        if name == "default":
            return self.lazy(_default, *values)
        return self.strict(lambda budget, *values: budget.result(function(budget, *values)), values)


def _default(at: At, value: Evaluate, default: Evaluate) -> object:
    try:
        return value(*at)
    except MissingValueError:
        return default(*at)


_TESTS: Mapping[str, Callable[..., object]] = {
    "defined": lambda at, value: _default(at, value, lambda *at: _MISSING) is not _MISSING,
    "none": lambda at, value: value(*at) is None,
    "undefined": lambda at, value: _default(at, value, lambda *at: _MISSING) is _MISSING,
}
_NO_ELSE = nodes.Getitem(nodes.Const(None), nodes.Const("else"), "load")
FORMS: Mapping[type[nodes.Node], Callable[[_Compiler, Any], Evaluate]] = {
    nodes.And: lambda c, node: c.lazy(lambda at, left, right: left(*at) and right(*at), node.left, node.right),
    nodes.Call: _Compiler.call,
    nodes.Compare: lambda c, node: c.strict(partial(compare, [one.op for one in node.ops]), node.iter_child_nodes()),
    nodes.CondExpr: lambda c, node: c.branch(nodes.If(node.test, [node.expr1], [], [node.expr2 or _NO_ELSE])),
    nodes.Const: lambda c, node: c.constant(node.value),
    nodes.Filter: _Compiler.filter,
    nodes.For: _Compiler.loop,
    nodes.Getattr: lambda c, node: c.node(nodes.Getitem(node.node, nodes.Const(node.attr), "load")),
    nodes.If: _Compiler.branch,
    nodes.Operand: lambda c, node: c.node(node.expr),
    nodes.Or: lambda c, node: c.lazy(lambda at, left, right: left(*at) or right(*at), node.left, node.right),
    nodes.TemplateData: lambda c, node: c.constant(node.data),
    nodes.Test: _Compiler.test,
}
