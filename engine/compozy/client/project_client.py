"""Operations of commands on the workflows of a project, with or without its running server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from compozy.base.record import dataclass
from compozy.errors import CompozyError

if TYPE_CHECKING:
    from compozy.client.answers import (
        Deletion,
        ExecutionAnswer,
        ExecutionList,
        ExecutionWithTasks,
        HealthAnswer,
        ImportAnswer,
        PruneAnswer,
        RunAnswer,
        Signaled,
        WorkflowList,
    )
    from compozy.client.knowledge_client import KnowledgeClient
    from compozy.client.memory_answers import MemoryChanged, MemoryKeys, MemoryList, MemoryMessages
    from compozy.workflows.model.definition import Definition


class NotRunningError(CompozyError):
    """No server of the project in a directory runs."""

    id = "server.not-running"
    exit_code = 4

    def __init__(self, directory: object, consequence: str = "") -> None:
        reason = f"no server of the project in {directory} is running"
        super().__init__(f"{reason}; {consequence}" if consequence else reason, hint="start one with compozy start")


@dataclass(frozen=True, slots=True)
class GivenInput:
    """The input of a command line: `values`, and `texts` whose types depend on what the workflow declares."""

    values: Mapping[str, object]
    texts: Mapping[str, str]

    def complete(self, definition: Definition | None) -> dict[str, object]:
        """Return the typed input of a workflow; `definition` is None if its declarations are unknown."""
        from compozy.workflows.model.input_types import parse_parameter

        declared = {item.name: item for item in (definition.inputs if definition else None) or ()}
        known = {name: (item.type, item.default) for name, item in declared.items()}
        parsed = {name: parse_parameter(text, *known.get(name, ())) for name, text in self.texts.items()}
        return {**self.values, **parsed}


@dataclass(frozen=True, slots=True)
class RunResult:
    """The state of an execution; `afterwards` describes what happens to one that still runs."""

    answer: RunAnswer
    afterwards: str


class MemoryClient(Protocol):
    """One memory of a project.

    Every method raises what those of `ProjectClient` do, and NotFoundError for a key that does not exist.
    """

    def keys(self, limit: int, after: str = "") -> MemoryKeys:
        """Return at most `limit` (1 to 1,000) keys behind `after`, ordered by name."""
        ...

    def read(self, key: str, limit: int, before: int = 0) -> MemoryMessages:
        """Return the newest messages of a key, at most `limit` (1 to 1,000), older than the id `before` if not 0."""
        ...

    def append(self, key: str, payload: object) -> MemoryChanged:
        """Add messages to a key: one `{role, content}`, or a list of them."""
        ...

    def write(self, key: str, payload: object) -> MemoryChanged:
        """Replace the messages of a key."""
        ...

    def clear(self, key: str) -> MemoryChanged:
        """Remove the messages of a key, and keep its statistics."""
        ...

    def delete(self, key: str) -> MemoryChanged:
        """Remove a key."""
        ...


class ProjectClient(Protocol):
    """The workflows and executions of one project.

    Every method raises ServerError for what a server refuses, ServerGoneError for one that does not answer; without a
    server, NotRunningError for what only a server can do, and ProvisionError when the project's database does not open.
    """

    @property
    def knowledge(self) -> KnowledgeClient:
        """The knowledge bases of the project."""
        ...

    def health(self) -> HealthAnswer:
        """Return the health of each component and of the worker."""
        ...

    def new_link(self) -> str:
        """Return a URL that opens a session in a browser, once."""
        ...

    def workflows(self) -> WorkflowList:
        """Return the workflows that can be run, and the problems of the others."""
        ...

    def executions(self, limit: int) -> ExecutionList:
        """Return the newest executions, at most `limit` (1 to 1,000)."""
        ...

    def execution(self, execution_id: str) -> ExecutionWithTasks:
        """Return one execution."""
        ...

    def run(self, workflow: str, given: GivenInput, wait_s: float | None) -> RunResult:
        """Start an execution of a workflow's id or file and wait at most `wait_s` seconds, None not at all."""
        ...

    def cancel(self, execution_id: str) -> ExecutionAnswer:
        """Ask an execution to end."""
        ...

    def terminate(self, execution_id: str) -> ExecutionAnswer:
        """End an execution at once."""
        ...

    def signal(self, execution_id: str, name: str, payload: object) -> Signaled:
        """Send a signal to an execution."""
        ...

    def import_workflows(self, exported: object) -> ImportAnswer:
        """Import the JSON of `workflow list` or `workflow export`; all of it or nothing."""
        ...

    def delete_workflow(self, workflow_id: str) -> Deletion:
        """Delete an imported workflow."""
        ...

    def memories(self) -> MemoryList:
        """Return the declared memories, with the numbers of their keys and messages."""
        ...

    def memory(self, memory_id: str) -> MemoryClient:
        """Return one memory; an undeclared one may be an error at its first use only."""
        ...

    def prune(self, older_than_s: float, *, dry_run: bool) -> PruneAnswer:
        """Delete the executions that ended longer ago, or only count them."""
        ...
