"""Find the function behind `module:function` in the source files of a project, without importing anything.

A tool is a public function that the named module defines at its top level, in a file of the project. Names that a
module only imports, private names and names of the interpreter are not tools.
"""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from compozy.base.source_file import UnreadableError, read_source
from compozy.base.suggest import closest
from compozy.errors import TrustError
from compozy.workflows.model.tool_failure import ToolFailure

# Parsing in several threads at the same moment can raise SystemError; see `_functions`.
_PARSING = threading.Lock()


class ToolSources:
    """The tools of the project in `directory`; `allowed` are patterns such as `reports:*`, None allows every one."""

    def __init__(self, directory: str, allowed: Sequence[str] | None = None) -> None:
        self._directory = Path(directory)
        self._allowed = allowed
        self._read: dict[Path, tuple[tuple[int, int], frozenset[str]]] = {}

    def check(self, tool: str) -> None:
        """Check that the project defines the tool and allows it.

        Raises:
            ToolFailure: it does not; always final.
        """
        if self._allowed is not None and not any(fnmatchcase(tool, pattern) for pattern in self._allowed):
            patterns = ", ".join(self._allowed) or "nothing"
            raise ToolFailure(
                "ToolNotAllowed", f"{tool} is not in the setting tools, which has: {patterns}", final=True
            )
        module, _, name = tool.partition(":")
        names = self._functions(self._file(module))
        if name.startswith("_"):
            raise ToolFailure("ToolNotFound", f"{module}:{name} is private; rename the function", final=True)
        if name not in names:
            public = sorted(known for known in names if not known.startswith("_"))
            raise ToolFailure(
                "ToolNotFound", f'{module} defines no function "{name}"{_advice(name, public)}', final=True
            )

    def _file(self, module: str) -> Path:
        *folders, last = module.split(".")
        folder = self._directory.joinpath(*folders)
        for path in (folder / last / "__init__.py", folder / f"{last}.py"):
            if path.is_file():
                return path
        known = [*_modules(folder)]
        raise ToolFailure(
            "ToolNotFound", f"module {module} not found in {self._directory}{_advice(last, known)}", final=True
        )

    def _functions(self, path: Path) -> frozenset[str]:
        try:
            status = path.stat()
            # Each call of a tool asks, so a source is parsed again only when it has changed.
            stamp = (status.st_mtime_ns, status.st_size)
            if self._read.get(path, (None,))[0] != stamp:
                source = read_source(str(path))
                with _PARSING:
                    self._read[path] = (stamp, frozenset(_defined(ast.parse(source, str(path)).body)))
        except (SyntaxError, ValueError, RecursionError) as error:
            raise ToolFailure("SyntaxError", f"{path} cannot be read: {error}", final=True) from error
        # Python itself raises it when another thread parses at the same moment.
        except SystemError as error:
            raise ToolFailure("SystemError", f"{path} could not be parsed: {error}") from error
        except TrustError as error:
            raise ToolFailure("ToolRefused", str(error), final=True) from error
        except (OSError, UnreadableError) as error:
            raise ToolFailure("ToolNotFound", f"{path} cannot be read: {error}", final=True) from error
        return self._read[path][1]


def _defined(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Yield the functions that a module defines, also below `if` and `try`."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield statement.name
        elif isinstance(statement, (ast.If, ast.Try, ast.With)):
            for part in ("body", "orelse", "finalbody"):
                yield from _defined(getattr(statement, part, ()))
            for handler in getattr(statement, "handlers", ()):
                yield from _defined(handler.body)


def _modules(folder: Path) -> Iterator[str]:
    try:
        yield from (path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir())
    except OSError:
        return


def _advice(name: str, known: Sequence[str]) -> str:
    meant = closest(name, known)
    return f'; did you mean "{meant}"?' if meant else ""
