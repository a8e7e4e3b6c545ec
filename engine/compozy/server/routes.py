"""The one table of the HTTP interface: router, OpenAPI document and page of documentation derive from it.

What comes in: nothing. What goes out: `ROUTES`. To add an endpoint, write its handler in `api.py` and one
entry here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from compozy.server import api
from compozy.server.api import Api

Handler = Callable[[Api, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation; `body` and `answer` name schemas of the OpenAPI document, `query` its parameters."""

    method: str
    path: str
    handler: Handler
    answer: str
    status: int = 200
    query: tuple[str, ...] = ()
    body: str | None = None
    open: bool = False

    @property
    def summary(self) -> str:
        """Return the first line of the handler's docstring."""
        return (self.handler.__doc__ or "").strip().partition("\n")[0]


V0 = "/api/v0"
ROUTES: tuple[Endpoint, ...] = (
    Endpoint("GET", "/healthz", api.alive, "Alive", open=True),
    Endpoint("GET", "/readyz", api.ready, "Ready", open=True),
    Endpoint("GET", f"{V0}/health", api.health, "Health"),
    Endpoint("GET", f"{V0}/config", api.config, "Configuration"),
    Endpoint("GET", f"{V0}/config/{{key}}", api.explain, "Explanation"),
    Endpoint("GET", f"{V0}/workflows", api.list_workflows, "WorkflowList"),
    Endpoint("POST", f"{V0}/workflows", api.import_workflows, "Imported", 201, body="WorkflowList"),
    Endpoint("GET", f"{V0}/workflows/{{workflow_id}}", api.show_workflow, "Workflow"),
    Endpoint("DELETE", f"{V0}/workflows/{{workflow_id}}", api.delete_workflow, "Deleted"),
    Endpoint(
        "GET", f"{V0}/workflows/{{workflow_id}}/executions", api.list_workflow_executions, "ExecutionList",
        query=("limit", "cursor", "status"),
    ),
    Endpoint(
        "POST", f"{V0}/workflows/{{workflow_id}}/executions", api.start_execution, "Run", 202,
        query=("wait",), body="Start",
    ),
    Endpoint(
        "GET", f"{V0}/executions", api.list_executions, "ExecutionList",
        query=("limit", "cursor", "workflow", "status"),
    ),
    Endpoint("GET", f"{V0}/executions/{{execution_id}}", api.show_execution, "ExecutionWithTasks", query=("wait",)),
    Endpoint(
        "POST", f"{V0}/executions/{{execution_id}}/cancel", api.cancel_execution, "Execution", 202,
        query=("wait",),
    ),
    Endpoint("POST", f"{V0}/executions/{{execution_id}}/terminate", api.terminate_execution, "Execution"),
    Endpoint(
        "POST", f"{V0}/executions/{{execution_id}}/signals/{{name}}", api.signal_execution, "Signaled", 202,
        body="Payload",
    ),
    Endpoint("GET", f"{V0}/events", api.events, "EventStream", query=("execution",)),
    Endpoint("GET", "/session", api.open_session, "Session", query=("token",), open=True),
    Endpoint("POST", "/session", api.new_session_link, "SessionLink", 201),
    Endpoint("POST", f"{V0}/prune", api.prune, "Pruned", body="Prune"),
    Endpoint("GET", "/metrics", api.metrics, "Metrics"),
)  # fmt: skip
