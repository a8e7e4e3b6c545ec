"""Decision diagrams agree with evaluating the functions that they stand for, and are bounded."""

from __future__ import annotations

from itertools import product
from operator import add
from random import Random

import pytest

from compozy.tables.cover import OutOfStepsError
from compozy.tables.diagram import Diagram, DiagramNode, Diagrams, assignments, values_of
from compozy.tables.table import ColumnSource

SIZES = (2, 3, 2)


def random_function(diagrams: Diagrams, random: Random, level: int = 0) -> Diagram:
    """Return a diagram over variables of `SIZES`; some of its values are not feasible."""
    if level == len(SIZES):
        return random.choice([None, 1, 2, 4])
    children = [random_function(diagrams, random, level + 1) for _ in range(SIZES[level])]
    return diagrams.node(level, tuple(children))


def value(diagram: Diagram, choices: tuple[int, ...]) -> object:
    while isinstance(diagram, DiagramNode):
        diagram = diagram.children[choices[diagram.level]]
    return diagram


@pytest.mark.parametrize("seed", range(20))
def test_combined_and_mapped_functions_agree_with_evaluation(seed: int) -> None:
    diagrams, random = Diagrams(1_000), Random(seed)
    first, second = random_function(diagrams, random), random_function(diagrams, random)
    combined = diagrams.combined(first, second, add)
    mapped = diagrams.mapped(first, lambda number: number % 2)
    for choices in product(*map(range, SIZES)):
        one, other = value(first, choices), value(second, choices)
        assert value(combined, choices) == (None if one is None or other is None else one + other)  # type: ignore[operator]
        assert value(mapped, choices) == (None if one is None else one % 2)  # type: ignore[operator]


@pytest.mark.parametrize("seed", range(20))
def test_assignments_lead_to_each_feasible_value(seed: int) -> None:
    function = random_function(Diagrams(1_000), Random(seed))
    members = {
        level: [((ColumnSource("setting", str(level)), number),) for number in range(size)]
        for level, size in enumerate(SIZES)
    }
    found = assignments(function, members)
    assert sorted(found) == sorted(values_of(function))
    for expected, assignment in found.items():
        chosen = {int(source.ref): number for source, number in assignment}
        for choices in product(*map(range, SIZES)):
            if all(choices[level] == number for level, number in chosen.items()):
                assert value(function, choices) == expected


def test_equal_functions_are_one_object_and_indifferent_variables_are_left_out() -> None:
    diagrams = Diagrams(1_000)
    assert diagrams.node(0, (7, 7)) == 7
    assert diagrams.node(0, (1, 2)) is diagrams.node(0, (1, 2))
    assert diagrams.node(0, ()) is None


def test_an_operation_beyond_its_steps_raises() -> None:
    diagrams = Diagrams(2)
    first, second = diagrams.node(0, (1, 2)), diagrams.node(1, (diagrams.node(2, (1, 2)), diagrams.node(2, (4, 8))))
    with pytest.raises(OutOfStepsError):
        diagrams.combined(first, second, add)
