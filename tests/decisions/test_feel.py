"""Unary tests and literals of FEEL: what they hold for, what is refused with reason and fix, and writing them."""

from __future__ import annotations

from typing import Any

import pytest

from compozy.decisions.feel import FeelError, literal_text, parse_literal, parse_tests, unary_text
from compozy.tables.table import ANY, SET, Condition, Interval, Scalar

BACKSLASHED = r'"a \"b\" \\ \n\t\u0041\U01F600"'


@pytest.mark.parametrize(
    ("text", "holds", "fails"),
    [
        pytest.param("-", [1, "a", None, True], [], id="anything"),
        pytest.param(" ", [1, None], [], id="empty"),
        pytest.param('"a"', ["a"], ["b", None, 1], id="text"),
        pytest.param('"a", "b,c"', ["a", "b,c"], ["b", "c"], id="texts"),
        pytest.param("5", [5, 5.0], [4, "5", True, None], id="number"),
        pytest.param("-1.5, .5", [-1.5, 0.5], [1.5], id="decimals"),
        pytest.param("= 5", [5], [4], id="equals"),
        pytest.param("1", [1], [True], id="one-is-not-true"),
        pytest.param("true", [True], [False, 1, "true"], id="boolean"),
        pytest.param("< 5", [4.9, -1e300], [5, None, "4"], id="below"),
        pytest.param("<=5", [5], [5.1], id="at-most"),
        pytest.param("> 5, < 0", [6, -1], [0, 5], id="outside"),
        pytest.param(">= -5", [-5], [-6], id="at-least"),
        pytest.param("[1..5]", [1, 5], [0.9, 5.1], id="closed"),
        pytest.param("(1..5)", [1.1, 4.9], [1, 5], id="open"),
        pytest.param("]1..5[", [1.1, 4.9], [1, 5], id="open-by-brackets"),
        pytest.param("[ 1 .. 5 )", [1, 4.9], [5], id="half-open"),
        pytest.param("[-5..-1], 3", [-5, -1, 3], [0], id="range-and-value"),
        pytest.param('not("a", "b")', ["c", None], ["a", "b"], id="not-texts"),
        pytest.param("not( [1..5], 9 )", [0, 6], [1, 5, 9], id="not-range"),
        pytest.param("null", [None], [0, "", False], id="null"),
        pytest.param("not(null)", [0, ""], [None], id="not-null"),
        pytest.param(BACKSLASHED, ['a "b" \\ \n\tA\U0001f600'], [], id="escapes"),
        pytest.param("1.5e3", [1500], [1.5], id="exponent"),
        pytest.param("9223372036854775807", [9223372036854775807], [9223372036854775806], id="64-bit"),
    ],
)
def test_unary_tests_hold_as_the_standard_specifies(text: str, holds: list[Scalar], fails: list[Scalar]) -> None:
    condition = parse_tests(text)
    assert [value for value in holds if not condition.matches(value)] == []
    assert [value for value in fails if condition.matches(value)] == []


REFUSED = [
    ('date("2026-01-31")', "dates, times and durations are not supported"),
    ('> duration("P1D")', "dates, times and durations are not supported"),
    ('@"2026-01-31"', "dates, times and durations are not supported"),
    ("upper(x)", "the function call upper(...) is not supported"),
    ("true()", "the function call true(...) is not supported"),
    ("limit", "the name limit is not supported"),
    ("not(not(5))", "the function call not(...) is not supported"),
    ("? > 5", "expressions are not supported; unexpected ?"),
    ("5 + 1", "expressions are not supported; unexpected +"),
    ("10 - 5", "expressions are not supported; unexpected -"),
    ("5 6", "expressions are not supported; unexpected 6"),
    ("- 5", "expressions are not supported; unexpected -"),
    ("!= 5", "!= is not supported"),
    ('< "m"', "a comparison or range of something other than numbers"),
    ('["a".."b"]', "a comparison or range of something other than numbers"),
    ("[1..5", "the text ends too early"),
    ("1,", "the text ends too early"),
    ("not(1", "the text ends too early"),
    ('"open', 'expressions are not supported; unexpected "'),
    (r'"\q"', r"the escape \q is not supported"),
    (r'"\ud800"', r"the escape \ud800 is not supported"),
    (r'"\u0000"', "a text with a NUL character"),
    ("0.12345678901234567890", "the number 0.12345678901234567890 has more digits than a 64-bit float holds"),
    ("1e999", "the number 1e999 has more digits than a 64-bit float holds"),
]


@pytest.mark.parametrize(("text", "reason"), [pytest.param(*found, id=found[0]) for found in REFUSED])
def test_text_outside_the_subset_is_refused_with_reason_and_fix(text: str, reason: str) -> None:
    with pytest.raises(FeelError) as error:
        parse_tests(text)
    assert (error.value.reason, bool(error.value.hint)) == (reason, True)


@pytest.mark.parametrize("text", ["-", "1, 2", "< 5", "not(1)", "[1..2]"])
def test_output_entries_are_single_literals(text: str) -> None:
    with pytest.raises(FeelError):
        parse_literal(text)


def test_empty_output_entry_is_null() -> None:
    assert [parse_literal(text) for text in ("", " null ", "-0.0", '"a"')] == [None, None, 0, "a"]


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param(ANY, id="any"),
        pytest.param(SET, id="set"),
        pytest.param(Condition.of(["a", None]), id="values"),
        pytest.param(Condition.of(["a", 'b"\\\n']).inverted(), id="not-values"),
        pytest.param(Condition.of([7], [Interval(1, 2), Interval(3.5, 5, True, True), Interval(9)]), id="ranges"),
        pytest.param(Condition.of([], [Interval()]), id="any-number"),
        pytest.param(Condition.of([7, None], [Interval(None, 2)]).inverted(), id="not-range-nor-unset"),
        pytest.param(Condition.of([0], [Interval(1, 2, True), Interval(5, None)]).inverted(), id="not-ranges"),
    ],
)
def test_written_conditions_are_read_back(condition: Condition) -> None:
    again = parse_tests(unary_text(condition))
    values: list[Any] = [None, "a", 'b"\\\n', "", -1, 0, 1, 1.5, 2, 3.5, 4, 5, 6, 7, 8, 9, 10]
    numbers = [value for value in values if condition.intervals == () or not isinstance(value, str)]
    assert [condition.matches(value) for value in numbers] == [again.matches(value) for value in numbers]


def test_unsatisfiable_condition_is_not_written() -> None:
    with pytest.raises(FeelError):
        unary_text(Condition.of([]))


def test_numbers_are_written_without_exponent() -> None:
    assert [literal_text(number) for number in (1e-7, 1e22, 2.5, -3)] == [
        "0.0000001", "10000000000000000000000", "2.5", "-3",
    ]  # fmt: skip
