"""Conditions: their closed form, how they are written and printed."""

from __future__ import annotations

from typing import Any

import pytest

from compozy.base.document import read_document
from compozy.errors import RuleTableError
from compozy.tables.cells import condition_data, condition_words, parse_condition
from compozy.tables.table import ANY, SET, UNSET, Condition, Domain, Interval


def parsed(cell: str) -> Condition:
    return parse_condition(read_document(f"cell: {cell}", "t.yaml").value["cell"])


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        pytest.param("memory", Condition.of(["memory"]), id="value"),
        pytest.param("[a, b]", Condition.of(["a", "b"]), id="list"),
        pytest.param("{is: set}", Condition.of(["set"]), id="literal-word"),
        pytest.param("{in: [unset, a]}", Condition.of(["unset", "a"]), id="literal-list"),
        pytest.param("{not: [a, unset]}", Condition.of(["a", None]).inverted(), id="not"),
        pytest.param("{not: {not: a}}", Condition.of(["a"]), id="not-not"),
        pytest.param("set", SET, id="set"),
        pytest.param("unset", UNSET, id="unset"),
        pytest.param("null", UNSET, id="null"),
        pytest.param("any", ANY, id="any"),
        pytest.param("[unset, false]", Condition.of([None, False]), id="unset-in-list"),
        pytest.param("{above: 1, at_most: 5}", Condition.of(intervals=[Interval(1, 5, True, False)]), id="range"),
        pytest.param(
            "[0, {at_least: 10}]", Condition.of([0], [Interval(10, None)]), id="range-in-list"
        ),
    ],
)  # fmt: skip
def test_a_cell_is_read(cell: str, expected: Condition) -> None:
    """Each form of a cell is read into its closed form."""
    assert parsed(cell) == expected


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        pytest.param("[]", "an empty list never holds", id="empty-list"),
        pytest.param("[[a]]", "a list cannot hold a list", id="nested-list"),
        pytest.param("[{not: a}]", "put `not` around the list", id="not-in-list"),
        pytest.param("[set]", "put `not` around the list", id="set-in-list"),
        pytest.param("{is: a, not: b}", "not a condition", id="two-forms"),
        pytest.param("{equals: a}", "not a condition", id="unknown-form"),
        pytest.param("{}", "not a condition", id="empty-mapping"),
        pytest.param("{is: [a]}", "a single value is expected", id="is-list"),
        pytest.param("{in: a}", "`in` needs a list", id="in-value"),
        pytest.param("{above: a}", "a bound must be a number", id="text-bound"),
        pytest.param("{above: true}", "a bound must be a number", id="boolean-bound"),
        pytest.param("{above: 1, at_least: 2}", "exclude each other", id="two-lower-bounds"),
    ],
)
def test_a_malformed_cell_is_named(cell: str, reason: str) -> None:
    """An invalid cell is refused with its place and fault."""
    with pytest.raises(RuleTableError, match="t.yaml:1:") as caught:
        parsed(cell)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "value", "expected"),
    [
        pytest.param("true", 1, False, id="true-is-not-1"),
        pytest.param("1", True, False, id="1-is-not-true"),
        pytest.param("0", False, False, id="0-is-not-false"),
        pytest.param("1", 1.0, True, id="1-is-1.0"),
        pytest.param("5", "5", False, id="number-is-not-text"),
        pytest.param("{not: a}", None, True, id="not-holds-for-unset"),
        pytest.param("{not: {at_least: 1}}", None, True, id="not-range-holds-for-unset"),
        pytest.param("{at_least: 0}", True, False, id="boolean-is-in-no-range"),
        pytest.param("{above: 1}", 1, False, id="open-bound"),
        pytest.param("{at_least: 1}", 1, True, id="closed-bound"),
        pytest.param("{at_least: 1}", float("nan"), False, id="nan"),
        pytest.param("unset", "unset", False, id="the-word-is-not-the-text"),
    ],
)
def test_a_condition_holds(cell: str, value: Any, expected: bool) -> None:
    """A condition distinguishes values of different types, and negation is the exact complement."""
    assert parsed(cell).matches(value) is expected


def test_conditions_with_true_and_one_differ() -> None:
    """Equality and hash of conditions keep `true` and `1` apart."""
    assert len({Condition.of([True]), Condition.of([1]), Condition.of([1.0])}) == 2


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        pytest.param([(1, 3), (2, 5)], [(1, 5)], id="overlap"),
        pytest.param([(1, 2), (2, 3)], [(1, 3)], id="touch"),
        pytest.param([(3, 4), (1, 2)], [(1, 2), (3, 4)], id="apart"),
        pytest.param([(None, 2), (1, None)], [(None, None)], id="everything"),
        pytest.param([(1, 9), (2, 3)], [(1, 9)], id="inside"),
        pytest.param([(5, 1)], [], id="empty"),
    ],
)
def test_intervals_are_joined(intervals: list[Any], expected: list[Any]) -> None:
    """Intervals that share a point become one; empty ones vanish."""
    joined = Condition.of(intervals=[Interval(*bounds) for bounds in intervals]).intervals
    assert [(interval.low, interval.high) for interval in joined] == expected


def test_touching_open_intervals_stay_apart() -> None:
    """Two intervals that both leave out the point where they meet are not joined."""
    below, above = Interval(1, 2, False, True), Interval(2, 3, True, False)
    assert Condition.of(intervals=[above, below]).intervals == (below, above)


def test_a_value_inside_an_interval_is_not_kept() -> None:
    """A listed number that an interval holds anyway disappears from the closed form."""
    assert Condition.of([3, True], [Interval(1, 5)]).values == (True,)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        pytest.param("any", "-", id="any"),
        pytest.param("set", "set", id="set"),
        pytest.param("[a, unset]", "a or unset", id="list"),
        pytest.param("{not: [a, b]}", "not a nor b", id="not"),
        pytest.param("{above: 1, at_most: 5}", "> 1 and <= 5", id="range"),
        pytest.param('{is: ""}', '""', id="empty-text"),
        pytest.param("{is: set}", '"set"', id="literal-word"),
        pytest.param("[true, 1]", "true or 1", id="boolean"),
        pytest.param("{not: any}", "never", id="never"),
        pytest.param("[{below: 1}, {at_least: 0}]", "any number", id="any-number"),
    ],
)
def test_a_condition_is_put_into_words(cell: str, words: str) -> None:
    """A condition prints short and unmistakable."""
    assert condition_words(parsed(cell)) == words


@pytest.mark.parametrize(
    ("cell", "data"),
    [
        pytest.param("{not: any}", {"not": "any"}, id="never"),
        pytest.param("{is: unset}", {"is": "unset"}, id="literal-word"),
        pytest.param("[{below: 1}, {at_least: 0}]", [{"below": 0}, {"at_least": 0}], id="any-number"),
        pytest.param("{not: [b, a]}", {"not": ["b", "a"]}, id="not"),
    ],
)
def test_a_condition_is_written_back(cell: str, data: Any) -> None:
    """Conditions without a word of their own are still written so that they can be read back."""
    assert condition_data(parsed(cell)) == data


@pytest.mark.parametrize(
    ("domain", "value", "expected"),
    [
        pytest.param(Domain.finite(["a", None]), None, True, id="none-makes-optional"),
        pytest.param(Domain.finite(["a"]), None, False, id="unset"),
        pytest.param(Domain.boolean(), 1, False, id="one-is-no-boolean"),
        pytest.param(Domain.finite([0, 1]), True, False, id="true-is-no-number"),
        pytest.param(Domain.text(), 5, False, id="number-is-no-text"),
        pytest.param(Domain.number(integer=True), 1.5, False, id="fraction-is-no-integer"),
        pytest.param(Domain.number(integer=True), float("inf"), False, id="infinity-is-no-integer"),
        pytest.param(Domain.number(minimum=1, maximum=9), 10, False, id="too-large"),
        pytest.param(Domain.number(), False, False, id="boolean-is-no-number"),
    ],
)
def test_a_domain_knows_its_values(domain: Domain, value: Any, expected: bool) -> None:
    """A domain contains exactly its values."""
    assert domain.contains(value) is expected
