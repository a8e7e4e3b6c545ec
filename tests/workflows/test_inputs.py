"""Inputs of executions against what a definition declares."""

from __future__ import annotations

from typing import Any

import pytest

from compozy.workflows.definition import definition_from_json
from compozy.workflows.inputs import InputError, complete_input

TASKS = [{"id": "t", "type": "aggregate", "output": 1}]
DECLARED = definition_from_json({"id": "w", "tasks": TASKS, "input": {"name": "World", "who": {"required": True}}}, "w")
FREE = definition_from_json({"id": "w", "tasks": TASKS}, "w")


def nested(levels: int) -> Any:
    """Return lists in lists."""
    return [nested(levels - 1)] if levels else 1


def test_defaults_fill_what_is_not_given() -> None:
    """Given values win, defaults complete them."""
    assert complete_input(DECLARED, {"who": 1}) == {"name": "World", "who": 1}


def test_without_a_declaration_any_input_is_taken() -> None:
    """A definition that says nothing about its input takes what comes."""
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
    """Every problem is told at once."""
    with pytest.raises(InputError) as caught:
        complete_input(DECLARED, given)

    assert caught.value.problems == problems
