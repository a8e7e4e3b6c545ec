"""Suggestions at the end of messages."""

from __future__ import annotations

import pytest

from compozy.base.suggest import MOST_SUGGESTIONS, Suggestions, did_you_mean

NAMES = ["unique", "first"]


@pytest.mark.parametrize(
    ("word", "names", "text"),
    [
        pytest.param("uniqe", NAMES, '; did you mean "unique"?', id="like"),
        pytest.param("UNIQUE", NAMES, '; did you mean "unique"?', id="case"),
        pytest.param("tow", ["one", "two"], '; did you mean "two"?', id="short"),
        pytest.param("zzz", NAMES, "; known: unique, first", id="few"),
        pytest.param("zzz", [str(at) for at in range(13)], "", id="many"),
        pytest.param("zzz", [], "", id="none"),
        pytest.param(3, ["30", "4"], '; did you mean "30"?', id="numbers"),
    ],
)
def test_did_you_mean_names_the_nearest_word_or_all_of_few(word: object, names: list[str], text: str) -> None:
    assert did_you_mean(word, names) == text
    assert Suggestions().did_you_mean(word, names) == text


def test_suggestions_of_one_answer_are_bounded() -> None:
    suggestions = Suggestions()
    for _ in range(MOST_SUGGESTIONS):
        assert suggestions.did_you_mean("uniqe", NAMES).startswith("; did you mean")
    assert suggestions.did_you_mean("uniqe", NAMES) == "; known: unique, first"
