"""peewee models, migrations and queries: the only package that contains SQL.

The tables are a read model of Temporal's history; nothing here decides what an execution does.
"""

from compozy.store.records import FINISHED, LOST, STATUSES, Execution, Pruned, StoredWorkflow, TaskExecution
from compozy.store.store import Store
from compozy.store.unavailable import SchemaError, UnavailableError

__all__ = [
    "FINISHED", "LOST", "STATUSES", "Execution", "Pruned", "SchemaError", "Store", "StoredWorkflow", "TaskExecution",
    "UnavailableError",
]  # fmt: skip
