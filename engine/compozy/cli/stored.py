"""The workflows and executions of a project without a server: its files and the rows of its database.

Only the component `database` is provisioned, so that nothing of the project runs and no execution continues.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from compozy.cli.prepare import prepared, say, tell_kept_data
from compozy.errors import NotFoundError
from compozy.provisioning.plan import make_plan

if TYPE_CHECKING:
    from compozy.store import Execution, Store
    from compozy.workflows.catalogue import Catalogue, Imported, Listing


class StoredWorkflows:
    """What the catalogue and the store of a project hold, in the form of `Workflows`."""

    def __init__(self, catalogue: Catalogue, store: Store) -> None:
        self._catalogue = catalogue
        self._store = store

    def workflows(self) -> Listing:
        """Return the workflows that can be run."""
        return self._catalogue.listing()

    def executions(self, *, limit: int) -> tuple[Execution, ...]:
        """Return the newest executions first."""
        return self._store.executions(limit=limit)

    def execution(self, execution_id: str) -> dict[str, Any]:
        """Return one execution with its tasks.

        Raises:
            NotFoundError: the database has no row of it.
        """
        from compozy.store.records import execution_json

        found = self._store.execution(execution_id)
        if found is None:
            raise NotFoundError("execution", execution_id)
        return execution_json(found, self._store.tasks(execution_id))

    def delete_workflow(self, workflow_id: str) -> dict[str, str]:
        """Delete an imported workflow."""
        from compozy.workflows.catalogue import deleted_json

        return deleted_json(workflow_id, self._catalogue.remove(workflow_id))

    def prune_before(self, moment: datetime, *, dry_run: bool) -> dict[str, Any]:
        """Delete the executions that ended before a moment, or only count them."""
        from compozy.store.records import timestamp

        before = timestamp(moment)
        return {"count": self._store.prune(before, dry_run=dry_run), "before": before, "dry_run": dry_run}

    def import_workflows(self, exported: Any) -> Imported:
        """Import the JSON of `workflow list`."""
        from compozy.workflows.catalogue import exported_definitions

        return self._catalogue.take(exported_definitions(exported))


@contextmanager
def stored_workflows(options: dict[str, Any], strict: bool) -> Iterator[StoredWorkflows]:
    """Yield the workflows of the project with its database open.

    Raises:
        ConfigurationError: a finding stops.
        ProvisionError: the database could not be provisioned.
    """
    from compozy.provisioning.provision import provision
    from compozy.store import Store
    from compozy.workflows.catalogue import Catalogue

    resolved = prepared(options, strict).resolved
    say("no server of this project is running; reading its files and its database")
    tell_kept_data(resolved)
    plan = make_plan(resolved)
    database = tuple(step for step in plan.steps if step.component == "database")
    with provision(replace(plan, steps=database), notice=say) as runtime:
        store = Store(runtime.database)
        if resolved.get("database.auto_migrate"):
            store.migrate()
        yield StoredWorkflows(Catalogue(store, resolved.directory, tuple(resolved.get("workflows") or ())), store)
