"""Escaping of control characters."""

from __future__ import annotations

import json

import pytest

from compozy.base.control import escape_control, escape_json, escape_line

HOSTILE = [
    pytest.param("\x1b[31m", r"\x1b[31m", id="escape"),
    pytest.param("\a", r"\x07", id="bell"),
    pytest.param("safe\rfake", r"safe\rfake", id="carriage-return"),
    pytest.param("\x9b2J", r"\x9b2J", id="c1"),
    pytest.param("\x7f", r"\x7f", id="delete"),
    pytest.param("\u202ecod.exe", r"\u202ecod.exe", id="bidi-override"),
    pytest.param("\u2066x\u2069", r"\u2066x\u2069", id="bidi-isolate"),
    pytest.param("\u2028", r"\u2028", id="line-separator"),
    pytest.param("\udc80", r"\udc80", id="surrogate"),
    pytest.param("\U000e0041", r"\U000e0041", id="tag"),
]


@pytest.mark.parametrize(("text", "escaped"), HOSTILE)
def test_escape_control_replaces_terminal_sequences(text: str, escaped: str) -> None:
    assert escape_control(f"a\t{text}\nb") == f"a\t{escaped}\nb"


@pytest.mark.parametrize("text", ["Grüße", "日本語", "👩\u200d🚀", "می\u200cخواهم", "a\tb\nc"])
def test_escape_control_keeps_ordinary_text(text: str) -> None:
    assert escape_control(text) == text


def test_escape_line_yields_a_single_line() -> None:
    assert escape_line("a\nb\tc") == r"a\nb\tc"


@pytest.mark.parametrize(("text", "escaped"), HOSTILE)
def test_escape_json_keeps_the_value_of_the_document(text: str, escaped: str) -> None:
    document = escape_json(json.dumps({"text": text}, ensure_ascii=False, indent=2))
    assert json.loads(document) == {"text": text}
    assert escape_control(document) == document
