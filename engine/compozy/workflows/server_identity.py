"""Detect that another Temporal answers at the same address, which does not know the executions of this project."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, GetClusterInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from compozy.store import UnavailableError
from compozy.workflows.temporal import ask

Answer = TypeVar("Answer")


class TemporalIdentity:
    """The cluster and the namespace that a process works with; `fixed` when a restart of Temporal keeps both."""

    def __init__(self, client: Client, *, fixed: bool) -> None:
        self._client = client
        self._fixed = fixed
        self._known: tuple[str, str] | None = None
        self._another = False

    async def require_own(self) -> None:
        """Check again if the last check found another Temporal.

        Raises:
            UnavailableError: another Temporal answers, or none.
        """
        if self._another:
            await self.check()

    async def check(self) -> None:
        """Compare with what the first check found.

        Raises:
            UnavailableError: another Temporal answers, or none.
        """
        found = await ask(self._client, self._found(), "namespace")
        # A Temporal in memory has a new identity after each restart, which is expected.
        if self._known is None or not self._fixed:
            self._known = found
        self._another = found != self._known
        if self._another:
            reason = f"another Temporal answers at its address (namespace {found[1]} instead of {self._known[1]})"
            raise UnavailableError("temporal", f"{reason}; restart the server if that is meant")

    async def _found(self) -> tuple[str, str]:
        service, namespace = self._client.workflow_service, self._client.namespace
        cluster = await _granted(service.get_cluster_info(GetClusterInfoRequest()))
        described = await _granted(service.describe_namespace(DescribeNamespaceRequest(namespace=namespace)))
        return cluster.cluster_id if cluster else "", described.namespace_info.id if described else ""


async def _granted(call: Awaitable[Answer]) -> Answer | None:
    """Return the answer; None from a server that does not offer the call, or not to us."""
    try:
        return await call
    except RPCError as error:
        if error.status in (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.PERMISSION_DENIED):
            return None
        raise
