"""Use the workflows of a project without a server.

Files and rows are read from the project's files and database: only the component `database` is provisioned, so that
nothing of the project runs and no execution continues. To run a workflow, everything is provisioned for that one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from msgspec import UNSET

from compozy.client.answers import (
    Deletion,
    ExecutionAnswer,
    ExecutionList,
    ExecutionWithTasks,
    ImportAnswer,
    PruneAnswer,
    RunAnswer,
    WorkflowAnswer,
    WorkflowList,
    WorkflowProblem,
)
from compozy.client.local_memory import LocalMemory
from compozy.client.memory_answers import MemoryList
from compozy.client.project_client import GivenInput, NotRunningError, RunResult
from compozy.errors import NotFoundError, UsageError
from compozy.provisioning.lifecycle import GRACE_S, Lifecycle
from compozy.provisioning.plan import make_plan
from compozy.resolution.resolve import Resolved
from compozy.state.state_directory import STATE_DIRECTORY

if TYPE_CHECKING:
    from compozy.client.local_knowledge import LocalKnowledge
    from compozy.knowledge.library import Library
    from compozy.memory.memories import Memories
    from compozy.provisioning.runtime import Runtime
    from compozy.store import Store
    from compozy.workflows.catalogue import Catalogue, Listing
    from compozy.workflows.facade import Workflows
    from compozy.workflows.model.definition import Definition

Note = Callable[[str], None]


class LocalClient:
    """The project of a validated lifecycle; a context manager, which closes what it opened.

    `begin` is called before anything is provisioned; `note` gets a line for each thing that a user should know.
    """

    def __init__(self, lifecycle: Lifecycle, begin: Callable[[Lifecycle], None], note: Note) -> None:
        self._lifecycle = lifecycle
        self._begin = begin
        self._note = note
        self._opened = ExitStack()

    def __enter__(self) -> LocalClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def _needs_server(self, *_: object) -> NoReturn:
        """Refuse what only a running server can do."""
        raise NotRunningError(self._resolved.directory)

    health = new_link = cancel = terminate = signal = _needs_server

    def workflows(self) -> WorkflowList:
        """Return the workflows that can be run, and what is wrong with the others."""
        return workflow_list(self._catalogue.listing())

    def executions(self, limit: int) -> ExecutionList:
        """Return the newest executions."""
        return ExecutionList(executions=[ExecutionAnswer.of(row) for row in self._store.executions(limit=limit)])

    def execution(self, execution_id: str) -> ExecutionWithTasks:
        """Return one execution of a database that is kept."""
        if not self._is_kept("database"):
            self._needs_server()
        found = self._store.execution(execution_id)
        if found is None:
            raise NotFoundError("execution", execution_id)
        return ExecutionWithTasks.of(found, self._store.tasks(execution_id))

    def import_workflows(self, exported: object) -> ImportAnswer:
        """Import the JSON of `workflow list` into a database that is kept."""
        from compozy.workflows.catalogue import exported_definitions

        if not self._is_kept("database"):
            raise UsageError(
                f"no server is running, and mode {self._resolved.mode} would forget the workflows at once",
                hint="start one with compozy start, or import with --mode persistent",
            )
        imported = self._catalogue.take(exported_definitions(exported))
        return ImportAnswer(imported=imported.names, hidden=imported.hidden)

    def delete_workflow(self, workflow_id: str) -> Deletion:
        """Delete an imported workflow."""
        return Deletion(deleted=workflow_id, file=self._catalogue.remove(workflow_id) or UNSET)

    def memories(self) -> MemoryList:
        """Return the declared memories of a Redis that is kept."""
        return MemoryList(memories=self._memories.summaries())

    def memory(self, memory_id: str) -> LocalMemory:
        """Return one memory of a Redis that is kept."""
        return LocalMemory(self._memories.memory(memory_id))

    def prune(self, older_than_s: float, *, dry_run: bool) -> PruneAnswer:
        """Delete the executions that ended longer ago, or only count them."""
        from compozy.store.records import timestamp

        before = timestamp(datetime.now(UTC) - timedelta(seconds=older_than_s))
        return PruneAnswer(count=self._store.prune(before, dry_run=dry_run), before=before, dry_run=dry_run)

    def run(self, workflow: str, given: GivenInput, wait_s: float | None) -> RunResult:
        """Provision everything, run one workflow, and stop everything."""
        from compozy.workflows.model.inputs import complete_input
        from compozy.workflows.read.loader import is_workflow_file, load_definition

        if wait_s is None:
            raise UsageError("--detach needs a running server", hint="start one with compozy start")
        definition = load_definition(workflow) if is_workflow_file(workflow) else None
        if definition is not None:
            # Checked before anything is started, so that a wrong input costs no start.
            complete_input(definition, given.complete(definition))
        afterwards = "continues when a server runs" if self._is_kept("temporal") else "has ended with this command"
        with self._provisioned() as workflows:
            definition = definition or workflows.workflow(workflow)
            self._fill_bases(definition, workflows)
            name = workflows.start(definition, given.complete(definition))
            try:
                return RunResult(RunAnswer.of(workflows.wait(name, wait_s)), afterwards)
            except KeyboardInterrupt:
                self._note(f"{name} {afterwards}")
                raise

    def _fill_bases(self, definition: Definition, workflows: Workflows) -> None:
        """Ingest the bases that a workflow queries, as far as each start ingests them."""
        from compozy.client.local_knowledge import fill
        from compozy.workflows.tasks.knowledge import Knowledge

        bases = workflows.knowledge.library.bases
        for name in dict.fromkeys(task.base for task in definition.tasks if isinstance(task, Knowledge)):
            if name in bases and bases[name].at_start:
                fill(workflows.base(name), self._note)

    @cached_property
    def knowledge(self) -> LocalKnowledge:
        """The knowledge bases of the project."""
        from compozy.client.local_knowledge import LocalKnowledge

        return LocalKnowledge(
            cache(self._library), lambda: self._workflows, self._resolved.mode, kept=self._is_kept("database"),
            note=self._note,
        )  # fmt: skip

    @cached_property
    def _workflows(self) -> Workflows:
        return self._opened.enter_context(self._provisioned())

    def _library(self, base: str | None) -> Library:
        """Return the knowledge bases on the database, and on the vector store of `base`."""
        from compozy.knowledge.bases import declared_bases
        from compozy.knowledge.library import make_library
        from compozy.store import Store

        bases = declared_bases(self._resolved)
        store = bases[base].store if base in bases else None
        vectors = [] if store is None else [f"vector_store[{store}]"]
        runtime = self._provision("reading its database and its vectors", "database", *vectors)
        if self._resolved.get("database.auto_migrate"):
            Store(runtime.database).migrate()
        return make_library(runtime.database, bases, lambda name: runtime.component(name).handle)

    @property
    def _resolved(self) -> Resolved:
        return self._lifecycle.resolved

    def _is_kept(self, component: str) -> bool:
        return bool(self._resolved.components[component].kept)

    @cached_property
    def _memories(self) -> Memories:
        from compozy.memory.memories import project_memories

        if not self._is_kept("redis"):
            raise NotRunningError(self._resolved.directory, "without one this configuration keeps no memories")
        runtime = self._provision("using its Redis", "redis")
        return project_memories(self._resolved, lambda: runtime.redis)

    @cached_property
    def _store(self) -> Store:
        from compozy.store import Store

        store = Store(self._provision("reading its files and its database", "database").database)
        if self._resolved.get("database.auto_migrate"):
            store.migrate()
        return store

    def _provision(self, purpose: str, *components: str) -> Runtime:
        """Provision some components and what they need."""
        from compozy.provisioning.provision import provision

        self._begin(self._lifecycle)
        self._note(f"no server of this project is running; {purpose}")
        note_kept_data(self._resolved, self._note)
        plan = make_plan(self._resolved)
        steps = {step.component: step for step in plan.steps}
        wanted = list(components)
        # The list grows while it is read: needs of needs are appended.
        for name in wanted:
            wanted += [need for need in steps[name].needs if need not in wanted]
        chosen = replace(plan, steps=tuple(steps[name] for name in steps if name in wanted))
        return self._opened.enter_context(provision(chosen, notice=self._note))

    @cached_property
    def _catalogue(self) -> Catalogue:
        from compozy.workflows.catalogue import Catalogue

        return Catalogue(self._store, self._resolved.directory, tuple(self._resolved.get("workflows") or ()))

    @contextmanager
    def _provisioned(self) -> Iterator[Workflows]:
        from compozy.workflows.project import provision_project

        self._begin(self._lifecycle)
        mode = self._resolved.mode
        self._note(f"no server of this project is running; bringing up mode {mode} for this one command")
        note_kept_data(self._resolved, self._note)
        lifecycle = Lifecycle(
            self._lifecycle.configuration, strict=self._lifecycle.strict,
            provisioner=partial(provision_project, notice=self._note),
        )  # fmt: skip
        grace_s = GRACE_S
        try:
            yield _opened(lifecycle.provision())
        except KeyboardInterrupt:
            # After an interruption nothing waits for the execution; it stays in a Temporal that is kept.
            grace_s = 0.0
            raise
        finally:
            if lifecycle.records.runtime is not None:
                lifecycle.release(grace_s)


def _opened(runtime: Runtime) -> Workflows:
    """Return the workflows with their worker; what the start created is removed where the worker does not start."""
    try:
        workflows: Workflows = runtime.workflows
    except BaseException:
        runtime.abandon()
        raise
    return workflows


def workflow_answer(definition: Definition) -> WorkflowAnswer:
    """Return a workflow as lists and exports print it."""
    source = "imported" if definition.imported else definition.file
    return WorkflowAnswer(
        id=definition.id, version=definition.version, definition=dict(definition.plain), source=source
    )


def workflow_list(listing: Listing) -> WorkflowList:
    """Return the workflows that can be run, and what is wrong with the others."""
    return WorkflowList(
        workflows=[workflow_answer(item) for item in listing.definitions],
        problems=[WorkflowProblem(id=problem.id, message=problem.message) for problem in listing.problems] or UNSET,
    )


def note_kept_data(resolved: Resolved, note: Note) -> None:
    """Report that the mode does not use an existing state directory."""
    kept = Path(resolved.directory, STATE_DIRECTORY, "version").exists()
    if kept and make_plan(resolved).state_dir is None:
        note(f"{STATE_DIRECTORY}/ holds data of an earlier run, which mode {resolved.mode} leaves alone")
        note("--mode persistent uses it")
