"""Change the code that reads, verifies and applies rules in small ways, and see that a test fails.

The arguments are module paths below `compozy`, such as `resolve.py`; the result is a score and the survivors. Each
mutant is one changed comparison, condition or constant in a copy of the package; the tests run against the copy.

    python -m property_tests.mutations_engine                       # a sample of the modules below
    python -m property_tests.mutations_engine resolve.py --all      # every mutant of one module
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODULES = (
    "resolution/resolve.py", "provisioning/lifecycle.py", "rulebook/states.py", "rulebook/verification.py",
    "rulebook/rows.py", "rulebook/files.py", "rulebook/verified.py", "settings/reference.py", "settings/registry.py",
    "settings/rows.py", "base/findings.py", "base/shapes.py",
)  # fmt: skip
TESTS = (
    "tests/resolution/test_resolve.py",
    "tests/provisioning/test_lifecycle.py", "tests/provisioning/test_lifecycle_graph.py",
    "tests/provisioning/test_lifecycle_machine.py",
    "tests/base/test_findings.py", "tests/base/test_shapes.py",
    "tests/rules/test_rules_registry.py", "tests/rules/test_rules_reference.py", "tests/rules/test_rules_verified.py",
    "tests/rules/test_rules_broken.py", "tests/rules/test_rules_check.py", "tests/rules/test_rules_pack.py",
    "property_tests/test_lifecycle.py", "property_tests/test_resolution.py",
)  # fmt: skip
SAMPLED = 6
_SWAPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot,
    ast.IsNot: ast.Is, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
}  # fmt: skip


@dataclass(frozen=True)
class CodeMutant:
    """One changed module; `what` names the line and the change."""

    module: str
    what: str
    text: str


def code_mutants(module: str) -> Iterator[CodeMutant]:
    """Yield every mutant of a module."""
    text = (ROOT / "engine" / "compozy" / module).read_text(encoding="utf-8")
    for at in range(len(list(_places(ast.parse(text))))):
        tree = ast.parse(text)
        node = list(_places(tree))[at]
        what = _change(node)
        yield CodeMutant(module, f"{module}:{node.lineno}: {what}", ast.unparse(tree))


Place = ast.Compare | ast.BoolOp | ast.If | ast.IfExp | ast.Constant | ast.UnaryOp


def _places(tree: ast.AST) -> Iterator[Place]:
    decorations = {id(part) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for part in _parts(node)}
    for node in ast.walk(tree):
        if id(node) in decorations:
            continue
        if (
            isinstance(node, ast.Compare | ast.BoolOp | ast.If | ast.IfExp)
            or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))
            or (isinstance(node, ast.Constant) and isinstance(node.value, bool))
        ):
            yield node


def _parts(node: ast.ClassDef) -> Iterator[ast.AST]:
    """Yield what decorates a class: whether a record is frozen is not a matter of behaviour."""
    for decorator in node.decorator_list:
        yield from ast.walk(decorator)


def _change(node: Place) -> str:
    before = ast.unparse(node.test if isinstance(node, ast.If | ast.IfExp) else node)
    if isinstance(node, ast.Compare):
        node.ops[0] = _SWAPPED[type(node.ops[0])]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.Constant):
        node.value = not node.value
    elif isinstance(node, ast.UnaryOp):
        node.operand = ast.UnaryOp(ast.Not(), node.operand)
    else:
        node.test = ast.UnaryOp(ast.Not(), node.test)
    after = ast.unparse(node.test if isinstance(node, ast.If | ast.IfExp) else node)
    return f"{before}  ->  {after}"


def survives(mutant: CodeMutant, package: Path) -> bool:
    """Return True if every test passes with the mutant in a copy of the package."""
    file = package / "compozy" / mutant.module
    original = file.read_text(encoding="utf-8")
    file.write_text(mutant.text, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-m",
        "not e2e",
        *TESTS,
    ]
    paths = {"PYTHONPATH": str(package), "XDG_CACHE_HOME": str(package / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {**os.environ, **paths}
    try:
        result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        return False
    finally:
        file.write_text(original, encoding="utf-8")
    return result.returncode == 0


def main() -> None:
    """Try the mutants and print the score."""
    chosen = [arg for arg in sys.argv[1:] if not arg.startswith("-")] or list(MODULES)
    found = [mutant for module in chosen for mutant in _chosen(module)]
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder)
        shutil.copytree(ROOT / "engine" / "compozy", package / "compozy", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "rules", package / "compozy" / "rules")
        survivors = [mutant for mutant in found if survives(mutant, package)]
    for mutant in survivors:
        sys.stdout.write(f"survived: {mutant.what}\n")
    sys.stdout.write(f"engine: {len(found)} mutants, {len(found) - len(survivors)} caught, {len(survivors)} survived\n")


def _chosen(module: str) -> list[CodeMutant]:
    mutants = list(code_mutants(module))
    return mutants if "--all" in sys.argv else mutants[:: max(1, len(mutants) // SAMPLED)]


if __name__ == "__main__":
    main()
