"""Read and write executions and imported workflows.

What comes in: records. What goes out: records. Every write is an idempotent upsert, so that delivering it
twice, late or out of order gives the same row; a finished status is never changed again, but for that of an
execution that was taken for lost. The tables are bound per `Store`, never globally, and each call uses the
calling thread's connection or opens one for its duration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import peewee
from playhouse.pool import MaxConnectionsExceeded

from compozy.store import migrate
from compozy.store.records import LOST, RUNNING, Execution, StoredWorkflow
from compozy.store.unavailable import UnavailableError

MAX_LIMIT = 1000
_EXECUTION = ("id", "workflow", "version", "status", "input", "output", "error", "started_at", "finished_at")
_OUTCOME = ("status", "output", "error", "started_at", "finished_at")
_WORKFLOW = ("id", "version", "definition", "imported_at")
_BUGS = (peewee.ProgrammingError, peewee.IntegrityError, peewee.DataError, peewee.NotSupportedError)

Result = TypeVar("Result")


class Store:
    """The read model of one database; safe to use from several threads at once."""

    def __init__(self, database: peewee.Database) -> None:
        self._database: Any = database
        self._executions: Any = peewee.Table("executions", _EXECUTION, "id", _database=database)
        self._workflows: Any = peewee.Table("workflows", _WORKFLOW, "id", _database=database)

    def migrate(self) -> tuple[str, ...]:
        """Bring the schema to the shipped version; return the names of what ran.

        Raises:
            UnavailableError: the database does not answer, or refuses.
        """
        return self._run(lambda: migrate.migrate(self._database))

    def revert(self, target: str | None = None) -> tuple[str, ...]:
        """Take back the newest migration, or all through `target`.

        Raises:
            UnavailableError: the database does not answer, or refuses.
        """
        return self._run(lambda: migrate.revert(self._database, target))

    def pending(self) -> tuple[str, ...]:
        """Return the names of migrations that are not applied yet.

        Raises:
            UnavailableError: the database does not answer.
        """
        return self._run(lambda: migrate.pending(self._database))

    def ping(self) -> None:
        """Run the cheapest query.

        Raises:
            UnavailableError: the database does not answer.
        """
        self._run(lambda: self._database.execute_sql("SELECT 1").fetchone())

    def record_started(self, execution: Execution) -> None:
        """Insert the row of a running execution; a row that is there already stays, unless it was taken for lost.

        Raises:
            UnavailableError: the database does not answer.
        """
        lost = self._executions.error == LOST
        self._run(lambda: self._upsert(execution, lost))

    def record_finished(self, execution: Execution) -> None:
        """Write the final status, output and error; the first final status stays, unless it was a loss.

        Raises:
            UnavailableError: the database does not answer.
        """
        rows = self._executions
        self._run(lambda: self._upsert(execution, (rows.status == RUNNING) | (rows.error == LOST)))

    def execution(self, execution_id: str) -> Execution | None:
        """Return one execution, or None.

        Raises:
            UnavailableError: the database does not answer.
        """
        found = self._one(self._executions, execution_id)
        return None if found is None else _execution(found)

    def executions(
        self, *, limit: int = 100, workflow: str | None = None, status: str | None = None,
        before: Execution | None = None,
    ) -> tuple[Execution, ...]:  # fmt: skip
        """Return the newest executions first, at most `limit` (1 to 1000); with `before` only those that come after it.

        Raises:
            UnavailableError: the database does not answer.
        """
        if workflow is not None and not _storable(workflow):
            return ()
        rows = self._executions
        query = rows.select().order_by(rows.started_at.desc(), rows.id.desc()).limit(max(1, min(limit, MAX_LIMIT)))
        if workflow is not None:
            query = query.where(rows.workflow == workflow)
        if status is not None:
            query = query.where(rows.status == status)
        if before is not None:
            same = (rows.started_at == before.started_at) & (rows.id < before.id)
            query = query.where((rows.started_at < before.started_at) | same)
        return self._run(lambda: tuple(_execution(row) for row in query.dicts()))

    def count_by_status(self) -> Mapping[str, int]:
        """Return how many executions have each status; absent means none.

        Raises:
            UnavailableError: the database does not answer.
        """
        rows = self._executions
        query = rows.select(rows.status, peewee.fn.COUNT(rows.id).alias("count")).group_by(rows.status)
        return self._run(lambda: {row["status"]: row["count"] for row in query.dicts()})

    def save_workflow(self, workflow: StoredWorkflow) -> None:
        """Insert or replace an imported definition.

        Raises:
            UnavailableError: the database does not answer.
        """
        row = {
            "id": workflow.id,
            "version": workflow.version,
            "definition": json.dumps(workflow.definition),
            "imported_at": workflow.imported_at,
        }
        insert = self._workflows.insert(row).on_conflict(
            conflict_target=["id"], preserve=["version", "definition", "imported_at"]
        )
        self._run(insert.execute)

    def workflow(self, workflow_id: str) -> StoredWorkflow | None:
        """Return one imported definition, or None.

        Raises:
            UnavailableError: the database does not answer.
        """
        found = self._one(self._workflows, workflow_id)
        return None if found is None else _workflow(found)

    def workflows(self) -> tuple[StoredWorkflow, ...]:
        """Return every imported definition, ordered by id.

        Raises:
            UnavailableError: the database does not answer.
        """
        rows = self._workflows
        return self._run(lambda: tuple(_workflow(row) for row in rows.select().order_by(rows.id).dicts()))

    def _one(self, rows: Any, row_id: str) -> Mapping[str, Any] | None:
        if not _storable(row_id):
            return None
        found = self._run(lambda: list(rows.select().where(rows.id == row_id).dicts()))
        return found[0] if found else None

    def _upsert(self, execution: Execution, replaceable: Any) -> None:
        insert = self._executions.insert(_row(execution))
        insert.on_conflict(conflict_target=["id"], preserve=_OUTCOME, where=replaceable).execute()

    def _run(self, operation: Callable[[], Result]) -> Result:
        try:
            return self._connected(operation)
        except _BUGS:
            raise
        except (peewee.DatabaseError, peewee.InterfaceError, MaxConnectionsExceeded) as error:
            raise UnavailableError("database", _first_line(error)) from error

    def _connected(self, operation: Callable[[], Result]) -> Result:
        opened = self._database.connect(reuse_if_open=True)
        try:
            return operation()
        finally:
            if opened:
                self._database.close()


def _storable(text: str) -> bool:
    """Tell whether a text can be in a row at all: no database takes half characters, PostgreSQL no zero bytes."""
    return "\0" not in text and text.encode(errors="replace").decode() == text


def _row(execution: Execution) -> dict[str, Any]:
    return execution.to_json() | {
        "input": json.dumps(dict(execution.input)),
        "output": None if execution.output is None else json.dumps(execution.output),
    }


def _execution(row: Mapping[str, Any]) -> Execution:
    output = None if row["output"] is None else json.loads(row["output"])
    return Execution(**{**row, "input": json.loads(row["input"]), "output": output})


def _workflow(row: Mapping[str, Any]) -> StoredWorkflow:
    return StoredWorkflow(**{**row, "definition": json.loads(row["definition"])})


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
