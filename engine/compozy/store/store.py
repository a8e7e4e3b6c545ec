"""Read and write executions, their tasks and imported workflows.

Every write is an idempotent upsert: delivered twice, late or out of order, it gives the same row. A finished status
does not change again, except that of an execution which was taken for lost. The tables are bound per `Store`, and each
call uses the connection of the calling thread or opens one for its duration.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import peewee

from compozy.store import schema_version as migrate
from compozy.store.connected import Connected, SqlTable, storable
from compozy.store.prepared import Prepared, Statement, statements
from compozy.store.records import LOST, RUNNING, Change, Execution, Position, RowState, StoredWorkflow, TaskExecution
from compozy.store.refusal import read_only
from compozy.store.schema_version import SchemaMigration
from compozy.store.task_rows import TaskRows
from compozy.store.unavailable import SchemaError

MAX_LIMIT = 1000
# Bounds the memory of one answer; events need no older ones.
_MOST_CHANGES = 5000
_EXECUTION = ("id", "workflow", "version", "status", "input", "output", "error", "started_at", "finished_at", "run_id")
_OUTCOME = ("status", "output", "error", "started_at", "finished_at", "run_id")
_WORKFLOW = ("id", "version", "definition", "imported_at")
_KEPT_HINT = "run `compozy migrate schema`, or set database.auto_migrate: true"
_MEMORY_HINT = "set database.auto_migrate: true; a database in memory has no tables at a start"


class Store(Connected):
    """The read model of one database; safe to use from several threads at once."""

    def __init__(self, database: peewee.Database) -> None:
        super().__init__(database)
        self._executions = SqlTable("executions", _EXECUTION, "id", _database=database)
        self._workflows = SqlTable("workflows", _WORKFLOW, "id", _database=database)
        self._tasks = TaskRows(database)
        self._started, self._ended = Prepared(self._start, _EXECUTION), Prepared(self._end, _EXECUTION)

    def migrate(self, target: str | None = None) -> tuple[str, ...]:
        """Bring the schema to the shipped version, or up to `target`; return the names of what ran.

        Raises:
            UnavailableError: the database does not answer, or refuses.
            SchemaError: a newer version has migrated the database.
            UsageError: `target` is not a migration.
        """
        self._refuse_newer()
        return self._run(lambda: migrate.migrate(self._database, target))

    def rehearse(self) -> tuple[str, ...]:
        """Migrate and roll everything back; return the names of what a migration would run.

        Raises:
            UnavailableError, SchemaError: as `migrate`.
        """
        self._refuse_newer()
        return self._run(lambda: migrate.rehearse(self._database))

    def revert(self, target: str | None = None) -> tuple[str, ...]:
        """Revert the newest migration, or all back through `target`; return the names.

        Raises:
            UnavailableError: the database does not answer, or refuses.
            UsageError: `target` is not an applied migration.
        """
        return self._run(lambda: migrate.revert(self._database, target))

    def migrations(self) -> tuple[SchemaMigration, ...]:
        """Return the shipped and the applied migrations, in order.

        Raises:
            UnavailableError: the database does not answer.
        """
        return self._run(lambda: migrate.migrations(self._database))

    def require_schema(self, *, kept: bool = True) -> None:
        """Refuse a schema that is not of this version, without changing it; `kept`: the database survives a restart.

        Raises:
            UnavailableError: the database does not answer.
            SchemaError: migrations are missing, or a newer version has migrated the database.
        """
        missing = self.missing()
        if missing:
            raise SchemaError(
                f"the database lacks {'migration' if len(missing) == 1 else 'migrations'} {', '.join(missing)}",
                missing,
                hint=_KEPT_HINT if kept else _MEMORY_HINT,
            )

    def missing(self) -> tuple[str, ...]:
        """Return the names of the migrations that a start would apply.

        Raises:
            UnavailableError, SchemaError: as `migrate`.
        """
        self._refuse_newer()
        return tuple(one.name for one in self.migrations() if one.applied_at is None)

    def _refuse_newer(self) -> None:
        newer = tuple(one.name for one in self.migrations() if not one.shipped)
        if newer:
            raise SchemaError(
                f"a newer version of Compozy has migrated the database: {', '.join(newer)}",
                newer,
                hint="use that version, or restore a backup of this one",
            )

    def ping(self) -> None:
        """Run the cheapest query.

        Raises:
            UnavailableError: the database does not answer.
        """
        self._run(lambda: self._database.execute_sql("SELECT 1").fetchone())

    def require_writable(self) -> None:
        """Ask the server whether it accepts writes; of a SQLite file only whether it can be read.

        Raises:
            UnavailableError: the database does not answer, or is read-only.
        """
        file = isinstance(self._database, peewee.SqliteDatabase)
        question = "SELECT 'off'" if file else "SELECT current_setting('transaction_read_only')"
        if self._run(lambda: self._database.execute_sql(question).fetchone()) != ("off",):
            raise read_only()

    def record_started(self, execution: Execution, tasks: Sequence[TaskExecution] = ()) -> None:
        """Insert the row of a running execution; one that is there stays, unless it was lost or its run has ended.

        `tasks` replace those that were written before, unless the execution has ended; without any, these stay.

        Raises:
            UnavailableError: the database does not answer.
        """
        self._write(self._started.bind(_row(execution), tasks))

    def record_finished(self, execution: Execution, tasks: Sequence[TaskExecution] | None = None) -> None:
        """Write the final status, output and error; the first one of a run stays, unless it was a loss.

        `tasks` replace those that were written before; None ends those that run as the execution ended.

        Raises:
            UnavailableError: the database does not answer.
        """
        self._write(self._ended.bind(_row(execution), tasks))

    def record_tasks(self, tasks: Sequence[TaskExecution]) -> None:
        """Write how far some tasks of an execution are; those that have ended stay.

        Raises:
            UnavailableError: the database does not answer.
        """
        self._write(statements(self._tasks.update(tasks)))

    def tasks(self, execution_id: str) -> tuple[TaskExecution, ...]:
        """Return the tasks of an execution in the order in which they began.

        Raises:
            UnavailableError: the database does not answer.
        """
        return self._run(lambda: self._tasks.of(execution_id)) if storable(execution_id) else ()

    def correct(self, execution: Execution) -> None:
        """Overwrite the row of an execution with what Temporal knows.

        Raises:
            UnavailableError: the database does not answer.
        """
        row = _row(execution)
        more = [self._tasks.close(row)] if execution.finished else []
        self._write(statements([self._upsert(row, None), *more]))

    def execution(self, execution_id: str) -> Execution | None:
        """Return one execution, or None.

        Raises:
            UnavailableError: the database does not answer.
        """
        found = self._one(self._executions, execution_id)
        return None if found is None else _execution(found)

    def states(self, ids: Sequence[str]) -> Mapping[str, RowState]:
        """Return the states in the rows of these executions; absent means no row.

        Raises:
            UnavailableError: the database does not answer.
        """
        rows = self._executions
        query = rows.select(rows.id, rows.status, rows.error, rows.run_id).where(rows.id.in_(list(ids)))
        return self._run(
            lambda: {row["id"]: RowState(row["status"], row["error"], row["run_id"]) for row in query.dicts()}
        )

    def executions(
        self, *, limit: int = 100, workflow: str | None = None, status: str | None = None,
        before: Position | None = None,
    ) -> tuple[Execution, ...]:  # fmt: skip
        """Return the newest executions first, at most `limit` (1 to 1000); with `before` those after that place.

        Raises:
            UnavailableError: the database does not answer.
        """
        if workflow is not None and not storable(workflow):
            return ()
        rows = self._executions
        query = rows.select().order_by(rows.started_at.desc(), rows.id.desc()).limit(max(1, min(limit, MAX_LIMIT)))
        if workflow is not None:
            query = query.where(rows.workflow == workflow)
        if status is not None:
            query = query.where(rows.status == status)
        if before is not None:
            # Pages by position and not by offset: rows that are inserted meanwhile neither repeat nor hide others.
            same = (rows.started_at == before.started_at) & (rows.id < before.id)
            query = query.where((rows.started_at < before.started_at) | same)
        return self._run(lambda: tuple(_execution(row) for row in query.dicts()))

    def changes(self, since: str, ids: Collection[str]) -> tuple[Change, ...]:
        """Return the executions that run, started at `since` or later, or are in `ids`; the newest 5,000, oldest first.

        Raises:
            UnavailableError: the database does not answer.
        """
        rows = self._executions
        columns = [getattr(rows, name) for name in Change.__slots__]
        wanted = (rows.started_at >= since) | (rows.status == RUNNING) | rows.id.in_(list(ids))
        query = (
            rows.select(*columns).where(wanted).order_by(rows.started_at.desc(), rows.id.desc()).limit(_MOST_CHANGES)
        )
        return self._run(lambda: tuple(Change(**row) for row in query.dicts())[::-1])

    def prune(self, before: str, *, dry_run: bool = False) -> int:
        """Delete the executions that ended before a moment, or only count them; return how many.

        Raises:
            UnavailableError: the database does not answer.
        """
        rows = self._executions
        old = (rows.status != RUNNING) & (rows.finished_at < before)
        if dry_run:
            return self._run(lambda: int(rows.select(rows.id).where(old).count()))
        count = 0
        # In portions, so that the deletion of many rows does not hold the write lock against running executions.
        while ids := self._run(lambda: [row["id"] for row in rows.select(rows.id).where(old).limit(MAX_LIMIT).dicts()]):
            self._write(statements([rows.delete().where(rows.id.in_(ids)), self._tasks.delete(ids)]))
            count += len(ids)
        return count

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

    def delete_workflow(self, workflow_id: str) -> bool:
        """Delete an imported definition; return False for an unknown id.

        Raises:
            UnavailableError: the database does not answer.
        """
        rows = self._workflows
        return storable(workflow_id) and bool(self._run(rows.delete().where(rows.id == workflow_id).execute))

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

    def _one(self, rows: SqlTable, row_id: str) -> Mapping[str, object] | None:
        if not storable(row_id):
            return None
        found = self._run(lambda: list(rows.select().where(rows.id == row_id).dicts()))
        return found[0] if found else None

    def _start(self, row: Mapping[str, object], tasks: Sequence[TaskExecution] | None) -> Iterator[peewee.Query]:
        rows = self._executions
        # A late delivery must not set an ended execution back to running. A new run of the same id may: after a reset
        # it is the present one.
        ended = (rows.error == LOST) | ((rows.status != RUNNING) & (rows.run_id != row["run_id"]))
        yield self._upsert(row, ended)
        if tasks:
            running = rows.select(rows.id).where((rows.id == row["id"]) & (rows.status == RUNNING))
            yield from self._tasks.begin(row["id"], tasks, running)

    def _end(self, row: Mapping[str, object], tasks: Sequence[TaskExecution] | None) -> Iterator[peewee.Query]:
        rows = self._executions
        # The first end counts: the execution's own is more exact than what reconciliation finds later.
        yield self._upsert(row, (rows.status == RUNNING) | (rows.error == LOST) | (rows.run_id != row["run_id"]))
        if tasks is None:
            yield self._tasks.close(row)
        else:
            yield from self._tasks.replace(row["id"], tasks)

    def _upsert(self, row: Mapping[str, object], replaceable: object) -> peewee.Query:
        insert = self._executions.insert(row)
        return insert.on_conflict(conflict_target=["id"], preserve=_OUTCOME, where=replaceable)

    def _write(self, writes: Sequence[Statement]) -> None:
        self._run(lambda: self._together(writes))

    def _together(self, writes: Sequence[Statement]) -> None:
        """Run writes in one transaction; PostgreSQL gets them as one message, which takes one round trip."""
        if len(writes) > 1 and isinstance(self._database, peewee.SqliteDatabase):
            with self._database.atomic():
                for write in writes:
                    self._database.execute_sql(*write)
        # PostgreSQL runs a message of several statements as one implicit transaction.
        elif writes:
            texts, values = zip(*writes, strict=True)
            self._database.execute_sql("; ".join(texts), [value for given in values for value in given])


def _row(execution: Execution) -> dict[str, object]:
    """Return the values of the columns, in their order."""
    row: dict[str, object] = {name: getattr(execution, name) for name in _EXECUTION}
    row["input"] = json.dumps(dict(execution.input))
    row["output"] = None if execution.output is None else json.dumps(execution.output)
    return row


def _execution(row: Mapping[str, Any]) -> Execution:
    output = None if row["output"] is None else json.loads(row["output"])
    return Execution(**{**row, "input": json.loads(row["input"]), "output": output})


def _workflow(row: Mapping[str, Any]) -> StoredWorkflow:
    return StoredWorkflow(**{**row, "definition": json.loads(row["definition"])})
