"""Describe the HTTP interface as an OpenAPI 3.1 document, and as a page without external resources."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape

import msgspec

from compozy import __version__
from compozy.client.finding_answers import ProblemAnswer
from compozy.server.problem_details import MEDIA_TYPE
from compozy.server.routes import JSON, Body, Content, Operation
from compozy.store.records import STATUSES

_TEXT = {"type": "string"}
_PARAMETERS: Mapping[str, Mapping[str, object]] = {
    "limit": {"schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}},
    "before": {"schema": {"type": "integer", "minimum": 0}, "description": "Only messages with a smaller id."},
    "only": {"schema": {"enum": ["messages"]}, "description": "Clear the messages, and keep the statistics."},
    "cursor": {"schema": _TEXT, "description": "The next_cursor of the page before."},
    "execution": {"schema": _TEXT, "description": "Only events of this execution."},
    "workflow": {"schema": _TEXT},
    "token": {"schema": _TEXT, "description": "The token of a link that was not used yet."},
    "status": {"schema": {"enum": list(STATUSES)}},
    "wait": {"schema": _TEXT, "description": "How long to wait for the end, such as 30s; at most 600s."},
}
_REFERENCE = "#/components/schemas/{name}"


def openapi_document(routes: Sequence[Operation]) -> dict[str, object]:
    """Return the OpenAPI 3.1 document of `routes`."""
    paths: dict[str, dict[str, object]] = {}
    for endpoint in routes:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    records = {part for one in routes for part in (one.answer, one.body) if isinstance(part, type)} | {ProblemAnswer}
    ordered = sorted(records, key=lambda record: record.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template=_REFERENCE)
    schemes = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Compozy", "version": __version__, "license": {"name": "MIT"}},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": schemes},
    }


def _operation(endpoint: Operation) -> dict[str, object]:
    answer = {"description": "Done", "content": _content(endpoint.answer)}
    problem = {"$ref": _REFERENCE.format(name=ProblemAnswer.__name__)}
    failure = {"description": "Problem", "content": {MEDIA_TYPE: {"schema": problem}}}
    operation: dict[str, object] = {
        "operationId": endpoint.handler.__name__,
        "summary": endpoint.summary,
        "parameters": [*_path_parameters(endpoint.path), *_query_parameters(endpoint)],
        "responses": {str(status): answer for status in sorted({200, endpoint.status})} | {"default": failure},
    }
    if endpoint.body is not None:
        operation["requestBody"] = {"content": _content(endpoint.body)}
    if not endpoint.open:
        operation["security"] = [{"bearer": []}, {"key": []}]
    return operation


def _content(body: Body) -> dict[str, object]:
    if isinstance(body, Content):
        return {body.media: {"schema": dict(body.schema)}}
    return {JSON: {"schema": {"$ref": _REFERENCE.format(name=body.__name__)}}}


def _path_parameters(path: str) -> Iterator[dict[str, object]]:
    for name in re.findall(r"{(\w+)}", path):
        yield {"name": name, "in": "path", "required": True, "schema": _TEXT}


def _query_parameters(endpoint: Operation) -> Iterator[dict[str, object]]:
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


def docs_page(routes: Sequence[Operation]) -> str:
    """Return the page of documentation: one row an operation."""
    return _PAGE.format(style=_STYLE, version=escape(__version__), rows="".join(_row(endpoint) for endpoint in routes))


def _row(endpoint: Operation) -> str:
    query = "?" + "&".join(endpoint.query) if endpoint.query else ""
    what = f"<code>{escape(endpoint.method)} {escape(endpoint.path + query)}</code>"
    return f"<tr><td>{what}</td><td>{escape(endpoint.summary)}</td></tr>"
