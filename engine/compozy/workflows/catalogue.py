"""The workflow definitions of a project: from its files, and imported into the store.

A broken file or imported workflow hides only itself: it is reported beside the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from compozy.base.findings import Finding
from compozy.base.record import dataclass
from compozy.base.suggest import closest
from compozy.errors import CompozyError, DefinitionError, NotFoundError, SyntaxProblem, TrustError, UsageError
from compozy.store import Store, StoredWorkflow
from compozy.store.records import timestamp
from compozy.workflows.model.definition import MAX_PROBLEMS, Definition
from compozy.workflows.read.loader import definition_from_json
from compozy.workflows.read.workflow_files import WorkflowFiles

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Listing:
    """The workflows that can be run, ordered by id, and what is wrong with the others."""

    definitions: tuple[Definition, ...]
    problems: tuple[CompozyError, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """The ids that were imported; `hidden` names the file that each one loses to."""

    names: tuple[str, ...]
    hidden: Mapping[str, str]


class Catalogue:
    """The workflows of the project in `directory`; `files` are further ones, relative to it, `*` allowed."""

    def __init__(self, store: Store, directory: str, files: Sequence[str] = ()) -> None:
        self._store = store
        self._files = WorkflowFiles(directory, files)

    def listing(self) -> Listing:
        """Return every workflow; a file wins over an imported one of the same id.

        Raises:
            UnavailableError: the database does not answer.
        """
        files = self._files.read()
        found, problems = files.definitions, files.problems
        for stored in self._store.workflows():
            if stored.id in found:
                continue
            try:
                found[stored.id] = _imported(stored)
            except DefinitionError as problem:
                problems.append(problem)
        return Listing(tuple(found[name] for name in sorted(found)), tuple(problems))

    def definition(self, workflow_id: str) -> Definition:
        """Return one workflow.

        Raises:
            NotFoundError: no entry has that id.
            DefinitionError: its file is broken, two files have its id, or the imported one is not valid any more.
            SyntaxProblem: its file is not YAML.
            TrustError: another user controls its file.
            UnavailableError: the database does not answer.
        """
        files = self._files.read()
        found = files.definitions
        if workflow_id in files.ambiguous:
            raise files.ambiguous[workflow_id]
        if workflow_id in found:
            return found[workflow_id]
        stored = self._store.workflow(workflow_id)
        if stored is not None:
            return _imported(stored)
        for problem in files.problems:
            if _may_hide(problem, workflow_id):
                raise problem
        names = sorted({*found, *(stored.id for stored in self._store.workflows())})
        meant = closest(workflow_id, names)
        advice = f'did you mean "{meant}"?' if meant else f"known workflows: {', '.join(names) or 'none'}"
        raise NotFoundError("workflow", workflow_id, hint=advice)

    def take(self, definitions: Sequence[Definition]) -> Imported:
        """Store imported workflows.

        Raises:
            UnavailableError: the database does not answer.
        """
        now = timestamp()
        for definition in definitions:
            plain = dict(definition.plain)
            self._store.save_workflow(StoredWorkflow(definition.id, definition.version, plain, now))
        in_files = self._files.read().definitions
        names = tuple(definition.id for definition in definitions)
        return Imported(names, {name: in_files[name].file for name in names if name in in_files})

    def remove(self, workflow_id: str) -> str | None:
        """Delete an imported workflow; return the file of the same id, which is not touched, or None.

        Raises:
            NotFoundError: no workflow has this id.
            UsageError: the workflow comes from a file only.
            UnavailableError: the database does not answer.
        """
        # The store first: an imported workflow may be hidden by a file of the same id, which stays.
        if not self._store.delete_workflow(workflow_id):
            file = self.definition(workflow_id).file
            raise UsageError(f'workflow "{workflow_id}" was not imported; it comes from {file}', hint="remove the file")
        kept = self._files.read().definitions.get(workflow_id)
        return kept.file if kept else None


def _may_hide(problem: CompozyError, workflow_id: str) -> bool:
    """Return True if the file of a problem is called like the workflow, or its whole directory is refused."""
    if isinstance(problem, TrustError):
        return Path(problem.path).is_dir() or Path(problem.path).stem == workflow_id
    file = problem.place.file if isinstance(problem, SyntaxProblem) else getattr(problem, "file", "")
    return Path(file).stem == workflow_id


def _imported(stored: StoredWorkflow) -> Definition:
    return replace(definition_from_json(stored.definition, f"imported workflow {stored.id}"), imported=True)


def exported_definitions(exported: object) -> tuple[Definition, ...]:
    """Return the workflows of an export.

    Raises:
        DefinitionError: something in it is not a workflow; the first problems of all of them.
    """
    items = exported.get("workflows") if isinstance(exported, Mapping) else None
    if not isinstance(items, list):
        reason = 'expected what `workflow list --format json` prints: {"workflows": [...]}'
        raise DefinitionError("import", [Finding.at(DefinitionError.id, reason)])
    findings: list[Finding] = []
    definitions: list[Definition] = []
    for index, item in enumerate(items):
        plain = item.get("definition", item) if isinstance(item, Mapping) else item
        try:
            definitions.append(definition_from_json(plain, f"workflows[{index}]"))
        except DefinitionError as error:
            findings.extend(error.findings)
        if len(findings) > MAX_PROBLEMS:
            break
    if findings:
        raise DefinitionError("import", findings[: MAX_PROBLEMS + 1])
    return tuple(definitions)
