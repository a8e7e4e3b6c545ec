"""Inputs of executions against what a definition declares."""

from __future__ import annotations

from typing import Any

import pytest

from compozy.errors import DefinitionError
from compozy.workflows.model.input_types import parse_parameter
from compozy.workflows.model.inputs import InputError, complete_input
from compozy.workflows.read.loader import definition_from_json

TASKS = [{"id": "t", "type": "aggregate", "output": 1}]
DECLARED = definition_from_json({"id": "w", "tasks": TASKS, "input": {"name": "World", "who": {"required": True}}}, "w")
FREE = definition_from_json({"id": "w", "tasks": TASKS}, "w")


def nested(levels: int) -> Any:
    """Return lists in lists."""
    return [nested(levels - 1)] if levels else 1


def test_defaults_fill_missing_inputs() -> None:
    """Given values win, defaults complete them."""
    assert complete_input(DECLARED, {"who": 1}) == {"name": "World", "who": 1}


@pytest.mark.parametrize(
    ("declared", "inputs"),
    [
        pytest.param({"type": "integer"}, [("n", None, True, "integer")], id="type"),
        pytest.param({"default": 3, "type": "number"}, [("n", 3, False, "number")], id="default"),
        pytest.param({"description": "How many."}, [("n", None, True, "")], id="description"),
        pytest.param({"name": "x"}, [("n", {"name": "x"}, False, "")], id="data"),
        pytest.param({}, [("n", {}, False, "")], id="empty"),
    ],
)
def test_a_mapping_with_a_key_of_declarations_is_one(declared: Any, inputs: list[Any]) -> None:
    """One key is enough; every other mapping is the default itself."""
    found = definition_from_json({"id": "w", "tasks": TASKS, "input": {"n": declared}}, "w").inputs

    assert [(item.name, item.default, item.required, item.type) for item in found or ()] == inputs


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        pytest.param({"default": 3, "requird": True}, 'did you mean "required"?', id="near"),
        pytest.param({"requird": True}, 'did you mean "required"?', id="only-near"),
        pytest.param({"type": "text", "name": "x"}, "a default that is a mapping is written below default:", id="both"),
        pytest.param({"type": "int"}, "`type` of an input declaration must be text or integer", id="type"),
        pytest.param({"type": "integer", "default": "3"}, "the default is not of the type integer", id="default"),
    ],
)
def test_a_bad_declaration_is_a_finding(declared: Any, problem: str) -> None:
    """A misspelled declaration does not become the default."""
    with pytest.raises(DefinitionError) as caught:
        definition_from_json({"id": "w", "tasks": TASKS, "input": {"n": declared}}, "w")

    assert problem in str(caught.value.findings[0])


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [
        ("integer", 3, True), ("integer", 3.5, False), ("integer", True, False), ("number", 3, True),
        ("text", "3", True), ("string", 3, False), ("boolean", False, True), ("array", [1], True),
        ("mapping", {"a": 1}, True), ("object", [], False), ("integer", None, True),
    ],
)  # fmt: skip
def test_types_are_checked(kind: str, value: Any, fits: bool) -> None:
    """A value of another type than the declared one is refused."""
    flow = definition_from_json({"id": "w", "tasks": TASKS, "input": {"n": {"type": kind}}}, "w")

    if fits:
        assert complete_input(flow, {"n": value}) == {"n": value}
    else:
        with pytest.raises(InputError, match=f'"n" must be of the type {kind}'):
            complete_input(flow, {"n": value})


@pytest.mark.parametrize(
    ("text", "kind", "default", "value"),
    [
        ("01234", "", 3, "01234"), ("+49", "", None, "+49"), ("1e5", "", None, "1e5"), ("null", "", None, "null"),
        ("12", "", None, 12), ("-1.5", "", None, -1.5), ("1.50", "", None, "1.50"), ("true", "", None, True),
        ("yes", "", None, "yes"), ('{"a": 1}', "", None, {"a": 1}), ("[1,2]", "", None, [1, 2]),
        ('"12"', "", None, "12"),
        ("12", "text", None, "12"), ("12", "string", None, "12"), ("12", "", "World", "12"),
        ("1e5", "number", None, 1e5),
        ("x", "integer", None, "x"), ("", "", None, ""), ("NaN", "", None, "NaN"), ("[1", "", None, "[1"),
    ],
)  # fmt: skip
def test_parameters_stay_text_unless_json_is_meant(text: str, kind: str, default: Any, value: Any) -> None:
    """Declared types decide; else only what JSON would write in the same way is JSON."""
    found = parse_parameter(text, kind, default)

    assert (found, type(found)) == (value, type(value))


def test_without_a_declaration_any_input_is_taken() -> None:
    """A definition without declared inputs accepts any input."""
    assert complete_input(FREE, {"x": [1]}) == {"x": [1]}


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        pytest.param({}, ('"who" is required',), id="required"),
        pytest.param(
            {"nam": 1, "zz": 2},
            (
                '"nam" is not declared; did you mean "name"?',
                '"zz" is not declared; declared: name, who',
                '"who" is required',
            ),
            id="all-at-once",
        ),
        pytest.param({"who": "\ud800"}, ("it holds half of a character (a lone surrogate)",), id="surrogate"),
        pytest.param({"who": nested(101)}, ("it is nested deeper than 100 levels",), id="deep"),
        pytest.param([1], ("expected an object of names and values",), id="list"),
        pytest.param(
            {"who": float("nan")},
            ("it is not JSON: Out of range float values are not JSON compliant",),
            id="nan",
        ),
        pytest.param(
            {"who": "x" * 1_001_000}, ("it has 1001011 bytes as JSON; at most 1000000 are taken",), id="large"
        ),
    ],
)
def test_a_bad_input_is_refused(given: Any, problems: tuple[str, ...]) -> None:
    """All problems are reported at once."""
    with pytest.raises(InputError) as caught:
        complete_input(DECLARED, given)

    assert tuple(finding.message for finding in caught.value.findings) == problems


def test_text_of_exactly_the_limit_is_accepted() -> None:
    """Its quotes and the mapping around it are not counted."""
    assert complete_input(DECLARED, {"who": "x" * 1_000_000})["who"] == "x" * 1_000_000
