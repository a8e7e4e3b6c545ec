"""Tests poll for what they wait for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SLEEPS = {"asyncio.sleep", "time.sleep"}
FOR_EVER_S = 60
LOOPS = (ast.While, ast.For, ast.AsyncFor)


def fixed_sleeps(node: ast.AST) -> Iterator[int]:
    """Yield the lines of sleeps outside a loop; those of no time, or of longer than any test, wait for no condition."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, LOOPS):
            continue
        if isinstance(child, ast.Call) and ast.unparse(child.func) in SLEEPS and child.args:
            seconds = child.args[0].value if isinstance(child.args[0], ast.Constant) else FOR_EVER_S
            if isinstance(seconds, int | float) and 0 < seconds < FOR_EVER_S:
                yield child.lineno
        yield from fixed_sleeps(child)


def test_tests_have_no_fixed_sleeps() -> None:
    found = {
        f"{file.relative_to(ROOT)}:{line}"
        for folder in ("tests", "property_tests")
        for file in (ROOT / folder).rglob("*.py")
        for line in fixed_sleeps(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert found == set()
