"""The route table, from which router, OpenAPI document and documentation page derive.

An endpoint is a handler in `api.py` and one entry here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from compozy.base.record import dataclass
from compozy.client import answers, knowledge_answers, memory_answers
from compozy.memory.message import MAX_MESSAGES
from compozy.server import api, knowledge_api, memory_api
from compozy.server.api import Api

Handler = Callable[[Api, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Content:
    """A body that is not one of the records of `answers`; `schema` is its JSON Schema."""

    media: str
    schema: Mapping[str, object]


Body: TypeAlias = type[msgspec.Struct] | Content
JSON = "application/json"
_TEXT = {"type": "string"}
CONFIGURATION = Content(JSON, {"type": "object", "properties": {"settings": {"type": "object"}}})
EXPLANATION = Content(JSON, {"type": "object", "properties": {"key": _TEXT}})
PAYLOAD = Content(JSON, {"description": "Any JSON value."})
_MESSAGE = {
    "type": "object",
    "properties": {"role": {**_TEXT, "default": "user"}, "content": {"description": "A text, or any JSON value."}},
    "required": ["content"],
}
MESSAGES = Content(JSON, {"oneOf": [_MESSAGE, {"type": "array", "items": _MESSAGE, "maxItems": MAX_MESSAGES}]})
METRICS = Content("text/plain", _TEXT)
PAGE = Content("text/html", _TEXT)
EVENT_STREAM = Content(
    "text/event-stream",
    {
        **_TEXT,
        "description": "Blocks of event, id and data (JSON). execution: an execution changed. component: the health of "
        "a component or of the worker changed. reset: events were missed; read the lists again.",
    },
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `answer` is a record, or a content without one; `query` names parameters.

    With `rest` the last parameter of the path is all that follows, slashes included.
    """

    method: str
    path: str
    handler: Handler
    answer: Body
    status: int = 200
    query: tuple[str, ...] = ()
    body: Body | None = None
    open: bool = False
    rest: bool = False

    @property
    def summary(self) -> str:
        """Return the first line of the handler's docstring."""
        return (self.handler.__doc__ or "").strip().partition("\n")[0]

    @property
    def route(self) -> str:
        """Return the path as the router reads it."""
        return f"{self.path[:-1]}:path}}" if self.rest else self.path


V0 = "/api/v0"
_KEY = f"{V0}/memory/{{memory_id}}/{{key}}"
ROUTES: tuple[Operation, ...] = (
    Operation("GET", "/healthz", api.alive, answers.Alive, open=True),
    Operation("GET", "/readyz", api.ready, answers.Readiness, open=True),
    Operation("GET", f"{V0}/health", api.health, answers.HealthAnswer),
    Operation("GET", f"{V0}/config", api.config, CONFIGURATION),
    Operation("GET", f"{V0}/config/{{key}}", api.explain, EXPLANATION),
    Operation("GET", f"{V0}/workflows", api.list_workflows, answers.WorkflowList),
    Operation("POST", f"{V0}/workflows", api.import_workflows, answers.ImportAnswer, 201, body=answers.WorkflowList),
    Operation("GET", f"{V0}/workflows/{{workflow_id}}", api.show_workflow, answers.WorkflowAnswer),
    Operation("DELETE", f"{V0}/workflows/{{workflow_id}}", api.delete_workflow, answers.Deletion),
    Operation(
        "GET", f"{V0}/workflows/{{workflow_id}}/executions", api.list_workflow_executions, answers.ExecutionList,
        query=("limit", "cursor", "status"),
    ),
    Operation(
        "POST", f"{V0}/workflows/{{workflow_id}}/executions", api.start_execution, answers.RunAnswer, 202,
        query=("wait",), body=answers.StartRequest,
    ),
    Operation(
        "GET", f"{V0}/executions", api.list_executions, answers.ExecutionList,
        query=("limit", "cursor", "workflow", "status"),
    ),
    Operation(
        "GET", f"{V0}/executions/{{execution_id}}", api.show_execution, answers.ExecutionWithTasks, query=("wait",)
    ),
    Operation(
        "POST", f"{V0}/executions/{{execution_id}}/cancel", api.cancel_execution, answers.ExecutionAnswer, 202,
        query=("wait",),
    ),
    Operation("POST", f"{V0}/executions/{{execution_id}}/terminate", api.terminate_execution, answers.ExecutionAnswer),
    Operation(
        "POST", f"{V0}/executions/{{execution_id}}/signals/{{name}}", api.signal_execution, answers.Signaled, 202,
        body=PAYLOAD,
    ),
    Operation("GET", f"{V0}/memory", memory_api.list_memories, memory_answers.MemoryList),
    Operation(
        "GET", f"{V0}/memory/{{memory_id}}", memory_api.list_memory_keys, memory_answers.MemoryKeys,
        query=("limit", "cursor"),
    ),
    Operation(
        "GET", _KEY, memory_api.read_memory, memory_answers.MemoryMessages, query=("limit", "before"), rest=True
    ),
    Operation("POST", _KEY, memory_api.append_memory, memory_answers.MemoryChanged, body=MESSAGES, rest=True),
    Operation("PUT", _KEY, memory_api.write_memory, memory_answers.MemoryChanged, body=MESSAGES, rest=True),
    Operation("DELETE", _KEY, memory_api.delete_memory, memory_answers.MemoryChanged, query=("only",), rest=True),
    Operation("GET", f"{V0}/knowledge", knowledge_api.list_knowledge, knowledge_answers.KnowledgeList),
    Operation(
        "GET", f"{V0}/knowledge/{{base}}", knowledge_api.show_knowledge, knowledge_answers.BaseAnswer, query=("wait",)
    ),
    Operation("DELETE", f"{V0}/knowledge/{{base}}", knowledge_api.delete_knowledge, knowledge_answers.BaseDeletion),
    Operation(
        "POST", f"{V0}/knowledge/{{base}}/ingest", knowledge_api.ingest_knowledge, knowledge_answers.BaseAnswer, 202,
        query=("wait",), body=knowledge_answers.IngestRequest,
    ),
    Operation(
        "POST", f"{V0}/knowledge/{{base}}/query", knowledge_api.query_knowledge, knowledge_answers.QueryAnswer,
        body=knowledge_answers.QueryRequest,
    ),
    Operation("GET", f"{V0}/events", api.events, EVENT_STREAM, query=("execution",)),
    Operation("GET", "/session", api.open_session, PAGE, query=("token",), open=True),
    Operation("POST", "/session", api.new_session_link, answers.SessionLink, 201),
    Operation("POST", f"{V0}/prune", api.prune, answers.PruneAnswer, body=answers.PruneRequest),
    Operation("GET", "/metrics", api.metrics, METRICS),
)  # fmt: skip
