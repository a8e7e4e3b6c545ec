"""Generate and check the ids of executions.

An id is valid in Temporal, in a URL and in a shell without quoting.
"""

from __future__ import annotations

import re
import secrets

from compozy.errors import UsageError

_ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}\Z")


def new_execution_id(workflow_id: str) -> str:
    """Return a unique id: the workflow's id and 64 random bits."""
    return f"{workflow_id}-{secrets.token_hex(8)}"


def checked_execution_id(name: str) -> str:
    """Return `name` as it is.

    Raises:
        UsageError: it has other characters than are allowed, or too many.
    """
    if not _ALLOWED.match(name):
        raise UsageError(f'execution id "{name}" must be letters, digits, ., _, : and - (at most 200)')
    return name
