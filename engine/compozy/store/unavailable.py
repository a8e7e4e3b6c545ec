"""The failure of a provisioned component that does not answer; the HTTP interface turns it into 503."""

from __future__ import annotations

from compozy.errors import DriverError


class UnavailableError(DriverError):
    """A component is out of reach for now; `component` is `database`, `temporal` or `redis`."""

    id = "component.unavailable"

    def __init__(
        self, component: str, reason: str, *, hint: str = "try again; `compozy status` shows its health"
    ) -> None:
        super().__init__(f"{component} is not available: {reason}", hint=hint)
        self.component = component
        self.detail = reason


class SchemaError(DriverError):
    """A database whose tables this version cannot use; `migrations` names those that are missing or unknown."""

    id = "database.schema"

    def __init__(self, reason: str, migrations: tuple[str, ...], *, hint: str) -> None:
        super().__init__(reason, hint=hint)
        self.migrations = migrations
