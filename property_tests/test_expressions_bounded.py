"""Any text compiles or gives a finding, and a compiled expression ends within the counted steps."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from compozy.workflows.expressions.bounds import LIMITS, Budget, BudgetError
from compozy.workflows.expressions.compiler import Program, compile_text
from compozy.workflows.expressions.functions import FILTERS
from compozy.workflows.expressions.syntax import EXPRESSION
from compozy.workflows.expressions.templates import TemplateProblem, evaluate, render

NAMES: dict[str, Any] = {
    "input": {"n": 3, "f": -0.5, "t": "a,b", "xs": [1, 2, 3], "rows": [{"id": 2}, {"id": 1}], "m": {"k": None}},
    "tasks": {"a-b": {"output": True}},
}
MOST = 20_000
WORDS = st.sampled_from(
    ["{{", "}}", "{%", "%}", "{#", "#}", "{{-", "-%}", "for x in ", "for k, v in ", "if ", "elif ", "else", "endfor"]
    + ["endif", "set x = ", "raw", "endraw", "input", ".n", ".xs", "[0]", "[x]", "tasks.a-b.output", "x", "loop.index"]
    + [
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        "|",
        "~",
        "+",
        "-",
        "*",
        "**",
        "/",
        "//",
        "%",
        "==",
        "<",
        " in ",
        " not ",
    ]
    + [
        " and ",
        " or ",
        " is defined",
        " is none",
        " if ",
        " else ",
        "'s'",
        '"',
        "9",
        "0.5",
        "1e9",
        "range(",
        "\\",
        ".",
        "!",
    ]
    + ["&&", "?", "\n", "é", "\x00", *FILTERS]
)
TEXTS = st.text(max_size=40) | st.lists(WORDS, max_size=25).map("".join)
ATOMS = st.sampled_from(
    ["input.n", "input.f", "input.t", "input.xs", "input.rows", "input.m", "input.absent", "tasks.a-b.output", "x", "2"]
    + ["-1.5", "'ab'", "[]", "none", "true", "range(9)"]
)


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">=", "in", "not in", "and", "or"]
    calls = [*(name for name in FILTERS), "default(0)", "join(',')", "map('id')", "sort(attribute='id')", "split(',')"]
    return (
        st.tuples(inner, st.sampled_from(operators), inner).map(" ".join).map("({})".format)
        | st.tuples(inner, st.sampled_from(calls)).map(" | ".join).map("({})".format)
        | st.tuples(inner, inner, inner).map("({0[0]} if {0[1]} else {0[2]})".format)
        | st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | inner.map("{{'k': {}}}".format)
        | inner.map("({} is defined)".format)
    )


EXPRESSIONS = st.recursive(ATOMS, _compound, max_leaves=12)
TEMPLATES = st.recursive(
    EXPRESSIONS.map("{{{{ {} }}}}".format) | st.just("text "),
    lambda inner: (
        st.tuples(inner, inner).map("".join)
        | st.tuples(EXPRESSIONS, inner).map("{{% for x in {0[0]} %}}{0[1]}{{% endfor %}}".format)
        | st.tuples(EXPRESSIONS, inner, inner).map("{{% if {0[0]} %}}{0[1]}{{% else %}}{0[2]}{{% endif %}}".format)
    ),
    max_leaves=6,
)


def run(program: Program) -> None:
    """Run a program that has no faults, with few steps; what it gives is JSON and as long as the limits allow."""
    budget = Budget(MOST)
    try:
        value = program.run(NAMES, budget)
    except (BudgetError, TypeError, ValueError, ArithmeticError, LookupError):
        return
    assert 0 <= budget.spent <= MOST
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert not isinstance(value, str) or len(value) <= LIMITS.text_chars


@given(TEXTS)
@example("{{ " + "[" * 30 + "]" * 30 + " }}")
@example("{{ a" + ".a" * 3000 + " }}")
@example("{% if 1 %}" * 300 + "{% endif %}" * 300)
@example("{{ " + "9" * 5000 + " }}")
@example("{{ '\\ud800' }}")
@example("{{ '\\x' }}")
def test_any_text_compiles_or_has_faults(text: str) -> None:
    for program in (compile_text(text), compile_text(text, EXPRESSION)):
        assert all(fault.id.startswith("template.") and fault.message for fault in program.faults)
        if not program.faults:
            run(program)


@given(TEMPLATES, EXPRESSIONS)
def test_compiled_expression_ends_within_its_steps(template: str, expression: str) -> None:
    for program in (compile_text(template), compile_text(expression, EXPRESSION)):
        if not program.faults:
            run(program)


@given(EXPRESSIONS)
def test_expression_and_template_agree(expression: str) -> None:
    def outcome(call: Any, text: str) -> tuple[str, Any]:
        try:
            return "value", call(text, NAMES)
        except TemplateProblem as problem:
            return "problem", problem.reason.replace("expression: ", "template: ")

    assert outcome(evaluate, expression) == outcome(render, f"{{{{ {expression} }}}}")
