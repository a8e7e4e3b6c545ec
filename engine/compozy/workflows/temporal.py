"""Say what Temporal's answers mean in Compozy's own errors.

What comes in: exceptions of the Temporal client. What goes out: errors of the one tree, without secrets.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.service import RPCError, RPCStatusCode

from compozy.errors import NotFoundError, UsageError
from compozy.store import UnavailableError

_REASONS = {
    RPCStatusCode.UNAVAILABLE: "it cannot be reached",
    RPCStatusCode.DEADLINE_EXCEEDED: "it did not answer in time",
    RPCStatusCode.CANCELLED: "the connection was lost",
}


@contextmanager
def temporal_errors(execution_id: str) -> Iterator[None]:
    """Translate the failures of one call that is about `execution_id`.

    Raises:
        NotFoundError: Temporal does not know it, or it is closed.
        UsageError: Temporal refused the request.
        UnavailableError: Temporal cannot be reached.
    """
    try:
        yield
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise NotFoundError("running execution", execution_id) from error
        if error.status == RPCStatusCode.INVALID_ARGUMENT:
            raise UsageError(f"Temporal refused the request: {error.message}") from error
        raise UnavailableError("temporal", _REASONS.get(error.status, error.message)) from error
