"""Compile templates and expressions: an allow-list over the syntax tree of Jinja2.

Members are keys of mappings, calls are those of `functions.py`, operators take JSON values. A construct that is not on
the list is a fault that names its replacement; no text raises an exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache, reduce
from inspect import signature
from io import StringIO
from typing import Any, NamedTuple

from jinja2 import Environment, TemplateSyntaxError, nodes

from compozy.base.suggest import closest
from compozy.workflows.expressions.bounds import LIMITS, Budget, TemplateLimits
from compozy.workflows.expressions.functions import (
    FILTERS,
    FUNCTIONS,
    MissingValueError,
    calculate,
    compare,
    member,
)

TEMPLATE, EXPRESSION = "template", "expression"
Names = dict[str, object]
At = tuple[Names, Budget]
Evaluate = Callable[[Names, Budget], object]

# A quote that is not closed reaches to the end, which keeps the search linear.
_CODE = re.compile(r"""(?s)\{[{%](?:"(?:\\.?|[^"\\])*+(?:"|\Z)|'(?:\\.?|[^'\\])*+(?:'|\Z)|(?![}%]\}).)*""")
_MOST_KEPT = 24_000  # parsing steps: about four thousand characters of code
_DASHED_TASK = re.compile(r"\btasks\s*\.\s*([a-z0-9_]+(?:-[a-z0-9_]+)+)(?=\s*\.\s*[a-z])")
_LEADING_DOT = re.compile(r"\{\{[-+]?\s*\.[A-Za-z_]")
_SPELLINGS = {
    "&&": "write and for &&", "||": "write or for ||", "?": "write X if CONDITION else Y", "!": "write not for !",
}  # fmt: skip
_CALLS = {
    "contains": "write part in text", "endsWith": "use the filter: | endswith", "has": "write x is defined",
    "size": "use the filter: | length", "startsWith": "use the filter: | startswith",
}  # fmt: skip
_REPLACEMENTS: dict[type[nodes.Node], tuple[str, str]] = {
    nodes.Assign: ("{% set %}", "give the value a task of its own"),
    nodes.AssignBlock: ("{% set %}", "give the value a task of its own"),
    nodes.CallBlock: ("{% call %}", "repeat the text, or use a tool"),
    nodes.FilterBlock: ("{% filter %}", "use the filter in an expression"),
    nodes.Macro: ("{% macro %}", "repeat the text, or use a tool"),
    nodes.Slice: ("a slice", "use first, last or truncate, or a tool"),
}


class TemplateFault(NamedTuple):
    """The reason why a text cannot be compiled; `id` is that of the finding."""

    id: str
    message: str


class Program(NamedTuple):
    """A compiled text: the names that it uses with their constant members, and what is wrong with it.

    `steps` are those of one run without the turns of loops; `run` takes the values of the names.
    """

    names: tuple[tuple[str, ...], ...]
    faults: tuple[TemplateFault, ...]
    steps: int
    run: Evaluate


def compile_text(text: str, mode: str = TEMPLATE, limits: TemplateLimits = LIMITS) -> Program:
    """Compile a template, or an expression without braces as conditions have them.

    A template that is one expression keeps the type of its value; every other one becomes text.
    """
    # A program takes up to 250 bytes for a character of code, so long ones are not kept.
    return (_kept_program if parsing_steps(text, mode) <= _MOST_KEPT else _new_program)(text, mode, limits)


def _new_program(text: str, mode: str, limits: TemplateLimits) -> Program:
    return _Compiler(mode, limits).program(text)


_kept_program = lru_cache(maxsize=512)(_new_program)


@lru_cache(maxsize=512)
def parsing_steps(text: str, mode: str) -> int:
    """Return the steps of parsing a text; they count each time, so that a replay with compiled ones ends alike."""
    return len(text) // 64 + 6 * (len(text) if mode == EXPRESSION else sum(map(len, _CODE.findall(text))))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(autoescape=False, keep_trailing_newline=True, optimized=False)  # noqa: S701 - no HTML


def _prepared(env: Environment, text: str, limits: TemplateLimits) -> str:
    """Write `tasks.a-b.output` as `tasks['a-b'].output` and `{{ .a }}` as `{{ a }}`; bound the parser's stack."""
    if sum(map(text.count, "([{")) <= limits.brackets and not (_DASHED_TASK.search(text) or _LEADING_DOT.search(text)):
        return text
    # The parser of Jinja2 calls itself for each bracket and would end the process in a stack overflow; the lexer does
    # not.
    depth, before, code, parts = 0, "", "", []
    for _, token, piece in env.lex(text):
        depth += token == "operator" and (piece in "([{") - (piece in ")]}")
        if depth > limits.brackets:
            raise RecursionError
        if token in ("data", "string"):
            parts += [_DASHED_TASK.sub(r"tasks['\1']", code), piece]
            code = ""
        elif piece != "." or before != "variable_begin":
            code += piece
        before = before if token == "whitespace" else token
    return "".join(parts) + _DASHED_TASK.sub(r"tasks['\1']", code)


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
        self.steps = self.depth = 0
        self.bound: frozenset[str] = frozenset()
        self.mode = mode
        self.limits = limits

    def program(self, text: str) -> Program:
        run: Evaluate = _unusable
        source = f"{{{{ {text} }}}}" if self.mode == EXPRESSION else text
        try:
            if len(text) > self.limits.template_chars:
                raise OverflowError(f"it is longer than {self.limits.template_chars} characters")
            env = _environment()
            run = self.tree(env.parse(_prepared(env, source, self.limits)))
        except TemplateSyntaxError as error:
            line = f" (line {error.lineno})" if error.lineno > 1 else ""
            spellings = _SPELLINGS if self.mode == TEMPLATE else {"{{": "write it without {{ }}", **_SPELLINGS}
            advice = next((f"; {advice}" for sign, advice in spellings.items() if sign in text), "")
            self.fault(f"{error.message or 'not readable'}{line}{advice}", "template.syntax")
        except RecursionError:
            self.fault("nested too deeply", "template.limit")
        except (ValueError, OverflowError) as error:
            self.fault(str(error), "template.limit")
        return Program(tuple(self.names), tuple(self.faults), self.steps, run)

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
        body = self.body(tree.body)

        def run(names: Names, budget: Budget) -> str:
            budget.output = StringIO()
            body(names, budget)
            return budget.output.getvalue()

        return run

    def node(self, node: nodes.Node) -> Evaluate:
        self.steps += 1
        self.depth += 1
        if self.depth > self.limits.depth:
            raise RecursionError
        # Whole chains first: they are what templates mostly hold, and their names are what `references` reports.
        if chain := _chain(node):
            made = self.path(chain)
        elif type(node) in CHECKED:
            made = CHECKED[type(node)](self, node)
        elif type(node) in LAZY:
            made = self.lazy(LAZY[type(node)], node, node.iter_child_nodes())
        elif type(node) in STRICT:
            made = self.strict(STRICT[type(node)], node, node.iter_child_nodes())
        else:
            made = self.refuse(*_REPLACEMENTS.get(type(node), (f"the construct {type(node).__name__}",)))
        self.depth -= 1
        return made

    def constant(self, value: object) -> Evaluate:
        Budget(limits=self.limits).result(value)
        return lambda names, budget: value

    def path(self, chain: tuple[object, ...]) -> Evaluate:
        self.steps += len(chain)
        if chain[0] not in self.bound:
            self.names[tuple(map(str, chain))] = None
        return lambda names, budget: reduce(member, chain, names)

    def lazy(self, evaluate: Callable[..., object], node: object, children: Iterable[nodes.Node]) -> Evaluate:
        parts = [self.node(child) for child in children]
        return lambda names, budget: evaluate(node, (names, budget), *parts)

    def strict(self, evaluate: Callable[..., object], node: object, children: Iterable[nodes.Node]) -> Evaluate:
        parts = [self.node(child) for child in children]
        return lambda names, budget: evaluate(node, budget, *[part(names, budget) for part in parts])

    def body(self, body: Iterable[nodes.Node]) -> Evaluate:
        return self.lazy(lambda node, at, *parts: [part(*at) for part in parts], None, body)

    def branch(self, node: nodes.If) -> Evaluate:
        branches = [(self.node(one.test), self.body(one.body)) for one in (node, *node.elif_)]
        otherwise = self.body(node.else_)

        def write(names: Names, budget: Budget) -> object:
            for test, body in branches:
                if test(names, budget):
                    return body(names, budget)
            return otherwise(names, budget)

        return write

    def loop(self, node: nodes.For) -> Evaluate:
        alone = isinstance(node.target, nodes.Name)
        targets = [node.target] if alone else list(node.target.iter_child_nodes())
        keys = [target.name for target in targets if isinstance(target, nodes.Name)]
        if node.recursive or "loop" in keys or len(keys) < len(targets):
            return self.refuse("such a loop", "a loop binds names, or one list of names, and is not recursive")
        items, otherwise, bound, start = self.node(node.iter), self.body(node.else_), self.bound, self.steps
        # The filter of a loop sees the names of the item, but not `loop`, whose length is known only after filtering.
        self.bound = bound | {*keys}
        kept = self.node(node.test or nodes.Const(True))
        self.bound |= {"loop"}
        test_steps, body = self.steps - start, self.body(node.body)
        self.bound, turn_steps = bound, 1 + self.steps - start

        def bind(names: Names, item: object) -> Names:
            if alone:
                return {**names, keys[0]: item}
            if not isinstance(item, list) or len(item) != len(keys):
                raise ValueError(f"a loop over {len(keys)} names needs lists of as many values")
            return {**names, **dict(zip(keys, item, strict=True))}

        def write(names: Names, budget: Budget) -> None:
            found = budget.items(items(names, budget))
            # The steps of all turns before the first one: a loop that is too long ends before its work and not in the
            # middle.
            budget.spend(test_steps * len(found))
            turns = [item for item in found if kept(bind(names, item), budget)] if node.test else found
            budget.spend(turn_steps * len(turns))
            last = len(turns) - 1
            for index, item in enumerate(turns):
                inner = bind(names, item)
                place = {"index": index + 1, "index0": index, "first": not index, "last": index == last}
                inner["loop"] = place | {"length": last + 1}
                body(inner, budget)
            if not turns:
                otherwise(names, budget)

        return write

    def test(self, node: nodes.Test) -> Evaluate:
        if node.name not in _TESTS or node.args or node.kwargs or node.dyn_args or node.dyn_kwargs:
            return self.refuse(f'the test "{node.name}"', "compare with ==, <, > or in")
        return self.lazy(_TESTS[node.name], node, [node.node])

    def call(self, node: nodes.Call) -> Evaluate:
        name = node.node.name if isinstance(node.node, nodes.Name) else ""
        if name in FUNCTIONS:
            return self.applied(name, FUNCTIONS[name].call, node, node.args)
        if isinstance(node.node, nodes.Getattr):
            name = node.node.attr
            advice = f"use the filter: | {name}" if name in FILTERS else "use a filter or a tool"
            return self.refuse(f"the method {name}()", _CALLS.get(name, advice))
        return self.refuse(f'the function "{name}"', _CALLS.get(name, f"there is: {', '.join(FUNCTIONS)}"))

    def filter(self, node: nodes.Filter) -> Evaluate:
        if node.name in FILTERS:
            return self.applied(node.name, FILTERS[node.name].call, node, [node.node, *node.args])
        meant = closest(node.name, FILTERS)
        advice = f'did you mean "{meant}"?' if meant else f"filters: {', '.join(FILTERS)}"
        return self.refuse(f'the filter "{node.name}"', advice)

    def applied(self, name: str, function: Callable[..., object], node: Any, args: list[Any]) -> Evaluate:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            return self.refuse("* and ** in arguments", "write each argument")
        keys, keywords = [keyword.key for keyword in node.kwargs], [keyword.value for keyword in node.kwargs]
        try:
            # Checked when the definition is read, so that a wrong call is a finding and not the failure of an
            # execution.
            signature(function).bind(None, *args, **dict(zip(keys, keywords, strict=True)))
        except TypeError as error:
            return self.fault(f"{name}: {error}")
        # Its first argument may be missing, so it is the only function whose arguments are not evaluated before the
        # call.
        if name == "default":
            return self.lazy(_default, node, [*args, *keywords])

        def evaluate(node: nodes.Node, budget: Budget, *values: object) -> object:
            named = dict(zip(keys, values[len(args) :], strict=True)) if keys else {}
            return budget.result(function(budget, *values[: len(args)], **named))

        return self.strict(evaluate, node, [*args, *keywords])


def _default(node: nodes.Node, at: At, value: Evaluate, default: Evaluate) -> object:
    try:
        return value(*at)
    except MissingValueError:
        return default(*at)


def _defined(node: nodes.Test, at: At, value: Evaluate) -> bool:
    try:
        value(*at)
    except MissingValueError:
        return node.name == "undefined"
    return node.name == "defined"


def _compared(node: nodes.Compare, budget: Budget, left: object, *others: object) -> bool:
    for operand, right in zip(node.ops, others, strict=True):
        if not compare(budget, operand.op, left, right):
            return False
        left = right
    return True


_TESTS = {"defined": _defined, "none": lambda node, at, value: value(*at) is None, "undefined": _defined}
CHECKED: dict[type[nodes.Node], Callable[[_Compiler, Any], Evaluate]] = {
    nodes.Call: _Compiler.call,
    nodes.Const: lambda compiler, node: compiler.constant(node.value),
    nodes.Filter: _Compiler.filter,
    nodes.For: _Compiler.loop,
    nodes.If: _Compiler.branch,
    nodes.Operand: lambda compiler, node: compiler.node(node.expr),
    nodes.TemplateData: lambda compiler, node: compiler.constant(node.data),
    nodes.Test: _Compiler.test,
}
LAZY: dict[type[nodes.Node], Callable[..., object]] = {
    nodes.And: lambda node, at, left, right: left(*at) and right(*at),
    nodes.CondExpr: lambda node, at, test, then, other=lambda *at: member(None, "else"): (then if test(*at) else other)(
        *at
    ),
    nodes.Or: lambda node, at, left, right: left(*at) or right(*at),
}
STRICT: dict[type[nodes.Node], Callable[..., object]] = {
    nodes.Compare: _compared,
    nodes.Concat: lambda node, budget, *values: budget.result(FILTERS["join"].call(budget, [*values])),
    nodes.Dict: lambda node, budget, *pairs: dict(pairs),
    nodes.Getattr: lambda node, budget, holder: member(holder, node.attr),
    nodes.Getitem: lambda node, budget, holder, key: member(holder, key),
    nodes.List: lambda node, budget, *values: [*values],
    nodes.Neg: lambda node, budget, value: -budget.take(value, int, float),
    nodes.Not: lambda node, budget, value: not value,
    nodes.Output: lambda node, budget, *values: budget.emit(*values),
    nodes.Pair: lambda node, budget, key, value: (budget.take(key, str), value),
    nodes.Pos: lambda node, budget, value: +budget.take(value, int, float),
    nodes.Tuple: lambda node, budget, *values: [*values],
    **dict.fromkeys(
        (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow),
        lambda node, budget, left, right: calculate(budget, node.operator, left, right),
    ),
}
