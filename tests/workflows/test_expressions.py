"""The compiler of templates and expressions: names, findings with replacements, results that never vary."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from docs.constructs import CONSTRUCTS, STATEMENTS
from jinja2 import Environment, nodes

from compozy.workflows.expressions.bounds import LIMITS, Budget, TemplateLimits
from compozy.workflows.expressions.compiler import FORMS, compile_text
from compozy.workflows.expressions.functions import OPERATORS
from compozy.workflows.expressions.syntax import EXPRESSION, parsing_steps
from compozy.workflows.expressions.templates import TemplateProblem, WorkExceededError, evaluate, render
from compozy.workflows.model.definition import Definition
from compozy.workflows.run import wire

NAMES: dict[str, Any] = {
    "input": {"n": 4, "user": {"name": "Ada"}, "tags": ["a", "b"]},
    "tasks": {"check": {"output": {"ok": True, "rows": [{"id": 1}]}}, "a-b": {"output": 2}},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("input.n > 3 and tasks.check.output.ok", True, id="condition"),
        pytest.param("tasks.a-b.output - 1", 1, id="dash"),
        pytest.param("input.user", {"name": "Ada"}, id="any-type"),
        pytest.param("input.missing is defined", False, id="undefined"),
        pytest.param("input.tags | length", 2, id="filter"),
        pytest.param("'a}}b'", "a}}b", id="braces-in-a-text"),
        pytest.param("{'a': {'b': 1}}", {"a": {"b": 1}}, id="nested-braces"),
        pytest.param("\n  input.n\n  == 4\n", True, id="lines"),
    ],
)
def test_expression_has_a_value(text: str, value: Any) -> None:
    assert evaluate(text, NAMES) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{{ input.n }}", "without {{ }}", id="braces"),
        pytest.param("input.n }} x {{ input.n", "expected one expression", id="injected"),
        pytest.param("input.n }}", "expected one expression", id="closed-early"),
        pytest.param("", "Expected an expression", id="empty"),
        pytest.param("input.n && true", "write and for &&", id="cel-and"),
        pytest.param("input.n || true", "write or for ||", id="cel-or"),
        pytest.param("!input.n", "write not for !", id="cel-not"),
        pytest.param("input.n ? 1 : 2", "write X if CONDITION else Y", id="cel-conditional"),
        pytest.param("has(input.n)", "write x is defined", id="cel-has"),
        pytest.param("size(input.tags)", "use the filter: | length", id="cel-size"),
        pytest.param("input.user.name.startsWith('A')", "use the filter: | startswith", id="cel-starts-with"),
        pytest.param("input.user.name.contains('A')", "write part in text", id="cel-contains"),
        pytest.param("input.user.name.matches('A.*')", "the method matches()", id="cel-matches"),
    ],
)
def test_expression_is_refused_with_its_replacement(text: str, message: str) -> None:
    program = compile_text(text, EXPRESSION)

    assert any(fault.message.startswith("expression: ") and message in fault.message for fault in program.faults)
    with pytest.raises(TemplateProblem):
        evaluate(text, NAMES)


def test_every_unavailable_construct_is_reported() -> None:
    faults = compile_text("{% set a = 1 %}{{ 'a'.upper() }}{{ 1 | uper }}{{ x[1:] }}").faults

    assert [fault.id for fault in faults] == ["template.construct"] * 4


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("{{ tasks.a.output[0].id ~ input['n'] }}", [("input", "n"), ("tasks", "a", "output", "0", "id")],
                     id="constant-members"),
        pytest.param("{{ tasks.a-b.output }}", [("tasks", "a-b", "output")], id="dash"),
        pytest.param("{{ tasks[input.key].output }}", [("input", "key"), ("tasks",)], id="computed-member"),
        pytest.param("{% for x in input.xs if x > y %}{{ x.b }}{{ loop.index }}{% else %}{{ x }}{% endfor %}{{ loop }}",
                     [("input", "xs"), ("loop",), ("x",), ("y",)], id="loop"),
        pytest.param("{% for input in tasks.a.output %}{{ input.b }}{% endfor %}", [("tasks", "a", "output")],
                     id="shadowed"),
        pytest.param("{% for x in input.xs if loop.first %}{{ x }}{% endfor %}", [("input", "xs"), ("loop", "first")],
                     id="loop-in-its-condition"),
        pytest.param("{{ a if b else c | default(d) }}", [("a",), ("b",), ("c",), ("d",)], id="all-branches"),
    ],
)  # fmt: skip
def test_used_names_are_found_without_running(text: str, names: list[tuple[str, ...]]) -> None:
    assert sorted(compile_text(text).names) == sorted(names)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        pytest.param("{{ [0.1, 0.2, 0.3] | sum }}", 0.6000000000000001, id="sum-from-first-to-last"),
        pytest.param("x{{ [1.0, 1e16, 1e-7, -0.0, 100] }}", "x[1.0, 1e+16, 1e-07, -0.0, 100]", id="numbers-as-text"),
        pytest.param("{{ [0.5 | round, 1.5 | round, 2.675 | round(2)] }}", [0, 2, 2.67], id="round"),
        pytest.param("{{ -0.0 ~ '' }}", "-0.0", id="negative-zero"),
        pytest.param("{{ [3, 1, 3.0, '3', true, 1] | unique }}", [3, 1, 3.0, "3", True], id="unique-keeps-order"),
        pytest.param("{{ {'b': 1, 'a': 2} | keys }}", ["b", "a"], id="keys-keep-order"),
        pytest.param("{{ ['b', 'B', 'ä', 'a'] | sort }}", ["B", "a", "b", "ä"], id="sort-by-code-point"),
        pytest.param("{{ [{'n': 1, 'i': 1}, {'n': 1, 'i': 2}] | max('n') }}", {"n": 1, "i": 1}, id="first-of-equal"),
        pytest.param("{{ [{'n': 1, 'i': 1}, {'n': 1, 'i': 2}] | sort(true, 'n') | map('i') }}", [1, 2], id="stable"),
        pytest.param("{{ [] | first | default('none') }}", "none", id="default-of-an-empty-list"),
        pytest.param("{{ none.a.b | default(1) }}", 1, id="default-of-a-path"),
        pytest.param("{{ .input.n }}{{- .input.n }}", "44", id="leading-dot"),
        pytest.param("{% raw %}{{ tasks.a-b.x }}{% endraw %}{{ 'tasks.a-b.x' }}{{ tasks.a-b.output }}",
                     "{{ tasks.a-b.x }}tasks.a-b.x2", id="dash-in-texts"),
        pytest.param("{{ input.n }}, {{ input.n }}\n", "4, 4\n", id="line-end-after-two-expressions"),
    ],
)  # fmt: skip
def test_result_is_exact(template: str, value: Any) -> None:
    found = render(template, NAMES)

    assert (found, type(found)) == (value, type(value))


def test_results_do_not_depend_on_hash_seeds() -> None:
    text = "{{ ['x', 'y', 'z', 'x'] | unique | tojson ~ ({'k': 1, 'j': 2} | items) ~ tasks }}"
    code = f"from compozy.workflows.expressions.templates import render; print(render({text!r}, {NAMES!r}))"
    shown = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(shown) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{{ 2 ** 0.5 }}", "whole numbers", id="power-of-a-fraction"),
        pytest.param("{{ 2 ** -1 }}", "whole numbers", id="negative-power"),
        pytest.param("{{ ('ΐ' * 1) }}", "needs numbers", id="repetition"),
        pytest.param("{{ input.long | upper }}", "longer than", id="case-mapping"),
        pytest.param("{% for i in range(99) %}{{ input.long }}{% endfor %}", "longer than", id="output"),
        pytest.param("{{ input.quotes | tojson | tojson }}", "longer than", id="quotes"),
        pytest.param("{{ [" + "input.large," * 9000 + "] | tojson }}", "longer than", id="large-numbers"),
        pytest.param("{{ input.n.real }}", '"real" is undefined', id="attribute-of-a-number"),
        pytest.param("{{ input['_' ~ '_class__'] }}", '"__class__" is undefined', id="computed-attribute"),
        pytest.param("{{ input[[1]] }}", "is undefined", id="list-as-key"),
        pytest.param("{{ input.tags['0'] }}", "has no such member", id="text-as-index"),
        pytest.param("{{ input.tags[true] }}", "has no such member", id="boolean-as-index"),
        pytest.param("{{ 1 if false }}", '"else" is undefined', id="no-else"),
        pytest.param("{{ 'a' | truncate('x') }}", "expected a number, not a text", id="argument-of-another-type"),
    ],
)
def test_growth_and_python_members_are_refused(text: str, message: str) -> None:
    inputs = {**NAMES["input"], "long": "ΐ" * 400_000, "quotes": '"\\' * 200_000, "large": 10**4000}

    with pytest.raises(TemplateProblem, match=message):
        render(text, {"input": inputs})


@pytest.mark.parametrize("field", ["template_chars", "depth", "brackets", "text_chars", "number_bits", "steps"])
def test_each_limit_is_the_one_of_the_budget(field: str) -> None:
    text = "{{ ((('a' ~ 'b') | upper) ~ (2 ** 40 + 1)) }}"
    assert render(text, {}) == "AB1099511627777"

    with pytest.raises(TemplateProblem):
        render(text, {}, budget=Budget(limits=replace(LIMITS, **{field: 2})))


def test_start_payload_carries_every_input_of_results() -> None:
    limits = TemplateLimits(**{field.name: index + 1 for index, field in enumerate(fields(LIMITS))})
    definition = Definition("w", "1", "", None, (), {}, "w.yaml", {"id": "w", "tasks": []}, {})

    payload = json.loads(json.dumps(wire.Run(definition, {}, limits=limits).to_json()))

    assert payload["templates"] == {"jinja2": wire.jinja2_version(), **asdict(limits)}
    assert wire.decode_run(payload).limits == limits
    del payload["templates"]
    assert wire.decode_run(payload).limits == LIMITS


def test_steps_are_the_same_for_a_compiled_template() -> None:
    spent = []
    for _ in range(2):
        budget = Budget()
        render("{% for x in input.tags %}{{ x | upper }}{% endfor %}", NAMES, budget=budget)
        spent.append(budget.spent)

    assert spent[0] == spent[1]
    with pytest.raises(WorkExceededError):
        render("{% for x in input.tags %}{{ x | upper }}{% endfor %}", NAMES, budget=Budget(spent[0] - 1))


def test_documented_constructs_compile_and_are_all_of_the_allow_list() -> None:
    expressions = [text for texts in CONSTRUCTS.values() for text in texts]
    assert [compile_text(text, EXPRESSION).faults for text in expressions] == [()] * len(expressions)
    assert [compile_text(text).faults for text in STATEMENTS.values()] == [()] * len(STATEMENTS)

    templates = [*STATEMENTS.values(), *(f"{{{{ {text} }}}}" for text in expressions)]
    shown = {type(node) for text in templates for node in Environment().parse(text).find_all(nodes.Node)}
    assert shown - {nodes.Template, nodes.Name} == {*FORMS, *OPERATORS}


def test_unclosed_quotes_are_searched_once() -> None:
    quotes = '\\"' * 45_000

    assert parsing_steps("{% raw %}{{ " + quotes + "{% endraw %}", "template") > 6 * len(quotes)
    assert parsing_steps("{# {{ " + quotes + "\\ #}", "template") > 6 * len(quotes)


def test_code_counts_in_both_modes() -> None:
    code = "1" + " + 1" * 30

    assert parsing_steps(code, "expression") // len(code) == parsing_steps("{{" + code + "}}", "template") // len(code)


def test_long_programs_are_not_kept() -> None:
    short, long = "{{ input.n }}", "{{ [" + "1," * 3000 + "] }}"

    assert compile_text(short) is compile_text(short)
    assert compile_text(long) is not compile_text(long)


def test_json_is_bounded_before_it_is_made() -> None:
    assert Budget().weigh(10**4000) > 4000
    with pytest.raises(OverflowError):
        Budget().json(["x" * 900_000] * 2)


def test_each_turn_of_a_loop_counts_its_body() -> None:
    def steps(turns: int) -> int:
        budget = Budget()
        loop = f"{{% for i in range({turns}) %}}" + "{% if [" + "i, " * 50 + "] %}{% endif %}{% endfor %}"
        render(loop, {}, budget=budget)
        return budget.spent

    assert steps(20) - steps(10) >= 10 * 100


def test_each_node_counts_with_its_code() -> None:
    text = "{{ " + " and ".join(["input.n"] * 40) + " }}"
    budget = Budget()
    render(text, NAMES, budget=budget)

    assert budget.spent >= sum(1 for _ in Environment().parse(text).find_all(nodes.Node)) >= 40 * 3
