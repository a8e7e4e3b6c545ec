"""Look at the source of a reference without importing it: does it exist, is it Python, does it define the name?

It finds what surely fails; an import may fail for other reasons.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder

from compozy.base.source_file import check_code


def outline_fault(reference: str) -> str:
    """Return why `reference` cannot be imported, empty where its source shows nothing.

    Raises:
        TrustError: another user may write the file.
    """
    where, _, name = reference.rpartition(":")
    path = where if where.endswith(".py") else _origin(where)
    if path is None:
        return f"module {where} not found"
    # A compiled or built-in module has no source that could be read.
    if not path.endswith(".py"):
        return ""
    try:
        check_code(path)
        with open(path, "rb") as stream:
            body = ast.parse(stream.read(), path).body
    except SyntaxError as error:
        return f"SyntaxError in line {error.lineno}: {error.msg}"
    except (OSError, ValueError) as error:
        return str(error)
    names = set(_bound(body))
    return "" if names & {name, "*", "__getattr__"} else f"{os.path.basename(path)} does not define {name}"


def _origin(module: str) -> str | None:
    """Return the file of a module, empty where it has none; None when it cannot be found."""
    if module in sys.builtin_module_names or module in sys.modules:
        return getattr(sys.modules.get(module), "__file__", None) or ""
    path, parts = None, module.split(".")
    for at in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: at + 1]), path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    return spec.origin or "" if spec is not None else None


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements may bind, blocks included; `*` for an import of everything."""
    for node in (node for statement in body for node in ast.walk(statement)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
