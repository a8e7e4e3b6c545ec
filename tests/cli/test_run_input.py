"""The input of `compozy workflow run`: values of `--input`, texts of `--param`, and JSON with `:=`."""

from __future__ import annotations

import pytest

from compozy.cli.run import read_input
from compozy.errors import UsageError
from compozy.workflows.read.loader import definition_from_json

DECLARED = definition_from_json(
    {
        "id": "w",
        "input": {"name": "World", "zip": {"type": "text"}, "n": {"type": "number"}, "free": None},
        "tasks": [{"id": "t", "type": "aggregate", "output": 1}],
    },
    "w",
)


def test_declarations_decide_the_type_of_a_text() -> None:
    """Declared texts stay texts; JSON is taken where it is meant or forced."""
    given = read_input('{"name": "x", "a": 1}', ("name=5", "zip=01234", "n=1e3", "free=7", "tags:=[1]", 'b:="2"'))

    assert given.complete(DECLARED) == {
        "name": "5", "a": 1, "zip": "01234", "n": 1000.0, "free": 7, "tags": [1], "b": "2",
    }  # fmt: skip
    assert given.complete(None)["name"] == 5


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        pytest.param(("name",), "--param name has no value", id="no-value"),
        pytest.param((":=1",), "--param :=1 has no value", id="no-name"),
        pytest.param(("a=1", "a:=2"), "--param a is given twice", id="twice"),
        pytest.param(("a:=x",), "--param a: is not JSON", id="not-json"),
    ],
)
def test_an_unusable_parameter_is_refused(params: tuple[str, ...], reason: str) -> None:
    """Each mistake names the parameter."""
    with pytest.raises(UsageError, match=reason):
        read_input(None, params)
