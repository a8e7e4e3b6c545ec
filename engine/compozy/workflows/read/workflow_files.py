"""Read the workflow files of a project, and check them without a store or a server.

A broken file hides only itself, and of several files with one id none can be run: both are reported beside the others.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from compozy.base.findings import Finding
from compozy.base.place import Origin
from compozy.base.record import dataclass
from compozy.base.source_file import check_owner, is_leftover, list_sources
from compozy.base.suggest import did_you_mean
from compozy.errors import CompozyError, DefinitionError, NotFoundError, SyntaxProblem, TrustError
from compozy.memory.memory_definition import MemoryDefinition, memory_definitions
from compozy.resolution.resolve import Resolved
from compozy.workflows.model.definition import Definition
from compozy.workflows.read.loader import load_definition

FOLDER = "workflows"


@dataclass(slots=True)
class FoundFiles:
    """The definitions by id, the first file of each; `ambiguous` are the ids that further files have too."""

    definitions: dict[str, Definition] = field(default_factory=dict)
    problems: list[CompozyError] = field(default_factory=list)
    ambiguous: dict[str, DefinitionError] = field(default_factory=dict)


class WorkflowFiles:
    """The files in `workflows/` of a project and those in `files`, relative to `directory`, `*` allowed.

    With `only` the files in `workflows/` are left out.
    """

    def __init__(self, directory: str, files: Sequence[str] = (), *, only: bool = False) -> None:
        self._directory = Path(directory)
        self._only = only
        self._files = tuple(files)
        self._read: dict[Path, tuple[tuple[int, ...], Definition]] = {}

    def read(self) -> FoundFiles:
        """Return what the files hold now; a file that did not change is not parsed again."""
        found = FoundFiles()
        for path in self.paths():
            try:
                check_owner(str(path))
                definition = self._load(path)
            except (DefinitionError, SyntaxProblem, NotFoundError, TrustError) as problem:
                found.problems.append(problem)
                continue
            first = found.definitions.setdefault(definition.id, definition)
            if first is not definition:
                both = f'id "{definition.id}" is also the one of {first.file}'
                twice = DefinitionError(str(path), [Finding.at(DefinitionError.id, both, definition.place_of("id"))])
                found.problems.append(twice)
                found.ambiguous[definition.id] = twice
        return found

    def paths(self) -> Iterator[Path]:
        """Yield each file once, those that the configuration names first."""
        listed = (path for name in self._files for path in self._expand(name))
        folder = [] if self._only else map(Path, list_sources(str(self._directory / FOLDER)))
        yield from dict.fromkeys([*listed, *folder])

    def _expand(self, name: str) -> list[Path]:
        name = os.path.expanduser(name)
        if "*" in name and not Path(name).is_absolute():
            return sorted(path for path in self._directory.glob(name) if not is_leftover(path.name))
        return [self._directory / name]

    def _load(self, path: Path) -> Definition:
        try:
            status = path.stat()
        except OSError:
            return load_definition(path)
        # Device and inode as well: a file that was replaced by another one may have the same time and size.
        stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        known = self._read.get(path)
        if known is None or known[0] != stamp:
            known = self._read[path] = (stamp, load_definition(path))
        return known[1]


@dataclass(frozen=True, slots=True)
class FileReport:
    """The number of checked workflow files, and the findings about them."""

    files: int
    findings: tuple[Finding, ...]


def check_files(files: WorkflowFiles, resolved: Resolved, base: str) -> FileReport:
    """Check workflow files of a project; its tools are looked up without importing them.

    The places of the findings are relative to `base`.
    """
    found = files.read()
    problems = [
        *found.problems,
        *_tool_problems(resolved.directory, found, resolved.get("tools")),
        *_memory_problems(found, memory_definitions(resolved)),
        *_base_problems(found, [str(base["id"]) for base in resolved.get("knowledge.bases") or ()]),
    ]
    findings = (finding for problem in problems for finding in _findings(problem, base))
    return FileReport(len(list(files.paths())), tuple(findings))


def _tool_problems(directory: str, found: FoundFiles, allowed: Sequence[str] | None) -> Iterator[DefinitionError]:
    from compozy.workflows.model.tool_failure import ToolFailure
    from compozy.workflows.read.tool_source import ToolSources
    from compozy.workflows.tasks.basic import Basic

    sources = ToolSources(directory, allowed)
    for definition in found.definitions.values():
        for task in definition.tasks:
            try:
                if isinstance(task, Basic):
                    sources.check(task.tool)
            except ToolFailure as failure:
                place = definition.place_of(f"tasks.{task.id}.tool")
                yield DefinitionError(definition.file, [Finding.at(DefinitionError.id, failure.reason, place)])


def _base_problems(found: FoundFiles, bases: Sequence[str]) -> Iterator[DefinitionError]:
    from compozy.workflows.tasks.knowledge import Knowledge

    for definition in found.definitions.values():
        for task in definition.tasks:
            if isinstance(task, Knowledge) and task.base not in bases:
                reason = f'knowledge base "{task.base}" is not declared{did_you_mean(task.base, bases)}'
                place = definition.place_of(f"tasks.{task.id}.base")
                yield DefinitionError(definition.file, [Finding.at(DefinitionError.id, reason, place)])


def _memory_problems(found: FoundFiles, memories: Mapping[str, MemoryDefinition]) -> Iterator[DefinitionError]:
    from compozy.workflows.tasks.memory_task import MemoryTask

    for definition in found.definitions.values():
        tasks = (task for task in definition.tasks if isinstance(task, MemoryTask))
        for task in tasks:
            place = definition.place_of(f"tasks.{task.id}.memory")
            for reason in _memory_faults(task.memory, memories, own_key=task.key is not None):
                yield DefinitionError(definition.file, [Finding.at(DefinitionError.id, reason, place)])


def _memory_faults(name: str, memories: Mapping[str, MemoryDefinition], *, own_key: bool) -> Iterator[str]:
    """Yield what is wrong with the memory of a task, or with the key that the task takes from its setting."""
    from compozy.workflows.expressions.templates import references

    if name not in memories:
        yield f'memory "{name}" is not declared{did_you_mean(name, memories)}'
    elif not own_key and not memories[name].key:
        yield f"a task needs `key`, because the setting of memory {name} has none"
    elif not own_key:
        template = references(memories[name].key)
        tasks = (f'"tasks.{task}" is not defined; it knows workflow and input' for task in template.tasks)
        yield from (f"the key of memory {name}: {reason}" for reason in (*template.problems, *tasks))


def _findings(problem: CompozyError, base: str) -> Iterator[Finding]:
    """Yield the problems of an error, at places relative to `base`, as findings about the setting `workflows`."""
    for finding in problem.findings or (Finding.at(problem.id, problem.message, hint=problem.hint or ""),):
        place = finding.where.place
        where = Origin("file", place._replace(file=os.path.relpath(place.file, base)) if place else None)
        yield replace(finding, key="workflows", where=where, docs="docs/workflows.md")
