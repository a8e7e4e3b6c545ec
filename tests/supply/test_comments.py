"""The measure of comments: which lines count as code and which as comments."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / "tools" / "lint" / "comments.py"


@pytest.fixture(scope="module")
def comments() -> ModuleType:
    spec = importlib.util.spec_from_file_location("comments", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["comments"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('"""Docs.\n\nMore.\n"""\n\n# Why.\nx = 1\n', (1, 1), id="docstring-of-a-module"),
        pytest.param('def f():\n    """Docs."""\n    return 1  # trailing\n', (0, 2), id="trailing-comment"),
        pytest.param('x = """a\n# text\nb"""\n', (0, 3), id="text-of-several-lines-is-code"),
        pytest.param("x = [\n    # Why.\n    1,\n]\n", (1, 3), id="comment-within-brackets"),
        pytest.param("", (0, 0), id="empty"),
    ],
)
def test_count_separates_code_comments_and_docstrings(
    comments: ModuleType, text: str, expected: tuple[int, int]
) -> None:
    assert tuple(comments.count(text)) == expected


def test_share_of_an_empty_module_is_zero(comments: ModuleType) -> None:
    assert comments.count("").share == 0.0
