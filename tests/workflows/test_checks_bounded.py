"""Checks of definitions and inputs do work in proportion to their text, on threads of their own."""

from __future__ import annotations

import asyncio
import difflib
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from compozy.base.document import read_document
from compozy.base.suggest import MOST_SUGGESTIONS, closest
from compozy.errors import DefinitionError, SyntaxProblem
from compozy.workflows.catalogue import exported_definitions
from compozy.workflows.checks import BusyError, Checks
from compozy.workflows.model.definition import MAX_PROBLEM_LENGTH, MAX_PROBLEMS
from compozy.workflows.model.inputs import InputError, complete_input
from compozy.workflows.read.loader import definition_from_json

MANY = 1500
TASK = {"id": "a", "type": "aggregate", "output": 1}


def compared(work: Callable[[], Any]) -> int:
    """Return how many words `work` compares."""
    count = 0

    def profile(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        count += event == "call" and frame.f_code is difflib.SequenceMatcher.set_seq1.__code__

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def rejected(plain: Any) -> tuple[str, ...]:
    """Return the problems of a definition."""
    with pytest.raises(DefinitionError) as caught:
        definition_from_json(plain, "d")
    return tuple(str(finding) for finding in caught.value.findings)


def unknown_tasks() -> Any:
    output = "{{ tasks.tazk_%d.output }}"
    return {"id": "x", "tasks": [{**TASK, "id": f"task_{i}", "output": output % i} for i in range(MANY)]}


@pytest.mark.parametrize(
    "plain",
    [
        pytest.param({"id": "x", "tasks": [TASK], **{f"taskz{i}": 1 for i in range(MANY)}}, id="keys"),
        pytest.param(
            {"id": "x", "tasks": [{**TASK, "id": f"t{i}", "type": "agregate"} for i in range(MANY)]}, id="types"
        ),
        pytest.param(unknown_tasks(), id="references"),
    ],
)
def test_definition_reports_bounded_number_of_problems(plain: Any) -> None:
    problems = rejected(plain)

    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1] == "d: more than 100 problems; fix these first"
    assert 0 < sum("did you mean" in problem for problem in problems) <= MOST_SUGGESTIONS


def test_import_reports_bounded_number_of_problems() -> None:
    with pytest.raises(DefinitionError) as caught:
        exported_definitions({"workflows": [{"id": f"w{i}"} for i in range(MANY)]})

    assert len(caught.value.findings) == MAX_PROBLEMS + 1


def test_input_reports_bounded_number_of_problems() -> None:
    definition = definition_from_json(
        {"id": "x", "input": {f"input_{i}": 1 for i in range(MANY)}, "tasks": [TASK]}, "d"
    )

    with pytest.raises(InputError) as caught:
        complete_input(definition, {f"imput_{i}": 1 for i in range(MANY)})

    problems = [finding.message for finding in caught.value.findings]
    assert len(problems) == MAX_PROBLEMS + 1
    assert sum("did you mean" in problem for problem in problems) == MOST_SUGGESTIONS
    assert problems[-2].endswith("; declared: " + ", ".join(f"input_{i}" for i in range(20)) + ", ...")


def test_problem_quotes_long_text_shortened() -> None:
    with pytest.raises(DefinitionError) as caught:
        definition_from_json({"id": "x", "tasks": [TASK], "k" * 100_000: 1}, "d")

    (found,) = caught.value.findings
    assert (len(found.message), len(found.key)) == (MAX_PROBLEM_LENGTH, MAX_PROBLEM_LENGTH)


@pytest.mark.parametrize("length", [10, 90])
def test_suggestion_compares_a_bounded_number_of_words(length: int) -> None:
    known = [f"{'a' * length}{i}" for i in range(50_000)]

    assert compared(lambda: closest("a" * (length - 1) + "bc", known)) <= 500_000 / length**2


@pytest.mark.parametrize("repeated", [1, 400])
def test_anchors_expand_in_proportion_to_the_text(repeated: int) -> None:
    text = f"a: &a [{', '.join(['1'] * 400)}]\nb: [{', '.join(['*a'] * repeated)}]\n"

    if repeated == 1:
        plain: Any = read_document(text, "f").plain()
        assert plain["b"] == [[1] * 400]
    else:
        with pytest.raises(SyntaxProblem, match=f"more than {1000 + len(text)} values"):
            read_document(text, "f")


def test_checks_run_on_threads_of_their_own_and_refuse_more_than_they_hold() -> None:
    gate, checks = threading.Event(), Checks(most=3)

    async def scenario() -> tuple[str, str]:
        waiting = [asyncio.ensure_future(checks.run(gate.wait)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError) as caught:
            await checks.run(int)
        waiting[0].cancel()  # its thread is still at work, so it still counts
        await asyncio.wait(waiting[:1])
        with pytest.raises(BusyError):
            await checks.run(int)
        gate.set()
        await asyncio.wait(waiting[1:])
        return caught.value.message, await checks.run(lambda: threading.current_thread().name)

    message, thread = asyncio.run(scenario())
    checks.close()

    assert message == "3 checks of definitions and inputs are waiting"
    assert thread.startswith("compozy-checks")
