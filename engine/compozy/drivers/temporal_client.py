"""Connect to a Temporal server, embedded or remote, and read its namespace.

The client runs on the loop thread. This module imports the Temporal client library and is therefore imported late.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from datetime import timedelta
from functools import lru_cache
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeWorkflowExecutionRequest,
    GetSystemInfoRequest,
    UpdateNamespaceRequest,
)
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from compozy.drivers.payload_codec import encrypting
from compozy.drivers.protocol import LoopThread
from compozy.errors import DriverError
from compozy.settings.keyring import Keyring

Result = TypeVar("Result")
_CALL_S = 1.0
_MARGIN_S = 0.5
_NO_EXECUTION = "compozy-health"
# A server that reads a long history while it starts may take its time.
PATIENT_S = 15.0
_REASONS = {
    RPCStatusCode.UNAUTHENTICATED: "it does not accept the credentials",
    RPCStatusCode.PERMISSION_DENIED: "the credentials do not give access to the namespace",
    RPCStatusCode.UNAVAILABLE: "it cannot be reached",
    RPCStatusCode.DEADLINE_EXCEEDED: "it did not answer in time",
    RPCStatusCode.CANCELLED: "it did not answer in time",
}


class TemporalConnection:
    """A connected client of one namespace; made by `connect`."""

    def __init__(self, loop: LoopThread, client: Client, address: str) -> None:
        self.loop = loop
        self.client = client
        self.address = address
        self.namespace_id = ""

    def ping(self, timeout_s: float = _CALL_S) -> int:
        """Read the namespace and return its retention in seconds; `namespace_id` is its identifier then.

        Raises:
            DriverError: the server does not answer, or has no such namespace.
        """
        request = DescribeNamespaceRequest(namespace=self.client.namespace)
        service = self.client.workflow_service
        found = self._call(service.describe_namespace(request, timeout=timedelta(seconds=timeout_s)), timeout_s)
        self.namespace_id = str(found.namespace_info.id)
        return int(found.config.workflow_execution_retention_ttl.seconds)

    def read_execution(self, timeout_s: float = _CALL_S) -> None:
        """Ask for an execution that does not exist, which only a server whose parts reach each other can answer.

        Raises:
            DriverError: the part that holds executions does not answer.
        """
        execution = WorkflowExecution(workflow_id=_NO_EXECUTION)
        request = DescribeWorkflowExecutionRequest(namespace=self.client.namespace, execution=execution)
        asking = self.client.workflow_service.describe_workflow_execution(request, timeout=timedelta(seconds=timeout_s))
        try:
            self.loop.call(asking, timeout_s + _MARGIN_S)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise explained(error, self.address, self.client.namespace) from error

    def keep_for(self, retention_s: int) -> None:
        """Set how long finished executions are kept.

        Raises:
            DriverError: the server refuses.
        """
        config = NamespaceConfig(workflow_execution_retention_ttl=Duration(seconds=retention_s))
        request = UpdateNamespaceRequest(namespace=self.client.namespace, config=config)
        self._call(self.client.workflow_service.update_namespace(request), PATIENT_S)

    def version(self) -> str:
        """Return the server's version.

        Raises:
            DriverError: the server does not answer.
        """
        answer = self._call(self.client.workflow_service.get_system_info(GetSystemInfoRequest()), PATIENT_S)
        return str(answer.server_version)

    def _call(self, coroutine: Coroutine[object, object, Result], timeout_s: float) -> Result:
        try:
            return self.loop.call(coroutine, timeout_s + _MARGIN_S)
        except RPCError as error:
            raise explained(error, self.address, self.client.namespace) from error
        except DriverError as error:
            raise DriverError(f"temporal at {self.address}: {error.reason}") from error


def connect(
    loop: LoopThread, address: str, namespace: str, timeout_s: float, *, keyring: Keyring | None = None,
    tls: TLSConfig | bool | None = None, api_key: str | None = None,
) -> TemporalConnection:  # fmt: skip
    """Connect to `address`; `keyring` encrypts payloads.

    Raises:
        DriverError: nothing answers there within `timeout_s`, or it is not a Temporal.
    """
    try:
        # The library's own connect has no timeout and repeats its attempts; the one of the loop thread bounds it.
        connecting = Client.connect(
            address,
            namespace=namespace,
            tls=tls,
            api_key=api_key,
            runtime=_runtime(),
            data_converter=_converter(keyring),
        )
        client = loop.call(connecting, timeout_s)
    except RPCError as error:
        raise explained(error, address, namespace) from error
    except DriverError as error:
        raise DriverError(f"temporal at {address}: {error.reason}") from error
    except (RuntimeError, ValueError) as error:
        raise DriverError(f"temporal at {address} cannot be reached: {brief(str(error))}") from error
    return TemporalConnection(loop, client, address)


def _converter(keyring: Keyring | None) -> DataConverter:
    return DataConverter.default if keyring is None else encrypting(keyring)


@lru_cache(maxsize=1)
def _runtime() -> Runtime:
    """Return a runtime of the library that logs to this package's logger instead of stdout."""
    # The core of the library would write to standard output, which belongs to the command.
    filter_ = TelemetryFilter(core_level="WARN", other_level="ERROR")
    forwarding = LogForwardingConfig(logger=logging.getLogger("compozy.temporal"))
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=filter_, forwarding=forwarding)))


def explained(error: RPCError, address: str, namespace: str) -> DriverError:
    """Return what an answer of Temporal means."""
    if error.status == RPCStatusCode.NOT_FOUND:
        create = f"temporal operator namespace create --namespace {namespace}"
        reason = f'temporal at {address} has no namespace "{namespace}"'
        return DriverError(reason, hint=f"create it ({create}), or change temporal.namespace")
    return DriverError(f"temporal at {address}: {_REASONS.get(error.status, brief(error.message))}")


def brief(text: str) -> str:
    """Return the first line of a library error, without its type names and backtrace."""
    first = text.partition("Stack backtrace")[0].strip().partition("\n")[0]
    return first.removeprefix("Failed client connect: ")[:300]
