"""Templates: values keep their type, names must exist, nothing runs away."""

from __future__ import annotations

from typing import Any

import pytest

from compozy.workflows.expressions.templates import References, TemplateProblem, references, render

SCOPE = {
    "workflow": {
        "id": "w",
        "input": {"name": "Ada", "n": 3, "items": [1, 2], "none": None, "user": {"keys": "k"}},
    },
    "tasks": {"a-b": {"output": {"x": 1.5}}, "plain": {"output": True}},
}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        pytest.param("text", "text", id="no-template"),
        pytest.param(5, 5, id="number"),
        pytest.param(None, None, id="null"),
        pytest.param("{{ workflow.input.n }}", 3, id="number-kept"),
        pytest.param("  {{ workflow.input.items }}\n", [1, 2], id="list-kept"),
        pytest.param("{{ tasks.plain.output }}", True, id="boolean-kept"),
        pytest.param("{{ workflow.input.none }}", None, id="null-kept"),
        pytest.param("{{ '12' }}", "12", id="text-stays-text"),
        pytest.param("{{ workflow.input.n * 2 > 5 }}", True, id="expression"),
        pytest.param("n={{ workflow.input.n }}", "n=3", id="mixed-is-text"),
        pytest.param("{{ workflow.input.n }}{{ workflow.input.n }}", "33", id="two-are-text"),
        pytest.param("is {{ tasks.plain.output }} {{ none }}", "is true null", id="json-in-text"),
        pytest.param("{{ workflow.input.user }}!", '{"keys": "k"}!', id="mapping-in-text"),
        pytest.param("{{ workflow.input.user.keys }}", "k", id="key-before-method"),
        pytest.param("{{ tasks.a-b.output.x }}", 1.5, id="dash"),
        pytest.param("{{ tasks.a-b.output.x - 1 }} tasks.a-b.output", "0.5 tasks.a-b.output", id="dash-minus"),
        pytest.param("{{ workflow.input.items | reverse }}", [2, 1], id="list-filter"),
        pytest.param("{% for i in range(3) %}{{ i }}{% endfor %}", "012", id="loop"),
        pytest.param("{{ {'b': 'é'} | tojson }}{{ '' }}", '{"b": "é"}', id="tojson"),
        pytest.param("{{ workflow.input.nme | default('x') }}", "x", id="default"),
        pytest.param("a\n", "a\n", id="line-end-kept"),
        pytest.param({"k": ["{{ workflow.id }}"]}, {"k": ["w"]}, id="nested"),
    ],
)
def test_rendering(template: Any, value: Any) -> None:
    """A template gives exactly this value, of this type."""
    found = render(template, SCOPE)

    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        pytest.param("{{ workflow.input.nam }}", '"nam" is undefined; did you mean "name"?', id="input"),
        pytest.param("x{{ tasks.zz.output }}", '"zz" is undefined; there are: a-b, plain', id="task"),
        pytest.param("{{ nothing }}", '"nothing" is undefined', id="name"),
        pytest.param("{{ ''.__class__ }}", "__class__.* is undefined: a text has no such member", id="dunder"),
        pytest.param("{{ workflow.input.items.append(3) }}", "the method append", id="mutation"),
        pytest.param("{{ workflow.input.items.append }}", "a list has no such member", id="method"),
        pytest.param("{{ range }}", '"range" is undefined', id="function"),
        pytest.param("{{ {1: 2} }}", "expected a text, not a number", id="number-key"),
        pytest.param("{{ 1e308 * 10 }}", "not a finite number", id="infinite"),
        pytest.param("{{ 'a' * 10**9 }}", r"\* needs numbers, not a text", id="repetition"),
        pytest.param("{{ [0] * 10**9 }}", r"\* needs numbers, not a list", id="long-list"),
        pytest.param("{{ 10 ** (10 ** 8) }}", "too large", id="power"),
        pytest.param("{{ range(10 ** 9) | list }}", "steps", id="range"),
        pytest.param("{{ 'a'.ljust(10 ** 9) }}", "the method ljust", id="padding"),
        pytest.param("{{ '%999999999d' % 1 }}", "% needs numbers", id="format"),
        pytest.param(
            "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
            "steps",
            id="loops",
        ),
        pytest.param(
            "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(90) }}",
            "macro",
            id="recursion",
        ),
        pytest.param(
            "{% set ns = namespace(s='ab') %}{% for i in range(90) %}{% set ns.s=ns.s~ns.s %}{% endfor %}",
            "{% set %}",
            id="doubling",
        ),
        pytest.param(
            "{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}",
            "{% set %}",
            id="sharing",
        ),
    ],
)
def test_rendering_fails_with_a_reason(template: str, reason: str) -> None:
    """Undefined names, unsafe access, non-JSON and oversized results end quickly as a problem."""
    with pytest.raises(TemplateProblem, match=reason) as caught:
        render({"k": template}, SCOPE, "tasks.t.output")

    assert caught.value.path == "tasks.t.output.k"


def test_references_are_found_without_rendering() -> None:
    """Inputs and tasks are named once each, loop variables are not unknown."""
    text = "{% for x in tasks.a.output %}{{ x }}{{ workflow.input.n }}{{ tasks['b'].output }}{% endfor %}"

    assert references(text) == References(inputs=("n",), tasks=("a", "b"), faults=())
