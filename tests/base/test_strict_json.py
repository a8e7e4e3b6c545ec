"""JSON of users: what a reader would lose is refused, in time that is linear in the text."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

from compozy.base.strict_json import strict_json


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param('{"a": 1, "b": 2, "a": 3}', 'the key "a" twice', id="key-twice"),
        pytest.param('[{"b": {"c": 1, "c": 1}}]', 'the key "c" twice', id="key-twice-below"),
        pytest.param("[NaN]", "NaN is not a JSON number", id="not-a-number"),
        pytest.param("1e999", "1e999 is not a JSON number", id="infinite"),
    ],
)
def test_unsupported_value_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        strict_json(text)


def test_key_given_twice_is_found_by_a_bounded_number_of_calls() -> None:
    """A search for each key took minutes for a body of a megabyte."""
    calls = 0

    def profile(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "c_call"

    text = "{" + "".join(f'"k{number}": 1, ' for number in range(1000)) + '"k999": 1}'
    sys.setprofile(profile)
    try:
        with pytest.raises(ValueError, match='the key "k999" twice'):
            strict_json(text)
    finally:
        sys.setprofile(None)
    assert calls < 500
