"""The lint of phrases: what it finds, and what an exception needs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def phrases() -> ModuleType:
    spec = importlib.util.spec_from_file_location("phrases", ROOT / "tools" / "lint" / "phrases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["phrases"] = module
    spec.loader.exec_module(module)
    return module


def test_avoided_phrase_is_found_with_its_line_and_a_replacement(phrases: ModuleType) -> None:
    (hit,) = phrases.hits("a.md", "A lock.\nNobody holds it.\n")
    assert (hit.path, hit.line, hit.phrase) == ("a.md", 2, "nobody")
    assert hit.instead


@pytest.mark.parametrize("text", ["`nobody` is a word of the format", "a body", "retold", "see https://x/by%20hand"])
def test_other_words_and_quoted_words_are_not_found(phrases: ModuleType, text: str) -> None:
    assert list(phrases.hits("a.md", text)) == []


def test_exception_needs_a_reason(phrases: ModuleType) -> None:
    assert phrases.allowed("# comment\ndocs/x.md: gone # HTTP 410\n") == {("docs/x.md", "gone"): "HTTP 410"}
    with pytest.raises(ValueError, match="reason"):
        phrases.allowed("docs/x.md: gone\n")


def test_exceptions_are_bounded(phrases: ModuleType) -> None:
    with pytest.raises(ValueError, match="at most 20"):
        phrases.allowed("a: gone # reason\n" * 21)
