"""Names of the engine: each module and class has its own, to be found by searching for it; few types are `Any`."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

PACKAGE = Path(__file__).parents[2] / "engine" / "compozy"
# Commands are named by their verb; migrations keep frozen copies of the models of their time.
NOT_COUNTED = ("__init__.py", "cli/", "store/0", "starter/project/")
MOST_ANY = 250


def modules() -> Iterator[tuple[str, Path]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        if file.name not in NOT_COUNTED and not name.startswith(NOT_COUNTED):
            yield name, file


def repeated(named: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, where in named:
        found[name].append(where)
    return {name: where for name, where in found.items() if len(where) > 1}


def test_module_names_occur_once() -> None:
    assert repeated((file.stem, name) for name, file in modules()) == {}


def test_class_names_occur_once() -> None:
    assert (
        repeated(
            (node.name, name)
            for name, file in modules()
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.ClassDef)
        )
        == {}
    )


def test_modules_have_fewer_than_400_lines() -> None:
    sizes = {name: len(file.read_text(encoding="utf-8").splitlines()) for name, file in modules()}
    assert {name: size for name, size in sizes.items() if size >= 400} == {}


def test_functions_keep_the_budgets_of_size() -> None:
    """Half of them have six lines or less, nine in ten less than 20, and none more than 40."""
    sizes = sorted(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for _name, file in modules()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert (median(sizes) <= 6, sizes[len(sizes) * 9 // 10] < 20, sizes[-1] <= 40) == (True, True, True), sizes[-10:]


def test_any_is_rare() -> None:
    """`Any` switches the type checker off; imports are not counted, a qualified `typing.Any` is."""
    uses = {
        name: sum(
            isinstance(node, ast.Name) and node.id == "Any" or isinstance(node, ast.Attribute) and node.attr == "Any"
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        )
        for name, file in ((file.relative_to(PACKAGE).as_posix(), file) for file in PACKAGE.rglob("*.py"))
    }
    assert sum(uses.values()) < MOST_ANY, sorted(uses.items(), key=lambda use: -use[1])[:20]
