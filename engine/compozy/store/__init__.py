"""peewee models, migrations and queries: the only package that contains SQL.

The tables are a read model of Temporal's history; nothing here decides what an execution does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compozy.store.records import FINISHED, LOST, STATUSES, Execution, Pruned, StoredWorkflow, TaskExecution
from compozy.store.unavailable import SchemaError, UnavailableError

__all__ = [
    "FINISHED", "LOST", "STATUSES", "Execution", "Pruned", "SchemaError", "Store", "StoredWorkflow", "TaskExecution",
    "UnavailableError",
]  # fmt: skip

if TYPE_CHECKING:
    from compozy.store.store import Store


def __getattr__(name: str) -> object:
    """Import `Store`, and with it the database libraries, when it is asked for; a client needs the records only."""
    if name == "Store":
        from compozy.store.store import Store

        return Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
