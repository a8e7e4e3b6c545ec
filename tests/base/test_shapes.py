"""Shapes: what they accept, what they report, and the schema they give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from compozy.base.document import json_node, read_document
from compozy.base.findings import Collector
from compozy.base.place import Place
from compozy.base.shapes import (
    ANY,
    BOOLEAN,
    TEXT,
    Choice,
    Kind,
    ListOf,
    MapOf,
    Named,
    Plain,
    Shape,
    Variants,
    integer,
    matching,
    may,
    need,
    number,
)


@dataclass(frozen=True)
class Pause:
    type: str
    seconds: float
    place: Place


@dataclass(frozen=True)
class Call:
    type: str
    tool: str
    tries: int = 1
    labels: tuple[str, ...] = ()
    given: Any = None
    fast: bool = False
    then: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if self.fast and self.tries > 1:
            raise ValueError("a fast call is tried once")


def step() -> Kind:
    return STEP


STEPS = ListOf(Named("step", step), "a list of steps", least=1)
STEP: Variants[Pause | Call] = Variants(
    "a step",
    "type",
    {
        "pause": Shape(
            "a pause",
            {"type": need(Choice(("pause",))), "for": need(number(0, 60), field="seconds")},
            Pause,
            placed=True,
        ),
        "call": Shape(
            "a call",
            {
                "type": need(Choice(("call",))),
                "tool": need(matching("module:function", r"\w+:\w+", 20), "Function to call."),
                "tries": may(integer(1, 9), default=1),
                "labels": may(ListOf(TEXT, "a list of texts")),
                "with": may(MapOf(ANY, "a mapping", names="[a-z]+"), field="given"),
                "fast": may(BOOLEAN),
                "then": may(STEPS),
            },
            Call,
            free="x-",
            null_unset=True,
        ),
    },
)


def faults(text: str) -> list[str]:
    found = Collector()
    assert STEP.decode(read_document(text, "f"), found) is None
    return [str(finding) for finding in found.findings]


def test_shape_decodes_a_tree_of_records() -> None:
    text = "{type: call, tool: 'a:b', with: {x: [1, {y: 2}]}, fast: null, x-free: 1, then: [{type: pause, for: 1.5}]}"
    record = STEP.decode(read_document(text, "f"), Collector())
    pause = Pause("pause", 1.5, Place("f", 1, 81, 23))
    assert record == Call("call", "a:b", given={"x": [1, {"y": 2}]}, then=(pause,))


@pytest.mark.parametrize(
    ("text", "reports"),
    [
        pytest.param("[1]", ["f:1:1: a step must be a mapping"], id="not-a-mapping"),
        pytest.param("{tool: 'a:b'}", ["f:1:1: a step needs `type`: one of pause, call"], id="no-type"),
        pytest.param("{type: cal}", ['f:1:8: `type` of a step is unknown; did you mean "call"?'], id="unknown-type"),
        pytest.param("{type: [a]}", ["f:1:8: `type` of a step is unknown; known: pause, call"], id="type-is-a-list"),
        pytest.param("{type: pause}", ["f:1:1: a pause needs `for`"], id="missing"),
        pytest.param("{type: call, tool: null}", ["f:1:1: a call needs `tool`"], id="null-is-missing"),
        pytest.param("{type: pause, for: null}", ["f:1:20: `for` of a pause must be a number from 0 to 60"], id="null"),
        pytest.param(
            "{type: pause, for: true}",
            ["f:1:20: `for` of a pause must be a number from 0 to 60"],
            id="boolean",
        ),
        pytest.param(
            "{type: call, tool: 'a:b', tool2: 1, zzzz: 2}",
            [
                'f:1:27: unknown key "tool2" in a call; did you mean "tool"?',
                'f:1:37: unknown key "zzzz" in a call; known: type, tool, tries, labels, with, fast, then',
            ],
            id="unknown-keys",
        ),
        pytest.param(
            "{type: call, tool: 'a:b\n', tries: 10, labels: [a, 2], with: {A: 1}}",
            [
                "f:1:20: `tool` of a call must be module:function",
                "f:2:11: `tries` of a call must be a whole number from 1 to 9",
                "f:2:27: `labels[1]` of a call must be text",
                'f:2:38: the name "A" in `with` of a call must match [a-z]+',
            ],
            id="several-kinds",
        ),
        pytest.param(
            "{type: call, tool: 'a:b', then: []}", ["f:1:33: `then` of a call must be a list of steps"], id="least"
        ),
        pytest.param(
            "{type: call, tool: 'a:b', then: [{type: pause}]}", ["f:1:34: a pause needs `for`"], id="in-a-list"
        ),
        pytest.param(
            "{type: call, tool: 'a:b', tries: 2, fast: true}",
            ["f:1:1: a call: a fast call is tried once"],
            id="sum",
        ),
    ],
)
def test_shape_reports_every_fault_at_its_place(text: str, reports: list[str]) -> None:
    assert faults(text) == reports


def test_shape_reports_paths_for_json_without_lines() -> None:
    found = Collector()
    STEP.decode(json_node({"type": "call", "tool": "a:b", "then": [{"type": "pause", "for": "x"}]}, "body"), found)
    assert [str(one) for one in found.findings] == ["body: then[0].for: `for` of a pause must be a number from 0 to 60"]
    assert found.findings[0].as_json()["where"] == {"kind": "document", "name": "body"}


def test_plain_kind_reports_the_reason_of_its_function() -> None:
    def even(node: Any) -> int:
        if node.value % 2:
            raise ValueError("3 is odd")
        return int(node.value) // 2

    pair: Shape[Any] = Shape("a pair", {"n": need(Plain("even", even, {}))}, dict)
    found = Collector()
    assert pair.decode(read_document("n: 8", "f"), found) == {"n": 4}
    assert pair.decode(read_document("n: 3", "f"), found) is None
    assert [str(one) for one in found.findings] == ["f:1:4: `n` of a pair: 3 is odd"]


VALUES = [
    {"type": "pause", "for": 1},
    {"type": "pause", "for": True},
    {"type": "pause"},
    {"type": "call", "tool": "a:b"},
    {"type": "call", "tool": "a:b", "tries": None, "x-y": 1},
    {"type": "call", "tool": "a:b", "tries": 0},
    {"type": "call", "tool": "ab"},
    {"type": "call", "tool": "a:" + "b" * 20},
    {"type": "call", "tool": "a:b", "labels": ["", "a"]},
    {"type": "call", "tool": "a:b", "labels": ["a"], "with": {"a": [1]}, "then": [{"type": "pause", "for": 60}]},
    {"type": "call", "tool": "a:b", "with": {"A": 1}},
    {"type": "call", "tool": "a:b", "then": []},
    {"type": "call", "tool": "a:b", "then": [{"type": "stop"}]},
    {"type": "call", "tool": "a:b", "other": 1},
]


@pytest.mark.parametrize("value", [pytest.param(value, id=str(at)) for at, value in enumerate(VALUES)])
def test_schema_accepts_the_same_values_as_the_shape(value: Any) -> None:
    validator = Draft202012Validator({"$ref": "#/$defs/step", "$defs": {"step": STEP.schema()}})
    accepted = STEP.decode(json_node(value, "body"), Collector()) is not None
    assert validator.is_valid(value) == accepted
