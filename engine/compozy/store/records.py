"""Frozen records of the rows of the store.

`Execution` has a JSON form. Times are
UTC in ISO 8601 with microseconds and `Z`, so that their text order is their order in time.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from compozy.base.record import dataclass

RUNNING = "running"
FINISHED = ("completed", "failed", "canceled", "terminated", "timed_out")
STATUSES = (RUNNING, *FINISHED)
LOST = "Temporal does not know this execution: its history was not kept, or is in another Temporal"


def timestamp(moment: datetime | None = None) -> str:
    """Return `moment` (default: now) as the store writes it.

    >>> timestamp(datetime(2025, 1, 2, 3, 4, 5, 678, tzinfo=UTC))
    '2025-01-02T03:04:05.000678Z'
    """
    at = (moment or datetime.now(UTC)).astimezone(UTC)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


class Position(NamedTuple):
    """A place in the list of executions, which is ordered by start and then by id, the newest first."""

    started_at: str
    id: str

    def cursor(self) -> str:
        """Return the position as an opaque text of URL-safe characters."""
        return urlsafe_b64encode(json.dumps(self).encode()).decode().rstrip("=")


def read_cursor(text: str) -> Position:
    """Return the position that `Position.cursor` wrote.

    Raises:
        ValueError: no cursor has this text.
    """
    found = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    if not isinstance(found, list) or len(found) != 2 or not all(isinstance(part, str) for part in found):
        raise ValueError("not a cursor")
    # Databases refuse NUL and half of a surrogate pair, and compare another form of the moment as text.
    moment = datetime.strptime(found[0], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    if timestamp(moment) != found[0] or not found[1].isprintable():
        raise ValueError("not a cursor")
    return Position(*found)


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a workflow; `status` is one of `STATUSES`, `output` is None until it completed.

    `run_id` is Temporal's: a reset gives the execution another one.
    """

    id: str
    workflow: str
    version: str
    status: str
    input: Mapping[str, object]
    started_at: str
    finished_at: str | None = None
    output: object = None
    error: str | None = None
    run_id: str | None = None

    @property
    def finished(self) -> bool:
        """Return True if the status is final."""
        return self.status in FINISHED

    @property
    def position(self) -> Position:
        """The place in the list of executions."""
        return Position(self.started_at, self.id)

    def to_json(self) -> dict[str, object]:
        """Return the record as the command line and the HTTP interface print it."""
        return {
            "id": self.id,
            "workflow": self.workflow,
            "version": self.version,
            "status": self.status,
            "input": dict(self.input),
            "output": self.output,
            "error": self.error,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "run_id": self.run_id,
        }


@dataclass(frozen=True, slots=True)
class TaskExecution:
    """One turn of a task: `path` is its id behind those of the blocks around it, `iteration` counts from 0.

    `status` is one of `STATUSES` or `skipped`; `attempt` is the number of the last try, 0 for a task without tries.
    """

    execution: str
    path: str
    iteration: int
    type: str
    status: str
    started_at: str
    finished_at: str | None = None
    attempt: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RowState:
    """The state of an execution in its row."""

    status: str
    error: str | None
    run_id: str | None

    @property
    def finished(self) -> bool:
        """Return True if the status is final."""
        return self.status in FINISHED


@dataclass(frozen=True, slots=True)
class Change:
    """An execution without its input and output, as events carry it."""

    id: str
    workflow: str
    status: str
    error: str | None
    started_at: str
    finished_at: str | None


@dataclass(frozen=True, slots=True)
class Pruned:
    """The number of executions deleted, or to be deleted, that ended before a moment; None where all are kept."""

    count: int
    before: str | None


@dataclass(frozen=True, slots=True)
class StoredWorkflow:
    """A workflow definition that was imported; `definition` is its plain JSON form."""

    id: str
    version: str
    definition: Mapping[str, object]
    imported_at: str
