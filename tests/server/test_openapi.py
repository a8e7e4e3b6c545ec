"""The description of the HTTP interface fits the interface."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from docs.reference import http_page
from tests.server.conftest import Site

from compozy.server.openapi import docs_page, openapi_document
from compozy.server.routes import ROUTES, Operation

DOCUMENT: Any = openapi_document(ROUTES)


def title(endpoint: Operation) -> str:
    return f"{endpoint.method} {endpoint.path}"


def references(value: Any) -> Iterator[str]:
    """Yield every `$ref`."""
    if isinstance(value, dict):
        yield from [value["$ref"]] if "$ref" in value else []
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_route_is_described() -> None:
    """Path and method of each entry of the table are in the document, with a summary."""
    described = {(path, method) for path, item in DOCUMENT["paths"].items() for method in item}

    assert described == {(endpoint.path, endpoint.method.lower()) for endpoint in ROUTES}
    assert all(endpoint.summary for endpoint in ROUTES)


def test_every_reference_exists() -> None:
    """No schema is named that is not there."""
    schemas = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}

    assert set(references(DOCUMENT)) <= schemas


def test_only_the_probes_are_open() -> None:
    """Everything else names the key in its security."""
    open_paths = [path for path, item in DOCUMENT["paths"].items() if "security" not in next(iter(item.values()))]

    assert open_paths == ["/healthz", "/readyz", "/session"]


def test_the_page_needs_nothing_from_elsewhere() -> None:
    """No script, style or image comes from another server."""
    page = docs_page(ROUTES)

    assert re.findall(r"(?:src|<link|@import)", page) == []
    assert all(f"{endpoint.method} {endpoint.path}" in page for endpoint in ROUTES)


def test_reference_page_describes_every_route_and_parameter() -> None:
    sections = dict(re.findall(r"^## (\S+ \S+)\n(.*?)(?=^## |\Z)", http_page(DOCUMENT), re.MULTILINE | re.DOTALL))

    assert list(sections) == [title(end) for end in ROUTES]
    missing = [(end.path, name) for end in ROUTES for name in end.query if f"`{name}`" not in sections[title(end)]]
    assert missing == []
    assert {title(end) for end in ROUTES if " *Open.*\n" in sections[title(end)]} == {
        title(e) for e in ROUTES if e.open
    }


def test_both_are_served(site: Site) -> None:
    """The document and the page are answered."""
    document = site.get("/openapi.json").json
    page = site.get("/docs")

    assert document["openapi"] == "3.1.0"
    assert document["components"]["securitySchemes"].keys() == {"bearer", "key"}
    assert page.headers["content-type"].startswith("text/html")


def test_problem_documents_have_the_fields_of_their_schema(site: Site) -> None:
    """Of the problem itself and of each finding in it, with nothing beside."""
    schemas = DOCUMENT["components"]["schemas"]
    problem, finding = schemas["ProblemAnswer"], schemas["FindingAnswer"]
    run = "/api/v0/workflows/greet/executions"
    bodies = [{"source": "id: greet\ntasks: 1\n"}, {"input": {"nmae": 1}}, {"inptu": {}}]
    for answer in [site.get("/nowhere").json, *(site.post(run, body).json for body in bodies)]:
        assert {*problem["required"]} <= answer.keys() <= problem["properties"].keys()
        assert all(
            {*finding["required"]} <= one.keys() <= finding["properties"].keys() for one in answer.get("findings", ())
        )
    assert problem["properties"]["findings"]["items"] == {"$ref": "#/components/schemas/FindingAnswer"}
