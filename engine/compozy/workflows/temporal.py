"""Ask Temporal, and translate its failures into the errors of Compozy.

A slow server is waited for; a lost one is noticed within seconds, while the client alone retries without end. Errors
contain no secrets.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from compozy.errors import CompozyError, NotFoundError, UsageError
from compozy.settings.keyring import PAYLOAD_REFUSED
from compozy.store import UnavailableError

PATIENCE_S = 1.0
REACH_TIMEOUT = timedelta(seconds=5)
Result = TypeVar("Result")

_NAMESPACE = re.compile(r"(?i)namespace\b.*\bnot found")
_REASONS = {
    RPCStatusCode.UNAVAILABLE: "it cannot be reached",
    RPCStatusCode.DEADLINE_EXCEEDED: "it did not answer in time",
    RPCStatusCode.CANCELLED: "the connection was lost",
}

# The library raises a plain RuntimeError, which only its text distinguishes.
_POLL_ENDED = "No completion event found"


class UnreadablePayloadError(CompozyError):
    """An execution whose payloads no encryption key of this project opens."""

    id = "execution.unreadable"
    exit_code = 5

    def __init__(self, execution: str, reason: str) -> None:
        super().__init__(f"execution {execution} cannot be read: {reason}")
        self.reason = reason


@contextmanager
def temporal_errors(execution_id: str) -> Iterator[None]:
    """Translate the failures of one call that is about `execution_id`.

    Raises:
        NotFoundError: Temporal does not know it, or it is closed.
        UsageError: Temporal refused the request.
        UnavailableError: Temporal cannot be reached.
        UnreadablePayloadError: its payloads cannot be decrypted.
    """
    try:
        yield
    except ApplicationError as error:
        if error.type != PAYLOAD_REFUSED:
            raise
        raise UnreadablePayloadError(execution_id, error.message) from error
    except RPCError as error:
        # Before executions: a missing namespace has the same status, and must not count as a missing execution.
        if error.status == RPCStatusCode.NOT_FOUND and _NAMESPACE.match(error.message):
            raise UnavailableError("temporal", f"its namespace does not exist: {error.message}") from error
        if _lacks_namespace(error):
            raise UnavailableError("temporal", error.message) from error
        if error.status == RPCStatusCode.NOT_FOUND:
            raise NotFoundError("running execution", execution_id) from error
        if error.status == RPCStatusCode.INVALID_ARGUMENT:
            raise UsageError(f"Temporal refused the request: {error.message}") from error
        raise UnavailableError("temporal", _REASONS.get(error.status, error.message)) from error


def _lacks_namespace(error: RPCError) -> bool:
    """Return True if the namespace itself is missing, which has the same status as a missing execution."""
    return any("NamespaceNotFound" in detail.type_url for detail in error.grpc_status.details)


async def ask(
    client: Client, call: Coroutine[object, object, Result], about: str, patience_s: float = PATIENCE_S
) -> Result:
    """Return the answer to one call that is about the execution `about`, however long a busy server takes.

    Each `patience_s` without an answer the server is asked whether it is there at all.

    Raises:
        NotFoundError: Temporal does not know it, or it is closed.
        UsageError: Temporal refused the request.
        UnavailableError: Temporal cannot be reached; whether it took the call is not known.
        UnreadablePayloadError: the answer cannot be decrypted.
    """
    asking = asyncio.ensure_future(call)
    try:
        while True:
            answered, _ = await asyncio.wait([asking], timeout=patience_s)
            with temporal_errors(about):
                if answered:
                    return asking.result()
                # Without retries: the client would repeat the call until it succeeds and so hide the outage.
                await client.service_client.check_health(retry=False, timeout=REACH_TIMEOUT)
    finally:
        asking.cancel()


async def result_of(handle: WorkflowHandle[object, object]) -> object:
    """Return the result of an execution; ask again when a poll ends without an event.

    Temporal's time-skipping server ends one after twenty seconds, which the library reports as an error.
    """
    while True:
        try:
            return await handle.result()
        except RuntimeError as error:
            if _POLL_ENDED not in str(error):
                raise
