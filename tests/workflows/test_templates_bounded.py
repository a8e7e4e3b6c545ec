"""Templates that would grow: each one is refused before it takes memory or time, and what is usual is not."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import pytest

from compozy.workflows.growth import FILTERS
from compozy.workflows.templates import TemplateProblem, render

PATIENCE_S = 10.0
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
    "assertion": "{{ 'abcdef'|truncate(1) }}",
}  # fmt: skip


@pytest.mark.parametrize("attempt", [pytest.param(text, id=name) for name, text in ATTEMPTS.items()])
def test_nothing_takes_long(attempt: str) -> None:
    """Whatever multiplies is refused before it is done."""
    began = time.process_time()
    with pytest.raises(TemplateProblem):
        render(attempt, SCOPE)

    assert time.process_time() - began < PATIENCE_S


# Loops take long under a tracer, and throw away what they make.
@pytest.mark.parametrize(
    "attempt", [pytest.param(text, id=name) for name, text in ATTEMPTS.items() if MANY not in text]
)
def test_nothing_takes_much_memory(attempt: str) -> None:
    """Whatever multiplies is refused before it is built."""
    tracemalloc.start()
    try:
        with pytest.raises(TemplateProblem):
            render(attempt, SCOPE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < MEMORY_BYTES


@pytest.mark.parametrize(
    ("template", "value"),
    [
        pytest.param("{{ '{:.2f} {:>5} {}'.format(1.5, 'a', [1]) }}", "1.50     a [1]", id="format"),
        pytest.param("{{ 'a,b'.split(',') | join('; ') }}", "a; b", id="split-join"),
        pytest.param("{{ '-'.join(['a', 'b']).upper().center(7, '*') }}", "**A-B**", id="methods"),
        pytest.param("{{ 'a\tb'.expandtabs(4) | replace('a', 'cc') }}", "cc   b", id="tabs"),
        pytest.param("{{ {'a': 1}.items() }}", [["a", 1]], id="items"),
        pytest.param("{{ {'a': 1}.keys() | list + [{'a': 2}.get('a')] }}", ["a", 2], id="keys-get"),
        pytest.param("{{ 1 < 2 < 3 and not 1 < 2 > 2 }}", True, id="chain"),
        pytest.param("{{ 'a' in 'abc' and 'd' not in ['a'] and 1 is in [1] and 2 is eq 2 }}", True, id="in"),
        pytest.param("{{ [[1], [2]] | sum(start=[]) }}", [1, 2], id="flatten"),
        pytest.param("{{ range(100000) | sum }}", 4_999_950_000, id="sum"),
        pytest.param("{{ range(100000) | map('string') | join | length }}", 488_890, id="long-join"),
        pytest.param("{{ (1, 2) + (3,) }}", [1, 2, 3], id="tuples"),
        pytest.param("{% set a, b = 1, [2] %}{{ a }}{{ b }}", "1[2]", id="unpacking"),
        pytest.param("{% set x %}a{% endset %}{% set y | upper %}b{% endset %}{{ x ~ y ~ 1 }}!", "aB1!", id="blocks"),
        pytest.param("{% filter upper %}a{{ 'b' }}{% endfilter %}", "AB", id="filter-block"),
        pytest.param("{% for c in 'ab' %}{{ loop.index }}{{ loop.cycle('x', 'y') }}{% endfor %}", "1x2y", id="loop"),
        pytest.param("{% macro f(n) %}{{ n.v }}{% endmacro %}{{ f(namespace(v=3)) }}!", "3!", id="macro"),
        pytest.param(
            "{{ " + ROWS + " | selectattr('id', 'gt', 997) | map(attribute='id') | list }}", [998, 999], id="attr"
        ),
        pytest.param("{{ " + ROWS + " | groupby('text') | first | last | length }}", 1000, id="groups"),
        pytest.param("{{ " + TEXT + "[:3] ~ " + TEXT + "[-1:] }}", "aaaa", id="slices"),
        pytest.param("{{ '<a>' | e }}", "&lt;a&gt;", id="escape"),
        pytest.param("{{ 2 ** 100 }}", 2**100, id="large-number"),
        pytest.param("{{ 3.14159 | round(2) }}", 3.14, id="round"),
    ],
)
def test_what_is_usual_works(template: str, value: Any) -> None:
    """Measuring changes no value."""
    assert render(template, SCOPE) == value


def test_many_lookups_in_a_list_are_not_too_much() -> None:
    """A hundred times through a list of a thousand rows."""
    rows = ROWS + "|selectattr('id', 'eq', i)|map(attribute='id')|first"

    found = render("{% for i in range(100) %}{{ " + rows + " }},{% endfor %}", SCOPE)

    assert found == "".join(f"{number}," for number in range(100))


def test_every_filter_has_a_check() -> None:
    """No filter is there without a check of its growth."""
    from compozy.workflows.sandbox import build_environment

    assert {name for name in build_environment().filters if not name.startswith("_")} == set(FILTERS)
