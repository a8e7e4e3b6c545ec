"""Templates that would grow: each one is refused before it takes memory or work, and what is usual is not."""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import pytest

from compozy.workflows.expressions.bounds import LIMITS, Budget, BudgetError
from compozy.workflows.expressions.functions import FILTERS
from compozy.workflows.expressions.templates import TemplateProblem, WorkExceededError, references, render

MEMORY_BYTES = 150_000_000
LONG = "a" * 900_000
SCOPE: dict[str, Any] = {
    "workflow": {
        "input": {
            "text": LONG,
            "words": ["word"] * 100_000,
            "lists": [[number] for number in range(50_000)],
            "rows": [{"id": number, "text": "x" * 100} for number in range(1000)],
        }
    }
}
TEXT, WORDS, LISTS, ROWS = (f"workflow.input.{name}" for name in ("text", "words", "lists", "rows"))
SHARED = "{% set n = namespace(l=[1], m=[1]) %}{% for i in range(60) %}{% set n.l = [n.l, n.l] %}"
MANY = "{% for i in range(99999) %}"

ATTEMPTS = {
    "replace": "{{ ('a'*20000)|replace('a','b'*20000)|length }}",
    "replace-nothing": "{{ ('a'*20000)|replace('','b'*20000)|length }}",
    "replace-named": "{{ ('a'*20000)|replace(new='b'*20000, old='a')|length }}",
    "replace-escaped": "{{ ('a'*20000)|e|replace('a','<'*40)|length }}",
    "replace-method": "{{ ('a'*20000).replace('a','b'*20000)|length }}",
    "replace-method-of-key": "{{ (('a'*20000)['replace'])('a','b'*20000)|length }}",
    "replace-in-map": "{{ ['a'*20000]|map('replace','a','b'*20000)|list|length }}",
    "map-of-large-texts": "{{ range(99999)|map('replace','1','b'*90000)|list|length }}",
    "join": "{{ range(20000)|join('b'*40000)|length }}",
    "join-text": "{{ ('a'*20000)|join('b'*40000)|length }}",
    "join-named": "{{ range(20000)|join(d='b'*40000)|length }}",
    "join-attribute": "{{ " + ROWS + "|join('b'*40000, attribute='text')|length }}",
    "join-escaped": "{{ ('<'*20)|e|join('<'*200000)|length }}",
    "join-map": "{{ range(99)|map('string')|join('b'*40000)|length }}",
    "join-method": "{{ ('b'*40000).join('a'*20000)|length }}",
    "join-items": "{{ ('b'*40000).join(dict(" + ",".join(f"k{i}=1" for i in range(99)) + ").keys())|length }}",
    "center": "{{ ('<'.center(10**6)|e)|length }}",
    "ljust": "{{ ('<'.ljust(10**6)|e)|length }}",
    "rjust": "{{ ('<'.rjust(10**6)|e)|length }}",
    "padding": "{{ 'a'.ljust(10**9)|length }}",
    "zfill": "{{ '1'.zfill(10**9)|length }}",
    "zfill-in-loop": MANY + "{{ '1'.zfill(10**6)|length }}{% endfor %}",
    "expandtabs": "{{ ('\\t'*100000).expandtabs(10000)|length }}",
    "expandtabs-named": "{{ ('\\t'*100000).expandtabs(tabsize=10000)|length }}",
    "translate": "{{ ('a'*100000).translate({97: 'b'*100000})|length }}",
    "encode": "{{ ('a'*100000).encode('utf-32')|length }}",
    "format": "{{ '{:999999999}'.format(1)|length }}",
    "format-many": "{{ ('{0}'*20000).format('b'*20000)|length }}",
    "format-digits": "{{ '{:.999999999f}'.format(1.5)|length }}",
    "format-nested": "{{ '{:{}}'.format(1, 999999)|length }}",
    "format-map": "{{ ('{a}'*20000).format_map({'a': 'b'*20000})|length }}",
    "format-of-key": "{{ ('a'['format'])()|length }}{{ ('{:999999999}'['format'])(1)|length }}",
    "percent": "{{ '%999999999d' % 1 }}",
    "to-bytes": "{{ (1).to_bytes(10**6)|length }}",
    "fromkeys": "{{ dict.fromkeys(range(99999), 'a')|length }}",
    "times": "{{ ('a'*1000000*1000)|length }}",
    "times-left": "{{ (1000*('a'*1000000))|length }}",
    "times-list": "{{ (['a'*1000]*100000)|length }}",
    "times-nested": "{{ ([[[0]*1000]*1000]*1000)|length }}",
    "times-number": "{{ 2**4000 * 2**4000 }}",
    "power": "{{ 10 ** (10 ** 8) }}",
    "power-twice": "{{ (10 ** 1000) ** (10 ** 8) }}",
    "plus": "{{ (" + TEXT + " + " + TEXT + ")|length }}",
    "tilde": "{{ ('a'*1000000" + "~('a'*1000000)" * 300 + ")|length }}",
    "list-of-texts": "{{ [" + "'a'*1000000," * 300 + "]|length }}",
    "mapping-of-texts": "{{ {" + ",".join(f"'{i}': 'a'*1000000" for i in range(300)) + "}|length }}",
    "arguments": "{{ dict(" + ",".join(f"k{i}='a'*1000000" for i in range(300)) + ")|length }}",
    "lists-of-numbers": "{{ [" + "range(100000)|list," * 300 + "]|length }}",
    "tilde-many": "{% set x = 'a'*1000000 %}{% set y = " + "~".join(["x"] * 300) + " %}",
    "tilde-shared": SHARED + "{% endfor %}{{ (n.l ~ '')|length }}",
    "string-shared": SHARED + "{% endfor %}{{ n.l|string|length }}",
    "equal-shared": SHARED + "{% set n.m = [n.m, n.m] %}{% endfor %}{{ n.l == n.m }}",
    "namespaces": "{% set n = namespace(l=1) %}{% for i in range(60) %}{% set t = namespace() %}"
    "{% set t.a = n.l %}{% set t.b = n.l %}{% set n.l = t %}{% endfor %}{{ n.l|string|length }}",
    "round": "{{ 5|round(-(10**9)) }}",
    "round-up": "{{ 5|round(10**9, 'ceil') }}",
    "number-of-text": "{{ ('f'*1000000)|int(0, 16) // 3 }}",
    "trim": "{{ ('a'*1000000)|trim('b'*999999 ~ 'a')|length }}",
    "strip": "{{ ('a'*1000000).strip('b'*999999 ~ 'a')|length }}",
    "rfind": "{{ ('a'*1000000).rfind('b'~'a'*500000) }}",
    "rsplit": "{{ ('a'*1000000).rsplit('b'~'a'*500000) }}",
    "sum-of-lists": "{{ " + LISTS + "|sum(start=[])|length }}",
    "upper-in-loop": MANY + "{{ " + TEXT + "|upper|length }}{% endfor %}",
    "slice-in-loop": MANY + "{% set x = " + TEXT + "[1:] %}{% endfor %}",
    "slice-of-list-in-loop": MANY + "{% set x = " + WORDS + "[1:] %}{% endfor %}",
    "list-in-loop": MANY + "{% set x = " + WORDS + "|list %}{% endfor %}",
    "sort-in-loop": MANY + "{% set x = " + WORDS + "|sort %}{% endfor %}",
    "equal-in-loop": MANY + "{% set x = " + WORDS + " == " + WORDS + "[:] %}{% endfor %}",
    "in-loop": MANY + "{% set x = 'b' in " + TEXT + " %}{% endfor %}",
    "test-in-loop": MANY + "{% set x = 'b' is in " + TEXT + " %}{% endfor %}",
    "select-in-loop": "{{ " + WORDS + "|select('in', " + TEXT + ")|list|length }}",
    "changed-in-loop": MANY + "{% set x = loop.changed(" + LISTS + "|list) %}{% endfor %}",
    "nested-maps-in-loop": MANY + "{% set x = range(999)" + "|map('string')" * 100 + "|list|length %}{% endfor %}",
    "written-in-loop": MANY + "{{ " + TEXT + " }}{% endfor %}",
    "fixed-in-loop": MANY + "x" * 90_000 + "{% endfor %}",
    "written-often": "{% set x = 'a'*1000000 %}" + "{{ x }}" * 300,
    "captured-often": "{% set x = 'a'*1000000 %}{% set y %}" + "{{ x }}" * 300 + "{% endset %}{{ y|length }}",
    "macro": "{% set x = 'a'*1000000 %}{% macro f() %}" + "{{ x }}" * 300 + "{% endmacro %}{{ f()|length }}",
    "filter-block": "{% set x = 'a'*1000000 %}{% filter upper %}" + "{{ x }}" * 300 + "{% endfilter %}",
    "budget-replaced": "{% set _steps = namespace(take=dict) %}" + MANY * 2 + "{% endfor %}{% endfor %}",
    "autoescape": "{% autoescape true %}{{ '<' * 1000000 }}{% endautoescape %}",
    "tojson-shared": "{{ ([[0]*1000]*1000)|tojson|length }}",
    "written-shared": "x{{ [[0]*1000]*1000 }}",
    "brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "lists": "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "signs": "{{ " + "-" * 5000 + "1 }}",
    "negations": "{{ " + "not " * 5000 + "1 }}",
    "sums": "{{ 1" + "+1" * 5000 + " }}",
    "members": "{{ workflow" + ".a" * 5000 + " }}",
    "branches": "{% if 1 %}" * 5000 + "{% endif %}" * 5000,
    "conditions": "{{ 1 if 1 else " * 50 + "1 " + "}}",
    "digits": "{{ " + "9" * 50_000 + " }}",
    "infinite": "{{ 1e999 }}",
    "complex": "{{ (0 - 8) ** 0.5 }}",
    "number-keys": "{{ {" + ",".join(f"{index * (2**61 - 1)}: 1" for index in range(2000)) + "} }}",
    "arguments-unpacked": "{{ range(*" + WORDS + ") }}",
}
GROWING = {
    "loops": "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
    "replace": "{{ " + TEXT + " | replace('a', 'bbbb') }}",
    "replace-long": "{{ " + TEXT + " | replace('a', '" + "b" * 300 + "') }}",
    "replace-often": "{% for i in range(999) %}{{ (" + TEXT + " | replace('b', 'c')) == 1 }}{% endfor %}",
    "join": "{{ range(20000) | join(" + TEXT + ") }}",
    "join-words": "{% for i in range(999) %}{{ (" + WORDS + " | join('-')) == 1 }}{% endfor %}",
    "split": "{% for i in range(999) %}{{ " + TEXT + " | split('a') | length }}{% endfor %}",
    "split-needle": "{% for i in range(999) %}{{ " + TEXT + " | split('b" + "a" * 99 + "') | length }}{% endfor %}",
    "in-needle": "{% for i in range(999) %}{{ 'b" + "a" * 99 + "' in " + TEXT + " }}{% endfor %}",
    "in-list": "{% for word in " + WORDS + " %}{{ 'x' in " + WORDS + " }}{% endfor %}",
    "lists-of-lists-equal": "{% for i in range(999) %}{{ " + LISTS + " == (" + LISTS + " | list) }}{% endfor %}",
    "equal-texts": "{{ [" + f"{TEXT}," * 200 + "] == [" + f"{TEXT}," * 200 + "] }}",
    "written": "{% for i in range(99) %}{{ " + TEXT + " }}{% endfor %}",
    "written-fixed": "{% for i in range(99999) %}" + "x" * 90_000 + "{% endfor %}",
    "tilde": "{{ " + TEXT + " ~ " + TEXT + " }}",
    "list-of-texts": "{{ [" + ("(" + TEXT + " | upper),") * 200 + "] }}",
    "shared-texts": "{{ [" + f"{TEXT}," * 250 + "] }}",
    "shared-lists": "{% for i in [1] %}{{ [" + f"{WORDS}," * 3000 + "] }}{% endfor %}",
    "shared-in-text": "{% for i in [1] %}x{{ [" + f"{WORDS}," * 3000 + "] }}{% endfor %}",
    "numbers": "{% for i in range(999) %}{{ " + TEXT + " | float(i) }}{% endfor %}",
    "range": "{{ range(10 ** 9) | list }}",
    "ranges": "{{ [" + "range(100000)," * 60 + "] }}",
    "sort-often": "{% for i in range(999) %}{{ " + WORDS + " | sort | length }}{% endfor %}",
    "unique-often": "{% for i in range(999) %}{{ " + WORDS + " | unique | length }}{% endfor %}",
    "map-often": "{% for i in range(999) %}{{ " + ROWS + " | map('text') | length }}{% endfor %}",
    "tojson": "{{ " + WORDS + " | tojson | upper | lower | tojson | tojson | tojson | tojson }}",
    "filters": "{% for i in range(99999) %}{{ " + WORDS + " | reverse | list | length }}{% endfor %}",
    "power": "{{ 10 ** (10 ** 8) }}",
    "product": "{{ (2 ** 4000) * (2 ** 4000) }}",
    "members-of-large-mappings": "{% for i in range(99999) %}{{ workflow.input.words2 | default(1) }}{% endfor %}" * 9,
}  # fmt: skip


ALL = ATTEMPTS | GROWING


@pytest.mark.parametrize("attempt", [pytest.param(text, id=name) for name, text in ALL.items()])
def test_growth_is_refused(attempt: str) -> None:
    """A template that multiplies is refused, at the latest when its budget is spent."""
    with pytest.raises(TemplateProblem):
        render(attempt, SCOPE, budget=Budget(LIMITS.steps // 10))


# Loops take long under a tracer, and throw away what they make.
@pytest.mark.parametrize(
    "attempt", [pytest.param(text, id=name) for name, text in GROWING.items() if "{% for" not in text]
)
def test_growth_takes_bounded_memory(attempt: str) -> None:
    """A template that multiplies is refused before the value is built."""
    tracemalloc.start()
    try:
        with pytest.raises(TemplateProblem):
            render(attempt, SCOPE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < MEMORY_BYTES


@pytest.mark.parametrize(
    ("template", "advice"),
    [
        pytest.param("{% set x = 1 %}", "{% set %} is not available in templates; give the value a task", id="set"),
        pytest.param("{% macro f() %}{% endmacro %}", "{% macro %} is not available", id="macro"),
        pytest.param("{% filter upper %}a{% endfilter %}", "{% filter %} is not available", id="filter-block"),
        pytest.param("{% include 'x' %}", "the construct Include is not available", id="include"),
        pytest.param("{{ 'a'[1:] }}", "a slice is not available in templates; use first, last or truncate", id="slice"),
        pytest.param("{{ 'a'.upper() }}", "the method upper() is not available in templates; use the filter: | upper",
                     id="method"),
        pytest.param("{{ cycler(1) }}", 'the function "cycler" is not available in templates; there is: range',
                     id="function"),
        pytest.param("{{ 1 is even }}", 'the test "even" is not available', id="test"),
        pytest.param("{{ 1 | uper }}", 'the filter "uper" is not available in templates; did you mean "upper"?',
                     id="filter"),
        pytest.param("{{ 'a' | upper(2) }}", "upper: too many positional arguments", id="arguments"),
        pytest.param("{% for a in [] recursive %}{% endfor %}", "such a loop is not available", id="recursive"),
        pytest.param("{% for a, (b, c) in [] %}{% endfor %}", "a loop binds names", id="unpacking"),
    ],
)  # fmt: skip
def test_other_constructs_are_findings(template: str, advice: str) -> None:
    """A construct that is not on the list is named with its replacement, before anything is rendered."""
    assert any(advice in problem for problem in references(template).problems)
    with pytest.raises(TemplateProblem, match=re.escape(advice)):
        render(template, SCOPE)


def test_all_texts_of_a_value_share_one_budget() -> None:
    """A hundred renderings in one list have what one rendering has."""
    turns = "{% for i in range(20000) %}{% endfor %}"

    render([turns], SCOPE)
    with pytest.raises(WorkExceededError, match=f"more than {LIMITS.steps} steps"):
        render([turns] * 100, SCOPE)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        pytest.param("{{ [" + "1," * 5000 + "] }}", 60_000, id="code"),
        pytest.param("{{ '}}' ~ [" + "1," * 5000 + "] }}", 60_000, id="behind-a-text-with-braces"),
        pytest.param("{% if true %}" + "{{ 1 }}" * 2000 + "{% endif %}", 60_000, id="many"),
        pytest.param("{{ 1 }}" + "x, y. " * 15_000 + "{{ 2 }}", 0, id="text"),
    ],
)
def test_parsing_counts_as_work(text: str, steps: int) -> None:
    """The code of a template counts before it is parsed, each time; the text around it hardly does."""
    for _ in range(2):
        budget = Budget()
        render(text, SCOPE, budget=budget)
        assert steps <= budget.spent < steps + 30_000


def test_work_is_the_same_each_time() -> None:
    """The same template and values take the same work, so that a replay ends at the same place."""
    spent = set()
    for _ in range(3):
        budget = Budget()
        render({"rows": "{% for row in " + ROWS + " %}{{ row.id }}{% endfor %}"}, SCOPE, budget=budget)
        spent.add(budget.spent)

    assert len(spent) == 1


def test_a_stopped_budget_ends_the_rendering() -> None:
    """A rendering whose budget is stopped ends at its next step."""
    budget = Budget()
    budget.stop()

    with pytest.raises(BudgetError):
        budget.spend(1)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        pytest.param("{{ 'a,b' | split(',') | join('; ') }}", "a; b", id="split-join"),
        pytest.param("{{ ['a', 'b'] | join('-') | upper }}", "A-B", id="join-upper"),
        pytest.param("{{ {'a': 1} | items }}", [["a", 1]], id="items"),
        pytest.param("{{ [{'a': 1} | keys, {'a': 2} | values, {'a': 2}.a] }}", [["a"], [2], 2], id="keys"),
        pytest.param("{{ 1 < 2 < 3 and not 1 < 2 > 2 }}", True, id="chain"),
        pytest.param("{{ 'a' in 'abc' and 'd' not in ['a'] and 'k' in {'k': 1} }}", True, id="in"),
        pytest.param("{{ range(100000) | sum }}", 4_999_950_000, id="sum"),
        pytest.param("{{ range(100000) | join | length }}", 488_890, id="long-join"),
        pytest.param("{{ (1, 2) }}", [1, 2], id="tuple"),
        pytest.param("{% for c in 'ab' %}{{ loop.index }}{{ loop.last }}{% endfor %}", "1false2true", id="loop"),
        pytest.param("{% for k, v in {'a': 1} | items %}{{ k }}{{ v }}{% endfor %}", "a1", id="pairs"),
        pytest.param("{% for x in [1, 2, 3] if x > 1 %}{{ x }}{% else %}no{% endfor %}", "23", id="loop-if"),
        pytest.param("{% for x in [] %}{{ x }}{% else %}none{% endfor %}", "none", id="loop-else"),
        pytest.param("{% if 0 %}a{% elif 1 %}b{% else %}c{% endif %}", "b", id="if"),
        pytest.param("{{ " + ROWS + " | map(attribute='id') | last }}", 999, id="map"),
        pytest.param("{{ " + TEXT + " | truncate(3) }}", "aa…", id="truncate"),
        pytest.param("{{ [3, 1, 2, 1] | unique | sort(reverse=true) }}", [3, 2, 1], id="sort"),
        pytest.param("{{ [{'n': 2}, {'n': 1}] | min(attribute='n') }}", {"n": 1}, id="min"),
        pytest.param("{{ [[1], [2]] | reverse | first }}", [2], id="reverse"),
        pytest.param(
            "{{ ['12' | int, '1.5' | float, 'x' | int(default=0), 3 | string] }}", [12, 1.5, 0, "3"], id="int"
        ),
        pytest.param("{{ 2 ** 100 }}", 2**100, id="large-number"),
        pytest.param("{{ 3.14159 | round(2) }}", 3.14, id="round"),
        pytest.param("{{ 7 // 2 - -1 }}", 4, id="arithmetic"),
        pytest.param("{{ ' a ' | trim ~ 1 ~ none }}", "a1null", id="tilde"),
        pytest.param("{{ 'a' if workflow.input.zz is defined else 'b' }}", "b", id="defined"),
        pytest.param("{{ none is none and 1 is not none }}", True, id="none"),
        pytest.param("{# comment #}{% raw %}{{ x }}{% endraw %}", "{{ x }}", id="raw"),
    ],
)
def test_usual_constructs_work(template: str, value: Any) -> None:
    """Constructs of the list give these values."""
    assert render(template, SCOPE) == value


def test_many_lookups_in_a_list_are_not_too_much() -> None:
    """A loop of a hundred turns through a list of a thousand rows is within the budget."""
    rows = "{% for row in " + ROWS + " if row.id == i %}{{ row.id }},{% endfor %}"

    found = render("{% for i in range(100) %}" + rows + "{% endfor %}", SCOPE)

    assert found == "".join(f"{number}," for number in range(100))


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_counts_its_work(name: str) -> None:
    """No filter works on a large value for nothing."""
    for value in (LONG, ["word"] * 100_000, list(range(100_000)), {str(number): 1 for number in range(100_000)}):
        budget = Budget(2)
        if name in ("float", "int", "round", "length", "first", "last") or (
            name == "string" and isinstance(value, str)
        ):
            continue
        with pytest.raises((BudgetError, TypeError, LookupError, OverflowError)):
            FILTERS[name].call(budget, value, *{"replace": ("a", "b"), "map": ("x",)}.get(name, ()))
