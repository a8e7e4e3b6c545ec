"""Typed records of the requests and responses of the HTTP interface.

The server encodes them, clients decode them, and the OpenAPI document derives from them. A key that a newer server adds
is ignored; a key that is missing or has another type is an error with its path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from compozy.store.records import STATUSES, Execution, TaskExecution

JsonObject: TypeAlias = dict[str, Any]
Status: TypeAlias = Annotated[str, Meta(description=f"One of {', '.join(STATUSES)}.")]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One JSON object; `format_version` comes first."""

    format_version: int = 1

    def to_json(self) -> JsonObject:
        """Return the answer as plain JSON values."""
        return dict(msgspec.to_builtins(self))


class Alive(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: str = "alive"


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """The readiness of the server: every enabled component is healthy and the worker takes work."""

    ready: bool
    state: str | None = None
    waiting_for: Annotated[Sequence[str], Meta(description="What is not healthy.")] = ()


class ComponentHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The health of one component; `latency_ms` in milliseconds, null while it is not healthy."""

    mode: str
    driver: str
    healthy: bool
    latency_ms: Annotated[float | None, Meta(description="Milliseconds.")] = None
    error: str | None = None
    address: str | None = None
    data: str | None = None
    kept: bool | None = None
    details: Mapping[str, Any] | UnsetType = UNSET


class WorkerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The health of the server's worker: it takes executions or not."""

    healthy: bool
    error: str | None = None


class HealthAnswer(Answer, frozen=True, kw_only=True):
    """State, mode, each component by its name, and the worker."""

    state: str
    mode: str
    ready: bool
    pid: int | None = None
    url: str | None = None
    components: Mapping[str, ComponentHealth]
    worker: WorkerHealth


class ReadyLine(Answer, frozen=True, kw_only=True):
    """The line of `compozy start --format json`; `elapsed_s` in seconds."""

    event: str = "ready"
    mode: str
    url: str | None
    pid: int
    elapsed_s: float
    components: Mapping[str, ComponentHealth]


class PlanStep(msgspec.Struct, frozen=True, kw_only=True):
    """The start of one component; `needs` are the components that start before it."""

    component: str
    driver: str
    row: str
    needs: Sequence[str]
    addresses: Sequence[str]
    files: Sequence[str]
    files_known: bool
    timeout_s: float


class PlanAnswer(Answer, frozen=True, kw_only=True):
    """The plan of `compozy start`, in order; `server` is its listen address."""

    mode: str
    state_dir: str | None
    server: str
    steps: Sequence[PlanStep]


class DoctorCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One check of a start; `status` is `pass`, `warn`, `fail` or `skip`."""

    id: str
    status: str
    message: str
    fix: str = ""


class DoctorAnswer(Answer, frozen=True, kw_only=True):
    """Every check of `compozy doctor`, in order."""

    checks: Sequence[DoctorCheck]


class WorkflowAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow; `source` is its file or `imported`."""

    id: str
    version: str
    definition: JsonObject
    source: str = ""
    format_version: int | UnsetType = UNSET


class WorkflowProblem(msgspec.Struct, frozen=True, kw_only=True):
    """A file or imported workflow that cannot be used."""

    id: str
    message: str


class WorkflowList(Answer, frozen=True, kw_only=True):
    """The workflows that can be run, ordered by id, and what is wrong with the others."""

    workflows: Sequence[WorkflowAnswer]
    problems: Sequence[WorkflowProblem] | UnsetType = UNSET


class ImportAnswer(Answer, frozen=True, kw_only=True):
    """The ids that were imported; `hidden` maps those that a file of the same id hides to the file."""

    imported: Sequence[str]
    hidden: Mapping[str, str]


class Deletion(Answer, frozen=True, kw_only=True):
    """The imported workflow that was deleted; `file` of the same id is in force now."""

    deleted: str
    file: str | UnsetType = UNSET


class PruneRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Delete the executions that ended longer ago; by default than `executions.retention`."""

    older_than: Annotated[str | int | float | None, Meta(description="An age, such as 720h.")] = None
    dry_run: bool = False


class PruneAnswer(Answer, frozen=True, kw_only=True):
    """The number of executions that ended `before` and were deleted, or would be."""

    count: int
    before: str | None = None
    dry_run: bool = False


class StartRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Start an execution of a known workflow, or of `definition` or `source`."""

    input: Annotated[Any, Meta(description="The input, an object.")] = None
    execution_id: Annotated[str | None, Meta(description="Chosen by the client: twice is one execution.")] = None
    definition: Annotated[Any, Meta(description="Run this instead of a known workflow.")] = UNSET
    source: Annotated[str, Meta(description="The definition as YAML; messages keep its lines.")] | UnsetType = UNSET
    file: Annotated[str, Meta(description="The name of `source` in messages.")] = "source"


class ExecutionAnswer(Answer, frozen=True, kw_only=True):
    """One execution; `output` is null until it completed."""

    id: str
    workflow: str
    version: str
    status: Status
    input: Any = None
    output: Any = None
    error: str | None = None
    started_at: str
    finished_at: str | None = None
    run_id: str | None = None

    @classmethod
    def of(cls, execution: Execution) -> ExecutionAnswer:
        """Return the row of an execution in this form."""
        return cls(**_facts(execution, ExecutionAnswer))


class TaskAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a task; `path` is its id behind those of the blocks around it, `iteration` counts from 0."""

    path: str
    iteration: int
    type: str
    status: str
    started_at: str
    finished_at: str | None = None
    attempt: int = 0
    error: str | None = None


class ExecutionWithTasks(ExecutionAnswer, frozen=True, kw_only=True):
    """One execution and its tasks, in the order in which they began."""

    tasks: Sequence[TaskAnswer] = ()

    @classmethod
    def of(cls, execution: Execution, tasks: Sequence[TaskExecution] = ()) -> ExecutionWithTasks:
        """Return the rows of an execution and of its tasks in this form."""
        turns = [TaskAnswer(**_facts(task, TaskAnswer)) for task in tasks]
        return cls(**_facts(execution, ExecutionAnswer), tasks=turns)


def _facts(record: object, kind: type[msgspec.Struct]) -> JsonObject:
    """Return the fields of `kind` that a record has too."""
    names = [name for name in kind.__struct_fields__ if name != "format_version" and hasattr(record, name)]
    return {name: getattr(record, name) for name in names}


class ExecutionList(Answer, frozen=True, kw_only=True):
    """Executions, the newest first; `next_cursor` is null on the last page."""

    executions: Sequence[ExecutionAnswer]
    next_cursor: Annotated[str | None, Meta(description="Null on the last page.")] = None


class RunAnswer(Answer, frozen=True, kw_only=True):
    """An execution as `workflow run` prints it."""

    execution_id: str
    workflow: str
    version: str = ""
    status: Status
    input: Any = None
    output: Any = None
    error: str | None = None
    started_at: str
    finished_at: str | None = None
    run_id: str | None = None

    @classmethod
    def of(cls, execution: ExecutionAnswer | Execution) -> RunAnswer:
        """Return an execution in this form."""
        return cls(execution_id=execution.id, **_facts(execution, RunAnswer))


class Signaled(Answer, frozen=True, kw_only=True):
    """The signal that was sent; `awaited` is whether a task waits for it."""

    execution_id: str
    signal: str
    awaited: bool = False


class SessionLink(Answer, frozen=True, kw_only=True):
    """A URL that opens a session in a browser, once."""

    url: str
