"""Any workflow file yields a definition or an error with a place, never a crash."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from compozy.errors import DefinitionError, SyntaxProblem
from compozy.workflows.expressions.templates import TemplateProblem, references, render
from compozy.workflows.model.definition import Definition
from compozy.workflows.read.loader import decode_definition, definition_from_json, parse_definition

WORDS = st.sampled_from(
    ["id", "tasks", "type", "aggregate", "basic", "output", "outputs", "input", "tool", "with", "sleep", "retry"]
    + ["timeout", "a", "b", "1s", "m:f", "{{ tasks.a.output }}", "{{ workflow.input.x }}", "{{", "}}", "{% if", "0"]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    WORDS,
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | WORDS, inner, max_size=5),
    max_leaves=20,
)
IDS = st.sampled_from(["a", "b", "c-d", "e_1"])
TASKS = st.one_of(
    st.fixed_dictionaries({"id": IDS, "type": st.just("aggregate"), "output": JSON}, optional={"sleep": SCALARS}),
    st.fixed_dictionaries(
        {"id": IDS, "type": st.just("basic"), "tool": st.just("m:f")},
        optional={
            "with": st.dictionaries(WORDS, JSON, max_size=2),
            "retry": JSON,
            "timeout": SCALARS,
            "sleep": SCALARS,
        },
    ),
    JSON,
)
NEARLY = st.fixed_dictionaries(
    {"id": IDS | SCALARS, "tasks": st.lists(TASKS, max_size=4)},
    optional={"input": JSON, "outputs": JSON, "version": SCALARS, "description": SCALARS, "x-mine": JSON},
)
SCOPE = {"workflow": {"input": {"x": [1, {"y": "z"}]}}, "tasks": {"a": {"output": {"n": 1}}}}
PIECES = st.lists(
    st.sampled_from(
        [
            "{{",
            "}}",
            "{%",
            "%}",
            "{#",
            "#}",
            " ",
            "for i in ",
            "if ",
            "endfor",
            "endif",
            "set x = ",
            "workflow",
            ".input",
        ]
        + [
            ".x",
            "tasks",
            ".a",
            ".output",
            "[0]",
            "(",
            ")",
            "*",
            "**",
            "+",
            "~",
            "|",
            "list",
            "map('upper')",
            "range(9)",
        ]
        + ["'s'", "9", "0", "1.5", "-", "not ", "is defined", "loop", "namespace()", "{", "}", ":", ",", "macro f(n)"]
    ),
    max_size=14,
).map("".join)


def read(call: Callable[[], Definition]) -> Definition | DefinitionError | SyntaxProblem:
    """Return how reading ended; what was accepted can be stored and read again."""
    try:
        definition = call()
    except (DefinitionError, SyntaxProblem) as error:
        return error
    again = decode_definition(json.loads(json.dumps(definition.to_json())))
    assert again.tasks == definition.tasks
    assert definition_from_json(dict(definition.plain), "g").tasks == definition.tasks
    return definition


@given(st.text() | st.lists(WORDS | st.sampled_from([": ", "\n", "  ", "- ", "[", "]", "{", "}"])).map("".join))
@example("id: a\ntasks: [{id: t, type: aggregate, output: '{{ 1e999 }}'}]")
@example("id: a\ntasks: [{id: t, type: aggregate, output: '" + "{{" + "(" * 400 + "}}'}]")
@example("a: " + "[" * 3000)
@example("id: &a [*a]\ntasks: *a")
@example("\x00")
def test_any_text_is_a_definition_or_an_error(text: str) -> None:
    """Reading ends in one of two ways, and an error names the file."""
    found = read(lambda: parse_definition(text, "f.yaml"))

    assert isinstance(found, Definition) or "f.yaml:" in str(found)


@given(NEARLY)
def test_any_json_is_a_definition_or_an_error(plain: dict[str, Any]) -> None:
    """The JSON form ends in one of two ways too."""
    found = read(lambda: definition_from_json(plain, "f"))

    assert isinstance(found, Definition) or "f" in str(found)


@given(NEARLY)
def test_any_mapping_in_yaml_is_a_definition_or_an_error(plain: dict[str, Any]) -> None:
    """Files that are nearly right end in one of two ways."""
    text = yaml.safe_dump(plain, allow_unicode=True)
    found = read(lambda: parse_definition(text, "f.yaml"))

    assert isinstance(found, Definition) or "f.yaml:" in str(found)


@given(PIECES)
def test_any_template_gives_json_or_a_problem(text: str) -> None:
    """Rendering ends, with a JSON value or with a reason."""
    try:
        references(text)
        value = render(text, SCOPE)
    except TemplateProblem as problem:
        value = problem.reason

    assert json.loads(json.dumps(value, allow_nan=False)) == value
