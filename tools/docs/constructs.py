"""The reference page of templates and expressions, from the tables of their compiler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from inspect import Parameter, signature

from compozy.workflows.expressions.bounds import LIMITS
from compozy.workflows.expressions.functions import FILTERS, FUNCTIONS, Function
from docs.pages import MADE, table_row

CONSTRUCTS = {
    "names, members, items": ("input.user.name", "tasks.a.output[0]", 'input["a-b"]', "input.rows[input.n].name"),
    "literals": ("1.5", '"text"', "true", "none", "[1, 2]", '{"key": 1}', "(1, 2)"),
    "comparisons": (
        "input.n < 3 <= 4",
        "input.a == input.b",
        '"x" in input.tags',
        "input.a is defined",
        "input.a is none",
    ),
    "boolean operators": ("input.a and not input.b", "input.a or input.b"),
    "conditional expressions": ('"a" if input.n > 1 else "b"',),
    "arithmetic on numbers": ("1 + 2", "3 - +1", "-2 * 3", "1 / 2", "7 // 2", "7 % 2", "2 ** 8"),
    "concatenation as text": ('"n" ~ 1',),
    "filters and functions": ("input.name | upper", "range(3)"),
}
STATEMENTS = {
    "conditions": "{% if input.n > 1 %}many{% elif input.n %}one{% else %}none{% endif %}",
    "loops": "{% for row in input.rows if row.n > 1 %}{{ loop.index }}: {{ row.n }}{% else %}none{% endfor %}",
    "loops over pairs": "{% for key, value in input.user | items %}{{ key }}={{ value }}{% endfor %}",
}
_INTRODUCTION = """
# Templates and expressions

[Workflow files](../workflows.md#templates) use one language in two forms: a template is a text with `{{ expression }}`
and `{% statement %}`, a condition is an expression without braces. The syntax is that of Jinja2, restricted to the
constructs below. Any other construct is a finding that names a replacement.

Values are JSON. `a.b` and `a["b"]` look up a key of a mapping, `a[0]` an item of a list or a character of a text;
attributes and methods of Python do not exist. `default` and `is defined` accept names and members that do not exist;
everywhere else they are errors.

## Constructs

| construct | examples |
|---|---|
"""
_FILTERS = """
## Filters

`value | filter(argument)`. A filter raises an error for a value of another type.

| filter | result |
|---|---|
"""
_FUNCTIONS = """
## Functions

| function | result |
|---|---|
"""
_LIMITS = {
    "template_chars": "characters of one template or expression",
    "depth": "levels of nested constructs",
    "brackets": "levels of nested brackets",
    "text_chars": "characters of a text that an expression, a filter or a template gives",
    "number_bits": "bits of a whole number that a calculation gives",
    "steps": "steps of all templates of one value",
    "inline_steps": "steps inside the workflow between two pauses; more are computed in an activity, and recorded",
    "inline_steps_total": "steps inside the workflow of one execution, because a replay repeats them",
}
_BOUNDS = """
## Limits

Steps are counted before the work is done, and depend on template and values alone: a node of the syntax tree in each
turn of a loop, a quarter of an item of a new list, sixteen characters of a text, one sixth of a character of code.
Larger computations belong in a tool. The start payload of an execution carries the limits and the version of Jinja2: an
execution keeps its limits, and a worker with another version of Jinja2 logs `execution.jinja2_changed`.

| limit | value | what it bounds |
|---|---|---|
"""
_RESULTS = """
## Results

- Clocks, random numbers and sets are not available: a template gives the same result for the same values on every
  machine. Lists and mappings keep their order; `sort` compares numbers, or texts by code point.
- Numbers are written in the shortest form that reads back as the same number. `sum` adds from first to last; `round`
  rounds halves to the even number; `**` takes whole numbers, the second of which is not negative.
- `upper` and `lower` follow the Unicode version of Python, and may make a text longer.

## Other languages

| written | replacement |
|---|---|
| `a && b`, `a \\|\\| b`, `!a` | `a and b`, `a or b`, `not a` |
| `a ? b : c` | `b if a else c` |
| `has(a.b)` | `a.b is defined` |
| `size(a)`, `a.size()` | `a \\| length` |
| `a.startsWith(b)`, `a.endsWith(b)` | `a \\| startswith(b)`, `a \\| endswith(b)` |
| `a.contains(b)` | `b in a` |
| `{{ .input.name }}` | accepted; the same as `{{ input.name }}` |
"""


def expressions_page() -> str:
    """Return the reference page of templates and expressions."""
    rows = [table_row((name, ", ".join(f"`{text}`" for text in texts))) for name, texts in CONSTRUCTS.items()]
    rows += [table_row((name, f"`{text}`")) for name, text in STATEMENTS.items()]
    limits = [table_row((f"`{name}`", f"{value:,}", _LIMITS[name])) for name, value in asdict(LIMITS).items()]
    tables = [_INTRODUCTION, *rows, _FILTERS, *_calls(FILTERS, 2), _FUNCTIONS, *_calls(FUNCTIONS, 1), _BOUNDS, *limits]
    return "\n".join([MADE, *(text.rstrip() for text in (*tables, _RESULTS))]) + "\n"


def _calls(functions: Mapping[str, Function], first: int) -> Iterator[str]:
    """Yield a row for each function; `first` is the position of its first written parameter."""
    for name, function in sorted(functions.items()):
        parameters = list(signature(function.call).parameters.values())[first:]
        written = f"({', '.join(map(_parameter, parameters))})" if parameters else ""
        yield table_row((f"`{name}{written}`", function.about))


def _parameter(parameter: Parameter) -> str:
    usual = parameter.default
    if not isinstance(usual, (bool, int, str)):
        return parameter.name
    return f"{parameter.name}={str(usual).lower() if isinstance(usual, bool) else repr(usual)}"
