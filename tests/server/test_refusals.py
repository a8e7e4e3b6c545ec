"""Everything that the HTTP interface refuses is a problem document with a stable id, never a traceback."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from typing import Any

import peewee
import pytest
from tests.server.conftest import Site, serve
from tests.support.polling import eventually
from tests.workflows.bench import Bench

from compozy.client.remote import ServerError
from compozy.server.access import Access
from compozy.store import Store
from compozy.workflows.checks import MOST_CHECKS

RUN = "/api/v0/workflows/greet/executions"
IMPORT = "/api/v0/workflows"
KEY = "k3y-of-the-test"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "problem"),
    [
        pytest.param("GET", "/nowhere", None, 404, "http.not-found", id="path"),
        pytest.param("DELETE", "/api/v0/executions", None, 405, "http.method-not-allowed", id="method"),
        pytest.param("GET", "/api/v0/executions/none", None, 404, "not-found", id="execution"),
        pytest.param("GET", "/api/v0/workflows/none", None, 404, "not-found", id="workflow"),
        pytest.param("POST", "/api/v0/workflows/none/executions", {}, 404, "not-found", id="start-unknown"),
        pytest.param("POST", "/api/v0/executions/none/cancel", None, 404, "not-found", id="cancel-unknown"),
        pytest.param("POST", "/api/v0/executions/none/terminate", None, 404, "not-found", id="terminate-unknown"),
        pytest.param("POST", "/api/v0/executions/none/signals/x", None, 404, "not-found", id="signal-unknown"),
        pytest.param("GET", "/api/v0/executions?limit=0", None, 400, "http.parameter", id="limit-low"),
        pytest.param("GET", "/api/v0/executions?limit=1001", None, 400, "http.parameter", id="limit-high"),
        pytest.param("GET", "/api/v0/executions?limit=x", None, 400, "http.parameter", id="limit-text"),
        pytest.param("GET", "/api/v0/executions?status=done", None, 400, "usage", id="status"),
        pytest.param("GET", "/api/v0/executions?state=failed", None, 400, "http.parameter", id="unknown-parameter"),
        pytest.param("GET", "/api/v0/executions?limit=1&limit=2", None, 400, "http.parameter", id="parameter-twice"),
        pytest.param("GET", "/api/v0/executions?cursor=x", None, 400, "http.parameter", id="forged-cursor"),
        pytest.param("POST", f"{RUN}?wiat=1s", {}, 400, "http.parameter", id="misspelled-parameter"),
        pytest.param("POST", f"{RUN}?wait=soon", {}, 400, "http.parameter", id="wait-text"),
        pytest.param("POST", f"{RUN}?wait=2h", {}, 400, "http.parameter", id="wait-long"),
        pytest.param("POST", RUN, [], 400, "http.body", id="list"),
        pytest.param("POST", RUN, {"inputs": {}}, 400, "http.body", id="unknown-key"),
        pytest.param("POST", RUN, {"execution_id": 3}, 400, "http.body", id="number-as-id"),
        pytest.param("POST", RUN, {"execution_id": "../x"}, 400, "usage", id="bad-id"),
        pytest.param("POST", RUN, {"definition": {}, "source": ""}, 400, "http.body", id="two-forms"),
        pytest.param("POST", RUN, {"source": 1}, 400, "http.body", id="source-number"),
        pytest.param("POST", RUN, {"definition": {"id": "greet"}}, 422, "workflow.definition", id="no-tasks"),
        pytest.param("POST", RUN, {"source": "id: ["}, 422, "file.syntax", id="no-yaml"),
        pytest.param("POST", RUN, {"input": {"nam": 1}}, 422, "workflow.input", id="input-name"),
        pytest.param("POST", RUN, {"input": [1]}, 422, "workflow.input", id="input-list"),
        pytest.param("POST", "/api/v0/workflows", {"x": 1}, 422, "workflow.definition", id="import"),
    ],
)
def test_bad_requests(site: Site, method: str, path: str, body: Any, status: int, problem: str) -> None:
    """Each mistake has its status and its stable id."""
    answer = site.ask(method, path, body)

    assert (answer.status, answer.json["id"]) == (status, problem)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["type"] == f"urn:compozy:error:{problem}"
    assert answer.json["detail"]
    # A refused part of a request is a finding as well, for clients that show findings only.
    if problem in ("http.body", "http.parameter"):
        assert {one["id"] for one in answer.json["findings"]} == {problem}


def test_a_misspelled_parameter_is_not_overlooked(site: Site) -> None:
    """The misspelled `wait` is an error, and no execution is started."""
    answer = site.post(f"{RUN}?wiat=1s", {})

    assert answer.json["detail"] == 'unknown parameter "wiat"; did you mean "wait"?'
    assert site.ask("GET", "/api/v0/executions").json["executions"] == []


def test_a_path_and_its_definition_must_agree(site: Site) -> None:
    """A definition of another workflow is not run under this one's name."""
    task = {"id": "t", "type": "aggregate", "output": 1}

    answer = site.post(RUN, {"definition": {"id": "other", "tasks": [task]}})

    assert answer.json["detail"] == 'the id of the definition is "other", that of the path "greet"'


def test_answer_lists_every_problem_of_a_definition(site: Site) -> None:
    """Problems come as a list, with the lines of the client's file."""
    source = "id: greet\ntasks:\n  - {id: a, type: agregate}\n  - {id: b, type: aggregate}\n"

    answer = site.post(RUN, {"source": source, "file": "my.yaml"})

    assert answer.json["problems"] == [
        'my.yaml:3:19: `type` of a task is unknown; did you mean "aggregate"?',
        "my.yaml:4:5: an aggregate task needs `output`",
    ]


def test_problem_lists_findings_with_the_path_in_the_body(site: Site) -> None:
    """Of a definition, of an input, and of the body itself, each with its key."""
    task = {"id": "a", "type": "agregate"}
    answers = [
        site.post(RUN, {"definition": {"id": "greet", "tasks": [task]}}),
        site.post(RUN, {"input": {"nmae": 1}}),
        site.post(RUN, {"inptu": {}, "surce": ""}),
        site.post(RUN, {"execution_id": 3}),
        site.post(f"{RUN}?wait=soon", {}),
    ]
    found = [[(one["id"], one["key"]) for one in answer.json["findings"]] for answer in answers]
    assert found == [
        [("workflow.definition", "tasks[0].type")],
        [("workflow.input", "nmae")],
        [("http.body", "inptu"), ("http.body", "surce")],
        [("http.body", "execution_id")],
        [("http.parameter", "wait")],
    ]
    assert answers[0].json["findings"][0]["where"] == {"kind": "document", "name": "definition"}
    shown = [str(one) for one in ServerError(answers[0].json).findings]
    assert shown == ['definition: tasks[0].type: `type` of a task is unknown; did you mean "aggregate"?']
    assert answers[2].json["detail"] == (
        'unknown key "inptu"; did you mean "input"?; unknown key "surce"; did you mean "source"?'
    )


@pytest.mark.parametrize(
    ("raw", "kind", "status", "problem"),
    [
        pytest.param(b"{", "application/json", 400, "http.body", id="cut"),
        pytest.param(b'{"input": NaN}', "application/json", 400, "http.body", id="nan"),
        pytest.param(b'{"input": {"a": 1, "a": 2}}', "application/json", 400, "http.body", id="key-twice"),
        pytest.param(b"[" * 100_000, "application/json", 400, "http.body", id="deep"),
        pytest.param(b"\xff\xfe", "application/json", 400, "http.body", id="bytes"),
        pytest.param(b"{}", "text/plain", 415, "http.media-type", id="media-type"),
        pytest.param(b" " * 2_000_001, "application/json", 413, "http.too-large", id="large"),
    ],
)
def test_bad_bodies(site: Site, raw: bytes, kind: str, status: int, problem: str) -> None:
    """A body that is no JSON, too large, or called something else is refused."""
    answer = site.ask("POST", RUN, headers={"Content-Type": kind}, raw=raw)

    assert (answer.status, answer.json["id"]) == (status, problem)


@pytest.mark.parametrize(
    ("path", "raw", "status", "problem"),
    [
        pytest.param(RUN, '{"input": {"name": %s}}' % ("1" * 5000), 400, "http.body", id="long-number"),
        pytest.param(RUN, '{"input": {"name": 1e999}}', 400, "http.body", id="infinite-number"),
        pytest.param(RUN, '{"input": {"name": %s}}' % ("[" * 200 + "]" * 200), 400, "workflow.input", id="deep-input"),
        pytest.param(RUN, '{"input": {"name": "\\ud800"}}', 400, "workflow.input", id="surrogate-in-input"),
        pytest.param(RUN, '{"input": {"\\ud800": 1}}', 422, "workflow.input", id="surrogate-in-input-name"),
        pytest.param(RUN, json.dumps({"input": {"name": "x" * 1_002_000}}), 400, "workflow.input", id="long-input"),
        pytest.param(RUN, '{"execution_id": "\\ud800"}', 400, "usage", id="surrogate-in-id"),
        pytest.param(RUN, '{"execution_id": "a\\u0000"}', 400, "usage", id="nul-in-id"),
        pytest.param(RUN, '{"\\ud800": 1}', 400, "http.body", id="surrogate-in-key"),
        pytest.param(RUN, '{"source": "id: \\ud800"}', 422, "file.syntax", id="surrogate-in-source"),
        pytest.param(RUN, '{"source": "id: [", "file": "\\ud800"}', 422, "file.syntax", id="surrogate-in-file"),
        pytest.param(
            RUN, '{"source": "id: %s"}' % ("1" * 5000), 422, "workflow.definition", id="long-number-in-source"
        ),
        pytest.param(
            RUN, '{"definition": {"id": "\\ud800"}}', 422, "workflow.definition", id="surrogate-in-definition"
        ),
        pytest.param(
            "/api/v0/workflows", '{"workflows": [{"id": "\\ud800"}]}', 422, "workflow.definition", id="import"
        ),
        pytest.param("/api/v0/executions/a%00/cancel", "", 400, "http.parameter", id="nul-in-path"),
        pytest.param("/api/v0/executions/%C2%85/cancel", "", 400, "http.parameter", id="c1-in-path"),
        pytest.param("/api/v0/executions/%ED%A0%80/cancel", "", 404, "not-found", id="surrogate-in-path"),
        pytest.param("/api/v0/executions/x/signals/go", '"\\ud800"', 400, "usage", id="surrogate-in-signal"),
        pytest.param("/api/v0/executions/x/signals/go", "[" * 200 + "]" * 200, 400, "usage", id="deep-signal"),
    ],
)
def test_values_outside_json_or_unicode_are_client_errors(
    site: Site, path: str, raw: str, status: int, problem: str
) -> None:
    answer = site.ask("POST", path, headers={"Content-Type": "application/json"}, raw=raw.encode())

    assert (answer.status, answer.json["id"]) == (status, problem)


def test_query_values_with_control_characters_are_refused(site: Site) -> None:
    """PostgreSQL cannot compare a text with a zero byte."""
    answer = site.get("/api/v0/executions?workflow=%00")

    assert (answer.status, answer.json["detail"]) == (400, '"\\x00" holds control characters')


def test_an_outage_is_503_with_a_clear_text(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A component that is away gives 503, its name, and when to try again; metrics still come."""
    missing = tmp_path_factory.mktemp("missing") / "no" / "folder.db"
    site.workflows.service._store = Store(peewee.SqliteDatabase(str(missing)))

    answer = site.get("/api/v0/executions")

    assert (answer.status, answer.json["id"]) == (503, "component.unavailable")
    assert answer.json["detail"].startswith("database is not available: ")
    assert answer.headers["retry-after"] == "2"
    assert "compozy_executions{" not in site.get("/metrics").text


def test_a_bug_does_not_show_itself(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The client learns that it is the server's mistake; the log has the rest."""
    site.state.bug = ZeroDivisionError("secret text")

    answer = site.get("/api/v0/health")

    assert (answer.status, answer.json["id"]) == (500, "internal")
    assert "secret" not in answer.text
    eventually(lambda: "secret text" in caplog.text)
    assert 'compozy_http_requests_total{status="500"} 1' in healed(site).get("/metrics").text


def healed(site: Site) -> Site:
    """Return the site without its bug."""
    site.state.bug = None
    return site


def test_a_key_is_asked_for(bench: Bench) -> None:
    """With a key set, everything but the two probes needs it."""
    site = replace(serve(bench, access=Access(KEY)), key=None)

    refused = site.get("/api/v0/executions")

    assert (refused.status, refused.json["id"]) == (401, "http.unauthorized")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert KEY not in refused.text
    assert site.get("/healthz").status == site.get("/readyz").status == 200
    assert site.get("/metrics").status == site.get("/docs").status == site.get("/nowhere").status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Authorization": f"Bearer {KEY}"}, 200, id="bearer"),
        pytest.param({"authorization": f"bearer {KEY}"}, 200, id="lower-case"),
        pytest.param({"X-API-Key": KEY}, 200, id="header"),
        pytest.param({"X-API-Key": KEY + "x"}, 401, id="longer"),
        pytest.param({"X-API-Key": KEY[:-1]}, 401, id="shorter"),
        pytest.param({"Authorization": f"Basic {KEY}"}, 401, id="basic"),
        pytest.param({"Authorization": "Bearer"}, 401, id="empty"),
        pytest.param({"X-API-Key": "schlüssel"}, 401, id="not-ascii"),
    ],
)
def test_keys(bench: Bench, headers: dict[str, str], status: int) -> None:
    """Only the key itself opens, in either header."""
    site = replace(serve(bench, access=Access(KEY)), key=None)
    assert site.ask("GET", "/api/v0/executions", headers=headers).status == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        pytest.param("localhost:1", 200, id="localhost"),
        pytest.param("127.0.0.1", 200, id="address"),
        pytest.param("[::1]:8080", 200, id="ipv6"),
        pytest.param("evil.example", 403, id="foreign"),
        pytest.param("127.0.0.1.evil.example:80", 403, id="look-alike"),
        pytest.param("[::1].evil.example", 403, id="look-alike-of-ipv6"),
        pytest.param("[::1]evil:80", 403, id="text-after-ipv6"),
        pytest.param("[::1", 403, id="half-ipv6"),
        pytest.param("127.0.0.1:80.evil.example", 403, id="name-as-port"),
        pytest.param("localhost@evil.example", 403, id="user"),
        pytest.param("evil.example:localhost", 403, id="local-port"),
        pytest.param("", 403, id="empty"),
    ],
)
def test_without_a_key_only_local_names_are_answered(site: Site, host: str, status: int) -> None:
    """A web page cannot reach a server without a key through a name of its own."""
    assert site.get("/api/v0/executions", Host=host).status == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        pytest.param("http://evil.example", 403, id="foreign"),
        pytest.param("null", 403, id="sandboxed-page-or-file"),
        pytest.param("http://127.0.0.1.evil.example", 403, id="look-alike"),
        pytest.param("http://localhost:1", 403, id="other-port"),
        pytest.param("", 403, id="empty"),
        pytest.param(None, 200, id="same"),
    ],
)
def test_pages_of_other_origins_cannot_start_anything(site: Site, origin: str | None, status: int) -> None:
    """Requests of a browser for a foreign page are refused."""
    headers = {"Origin": f"http://127.0.0.1:{site.server.port}" if origin is None else origin}

    assert site.ask("POST", f"{RUN}?wait=30s", {}, headers).status == status


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(RUN, {"source": "id: greet\n"}, id="source"),
        pytest.param(RUN, {"definition": {"id": "greet"}}, id="definition"),
        pytest.param(RUN, {"input": {"nam": 1}}, id="input"),
        pytest.param("/api/v0/workflows", {"workflows": []}, id="import"),
        pytest.param("/api/v0/executions/greet-1/signals/go", {}, id="signal"),
        pytest.param("/api/v0/memory/none/key", {"role": "x" * 20_000}, id="large-body"),
    ],
)
def test_checks_are_bounded_and_do_not_hold_the_event_loop(site: Site, path: str, body: Any) -> None:
    """While as many checks as are accepted are at work, a further one is refused and everything else is answered."""
    gate, checks = threading.Event(), site.workflows.service.checks

    async def occupy() -> list[asyncio.Task[bool]]:
        return [asyncio.create_task(checks.run(gate.wait)) for _ in range(MOST_CHECKS)]

    site.bench.call(occupy())
    try:
        answer = site.post(path, body)
        assert (answer.status, answer.json["id"], answer.headers["retry-after"]) == (503, "checks.busy", "2")
        assert site.get("/healthz").status == site.get("/api/v0/executions").status == 200
    finally:
        gate.set()
    eventually(lambda: site.post(path, body).status != 503, "the end of the checks")
