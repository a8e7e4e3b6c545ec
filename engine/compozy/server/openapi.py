"""Describe the HTTP interface: an OpenAPI 3.1 document and a page that needs nothing from elsewhere.

What comes in: the route table. What goes out: JSON-serialisable data and HTML.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape
from typing import Any

from compozy import __version__
from compozy.server.problem_details import MEDIA_TYPE
from compozy.server.routes import Endpoint
from compozy.store.records import STATUSES

_TEXT = {"type": "string"}
_NULLABLE = {"type": ["string", "null"]}
_BOOLEAN = {"type": "boolean"}
_MAPPING = {"type": "object"}
_ANY: dict[str, Any] = {}
_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "limit": {"schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}},
    "cursor": {"schema": _TEXT, "description": "The next_cursor of the page before."},
    "execution": {"schema": _TEXT, "description": "Only events of this execution."},
    "workflow": {"schema": _TEXT},
    "token": {"schema": _TEXT, "description": "The token of a link that was not used yet."},
    "status": {"schema": {"enum": list(STATUSES)}},
    "wait": {"schema": _TEXT, "description": "How long to wait for the end, such as 30s; at most 600s."},
}
_EXECUTION = {
    "workflow": _TEXT, "status": {"enum": list(STATUSES)}, "output": _ANY, "error": _NULLABLE,
    "started_at": _TEXT, "finished_at": _NULLABLE, "run_id": _NULLABLE,
}  # fmt: skip


def _object(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(items)}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_SCHEMAS: Mapping[str, Any] = {
    "Alive": _object({"status": {"const": "alive"}}, "status"),
    "Ready": _object({"ready": _BOOLEAN, "waiting_for": _list(_TEXT)}, "ready"),
    "Health": _object(
        {"state": _TEXT, "mode": _TEXT, "ready": _BOOLEAN, "components": _MAPPING, "worker": _MAPPING}, "ready",
    ),
    "Configuration": _object({"settings": _MAPPING}),
    "Explanation": _object({"key": _TEXT}),
    "Workflow": _object({"id": _TEXT, "version": _TEXT, "definition": _MAPPING, "source": _TEXT}, "id", "definition"),
    "WorkflowList": _object({"workflows": _list(_ref("Workflow"))}, "workflows"),
    "Imported": _object({"imported": _list(_TEXT), "hidden": _MAPPING}, "imported"),
    "Deleted": _object({"deleted": _TEXT}, "deleted"),
    "Prune": _object({"older_than": _TEXT, "dry_run": _BOOLEAN}),
    "Pruned": _object({"count": {"type": "integer"}, "before": _NULLABLE, "dry_run": _BOOLEAN}, "count"),
    "Execution": _object({"id": _TEXT, "version": _TEXT, "input": _MAPPING, **_EXECUTION}, "id", "status"),
    "ExecutionWithTasks": _object(
        {"id": _TEXT, "version": _TEXT, "input": _MAPPING, **_EXECUTION, "tasks": _list(_ref("TaskExecution"))},
        "id", "status", "tasks",
    ),
    "TaskExecution": _object(
        {
            "path": _TEXT, "iteration": {"type": "integer"}, "type": _TEXT, "status": _TEXT, "started_at": _TEXT,
            "finished_at": _NULLABLE, "attempt": {"type": "integer"}, "error": _NULLABLE,
        },
        "path", "iteration", "type", "status",
    ),
    "ExecutionList": _object(
        {"executions": _list(_ref("Execution")), "next_cursor": {**_NULLABLE, "description": "Null on the last page."}},
        "executions",
    ),
    "Run": _object({"execution_id": _TEXT, **_EXECUTION}, "execution_id", "workflow", "status", "output"),
    "Start": _object(
        {
            "input": _MAPPING,
            "execution_id": {**_TEXT, "description": "Chosen by the client: twice is one execution."},
            "definition": {**_MAPPING, "description": "Run this instead of a known workflow."},
            "source": {**_TEXT, "description": "The definition as YAML text; messages keep its lines."},
            "file": {**_TEXT, "description": "The name of `source` in messages."},
        }
    ),
    "Signaled": _object({"execution_id": _TEXT, "signal": _TEXT, "awaited": _BOOLEAN}),
    "Payload": {"description": "Any JSON value."},
    "Session": _TEXT,
    "SessionLink": _object({"url": _TEXT}, "url"),
    "Metrics": _TEXT,
    "EventStream": {
        **_TEXT,
        "description": "Blocks of event, id and data (JSON). execution: an execution changed. component: the health of "
        "a component or of the worker changed. reset: events were missed; read the lists again.",
    },
    "Problem": _object(
        {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT, "id": _TEXT},
        "type", "title", "status", "detail", "id",
    ),
}  # fmt: skip
_MEDIA = {"Metrics": "text/plain", "Session": "text/html", "EventStream": "text/event-stream"}


def openapi_document(routes: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of `routes`."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in routes:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    schemes = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Compozy", "version": __version__, "license": {"name": "MIT"}},
        "paths": paths,
        "components": {"schemas": dict(_SCHEMAS), "securitySchemes": schemes},
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    media = {"Metrics": "text/plain", "Session": "text/html", "EventStream": "text/event-stream"}.get(
        endpoint.answer, "application/json"
    )
    answer = {"description": "Done", "content": {media: {"schema": _ref(endpoint.answer)}}}
    failure = {"description": "Problem", "content": {MEDIA_TYPE: {"schema": _ref("Problem")}}}
    operation: dict[str, Any] = {
        "operationId": endpoint.handler.__name__,
        "summary": endpoint.summary,
        "parameters": [*_path_parameters(endpoint.path), *_query_parameters(endpoint)],
        "responses": {str(status): answer for status in sorted({200, endpoint.status})} | {"default": failure},
    }
    if endpoint.body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": _ref(endpoint.body)}}}
    if not endpoint.open:
        operation["security"] = [{"bearer": []}, {"key": []}]
    return operation


def _path_parameters(path: str) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", path):
        yield {"name": name, "in": "path", "required": True, "schema": _TEXT}


def _query_parameters(endpoint: Endpoint) -> Iterator[dict[str, Any]]:
    for name in endpoint.query:
        yield {"name": name, "in": "query", **_PARAMETERS[name]}


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color-scheme: light dark }
td { padding: .25rem 1rem .25rem 0; vertical-align: top } code { white-space: nowrap }
"""
# The only style that a browser may apply to a page of this server, as a source of a content security policy.
STYLE_SOURCE = f"'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Compozy HTTP interface</title>
<meta name="viewport" content="width=device-width"><style>{style}</style></head><body><h1>Compozy {version}</h1>
<p>Machine-readable: <a href="/openapi.json">/openapi.json</a>. Failures are
<a href="https://www.rfc-editor.org/rfc/rfc9457">problem documents</a> with a stable <code>id</code>.</p>
<table><tbody>{rows}</tbody></table></body></html>
"""


def docs_page(routes: Sequence[Endpoint]) -> str:
    """Return the page of documentation: one row an operation."""
    return _PAGE.format(style=_STYLE, version=escape(__version__), rows="".join(_row(endpoint) for endpoint in routes))


def _row(endpoint: Endpoint) -> str:
    query = "?" + "&".join(endpoint.query) if endpoint.query else ""
    what = f"<code>{escape(endpoint.method)} {escape(endpoint.path + query)}</code>"
    return f"<tr><td>{what}</td><td>{escape(endpoint.summary)}</td></tr>"
