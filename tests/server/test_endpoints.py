"""The HTTP interface as a client sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.server.conftest import GREET, Site
from tests.support.polling import eventually

RUN = "/api/v0/workflows/greet/executions"
NAP = {"id": "nap", "tasks": [{"id": "nap", "type": "aggregate", "sleep": "1000h", "output": 1}]}


def test_alive_and_ready(site: Site) -> None:
    """A healthy server is alive and ready."""
    assert site.get("/healthz").json == {"status": "alive"}
    answer = site.get("/readyz")
    assert (answer.status, answer.json) == (200, {"ready": True, "state": "provisioned", "waiting_for": []})


def test_ready_waits_for_every_component(site: Site) -> None:
    """One unhealthy component makes the server unready, and is named."""
    site.state.components["database"] = {"mode": "distributed", "driver": "postgres", "healthy": False}

    answer = site.get("/readyz")

    assert (answer.status, answer.json["waiting_for"]) == (503, ["database"])
    assert site.get("/healthz").status == 200


def test_ready_waits_for_the_worker(site: Site) -> None:
    """Without a worker executions hang, though every component answers."""
    site.state.worker.update(healthy=False, error="namespace not found")

    answer = site.get("/readyz")

    assert (answer.status, answer.json["waiting_for"]) == (503, ["worker"])
    assert site.get("/api/v0/health").json["worker"] == {"healthy": False, "error": "namespace not found"}
    assert "compozy_worker_up 0" in site.get("/metrics").text.splitlines()


def test_health_and_configuration_are_shown(site: Site) -> None:
    """Both carry the format version of the command line's JSON."""
    health = site.get("/api/v0/health").json
    assert (health["format_version"], health["mode"]) == (1, "memory")
    assert health["components"]["redis"]["driver"] == "valkey"
    assert site.get("/api/v0/config").json["settings"] == {"server.api_key": {"value": "[REDACTED]"}}


def test_a_known_workflow_is_run_and_waited_for(site: Site) -> None:
    """Starting with `?wait` gives the output in the shape of `workflow run`."""
    answer = site.post(f"{RUN}?wait=30s", {"input": {"name": "Ada"}})

    body = answer.json
    assert answer.status == 200
    assert {key: body[key] for key in ("format_version", "workflow", "status", "output", "error")} == {
        "format_version": 1,
        "workflow": "greet",
        "status": "completed",
        "output": {"greeting": "Hello, Ada!"},
        "error": None,
    }
    assert answer.headers["location"] == f"/api/v0/executions/{body['execution_id']}"
    shown = site.get(answer.headers["location"]).json
    assert (shown["id"], shown["input"], shown["status"]) == (body["execution_id"], {"name": "Ada"}, "completed")


def test_without_a_body_the_defaults_are_taken(site: Site) -> None:
    """A start needs no body."""
    assert site.post(f"{RUN}?wait=30s").json["output"] == {"greeting": "Hello, World!"}


@pytest.mark.parametrize("form", ["definition", "source"])
def test_a_definition_can_be_handed_over(site: Site, form: str) -> None:
    """A client runs its own file on the server, as JSON or as YAML text."""
    own = {**GREET, "id": "own", "outputs": {"own": True}}
    body: dict[str, Any] = {form: own if form == "definition" else json.dumps(own), "input": {}}

    assert site.post("/api/v0/workflows/own/executions?wait=30s", body).json["output"] == {"own": True}


def test_starting_answers_before_the_end(site: Site) -> None:
    """Without `?wait` the answer is that it was accepted, and the execution is listed."""
    answer = site.post("/api/v0/workflows/nap/executions", {"definition": NAP})

    assert (answer.status, answer.json["status"], answer.json["output"]) == (202, "running", None)
    listed = site.get("/api/v0/executions?status=running").json["executions"]
    assert [row["id"] for row in listed] == [answer.json["execution_id"]]


def test_an_execution_id_makes_a_start_repeatable(site: Site) -> None:
    """The same id twice is one execution."""
    body = {"execution_id": "order-1", "input": {"name": "x"}}

    answers = [site.post(f"{RUN}?wait=30s", body) for _ in range(2)]

    assert [answer.json["execution_id"] for answer in answers] == ["order-1", "order-1"]
    assert len(site.get("/api/v0/executions").json["executions"]) == 1


def test_cancel_and_signal(site: Site) -> None:
    """A running execution takes signals and can be canceled; an ended one takes none."""
    name = site.post("/api/v0/workflows/nap/executions", {"definition": NAP}).json["execution_id"]
    path = f"/api/v0/executions/{name}"

    signaled = site.post(f"{path}/signals/go", {"n": 1})
    assert (signaled.status, signaled.json["awaited"]) == (202, False)
    canceled = site.post(f"{path}/cancel?wait=30s")
    assert (canceled.status, canceled.json["status"]) == (200, "canceled")

    late = site.post(f"{path}/signals/go")
    assert (late.status, late.json["id"]) == (409, "execution.conflict")
    shown = site.get(path).json
    assert shown["error"] == 'canceled while at task "nap"'
    assert [(task["path"], task["status"]) for task in shown["tasks"]] == [("nap", "canceled")]


def test_terminate_ends_at_once(site: Site) -> None:
    """A terminated execution has ended with the answer."""
    name = site.post("/api/v0/workflows/nap/executions", {"definition": NAP}).json["execution_id"]

    terminated = site.post(f"/api/v0/executions/{name}/terminate")

    assert (terminated.status, terminated.json["status"]) == (200, "terminated")


def test_workflows_are_listed_shown_and_imported(site: Site) -> None:
    """The list of one server is imported by another."""
    listed = site.get("/api/v0/workflows").json
    (workflow,) = listed["workflows"]
    assert workflow | {"source": ""} == {"id": "greet", "version": "0.1.0", "definition": GREET, "source": ""}
    assert workflow["source"].endswith("workflows/greet.yaml")
    assert site.get("/api/v0/workflows/greet").json["definition"] == GREET

    other = {"workflows": [{"id": "copy", "version": "1", "definition": {**GREET, "id": "copy"}}]}
    assert site.post("/api/v0/workflows", other).json == {"format_version": 1, "imported": ["copy"], "hidden": {}}
    assert site.post("/api/v0/workflows/copy/executions?wait=30s").json["status"] == "completed"
    assert len(site.get("/api/v0/workflows/copy/executions").json["executions"]) == 1


def test_an_imported_workflow_is_deleted(site: Site) -> None:
    """Only imported workflows are deleted; one that comes from a file names the file."""
    copies = [{**GREET, "id": name} for name in ("copy", "greet")]
    imported = site.post("/api/v0/workflows", {"workflows": copies}).json
    assert [*imported["hidden"]] == ["greet"]

    sources = {item["id"]: item["source"] for item in site.get("/api/v0/workflows").json["workflows"]}
    assert sources["copy"] == "imported"
    assert site.ask("DELETE", "/api/v0/workflows/copy").json == {"format_version": 1, "deleted": "copy"}
    assert site.ask("DELETE", "/api/v0/workflows/copy").status == 404
    deleted = site.ask("DELETE", "/api/v0/workflows/greet").json
    assert deleted == {"format_version": 1, "deleted": "greet", "file": imported["hidden"]["greet"]}
    refused = site.ask("DELETE", "/api/v0/workflows/greet")
    assert (refused.status, refused.json["detail"]) == (
        400, f'workflow "greet" was not imported; it comes from {sources["greet"]}',
    )  # fmt: skip


def test_old_executions_are_pruned(site: Site) -> None:
    """Only executions that ended longer ago are removed, and only when they are not just counted."""
    ended = site.post(f"{RUN}?wait=30s", {"input": {"name": "x"}}).json["execution_id"]
    running = site.post("/api/v0/workflows/nap/executions", {"definition": NAP}).json["execution_id"]

    assert site.post("/api/v0/prune", {"older_than": "1h"}).json["count"] == 0
    assert site.post("/api/v0/prune").json == {"format_version": 1, "count": 0, "before": None, "dry_run": False}
    assert site.post("/api/v0/prune", {"older_than": "0s", "dry_run": True}).json["count"] == 1
    assert site.get(f"/api/v0/executions/{ended}").status == 200
    assert site.post("/api/v0/prune", {"older_than": "0s"}).json["count"] == 1
    assert site.get(f"/api/v0/executions/{ended}").status == 404
    assert site.get(f"/api/v0/executions/{running}").status == 200
    assert site.post("/api/v0/prune", {"older_than": "soon"}).status == 400
    site.post(f"/api/v0/executions/{running}/terminate")


def test_listing_reports_broken_file_beside_valid_workflows(site: Site) -> None:
    """The listing continues, and names the invalid file."""
    site.bench.write("workflows/broken.yaml", "id: broken\n")

    body = site.get("/api/v0/workflows").json

    assert [found["id"] for found in body["workflows"]] == ["greet"]
    assert [problem["id"] for problem in body["problems"]] == ["workflow.definition"]


def test_metrics_do_not_wait_for_an_unavailable_database(site: Site) -> None:
    site.state.components["database"] = {"mode": "memory", "driver": "sqlite", "healthy": False, "latency_ms": None}

    text = site.get("/metrics").text

    assert 'compozy_component_up{component="database",driver="sqlite",mode="memory"} 0' in text.splitlines()
    assert "compozy_executions{" not in text


def test_metrics_are_text_for_prometheus(site: Site) -> None:
    """Executions, components and requests are counted."""
    site.post(f"{RUN}?wait=30s")
    site.state.components["store"] = {"mode": 'a"b', "driver": "x", "healthy": False, "latency_ms": None}

    lines = site.get("/metrics").text.splitlines()

    assert "compozy_ready 0" in lines
    assert "compozy_worker_up 1" in lines
    assert 'compozy_component_up{component="redis",driver="valkey",mode="memory"} 1' in lines
    assert 'compozy_component_up{component="store",driver="x",mode="a\\"b"} 0' in lines
    assert 'compozy_component_latency_seconds{component="redis"} 0.000500' in lines
    assert 'compozy_executions{status="completed"} 1' in lines
    assert 'compozy_executions{status="failed"} 0' in lines
    assert 'compozy_http_requests_total{status="200"} 1' in lines


def test_stop_answers_waiting_requests(site: Site) -> None:
    """A request that waits for an execution is answered when the server stops, and new ones are refused."""
    import threading

    answers = []
    path = "/api/v0/workflows/nap/executions?wait=10m"
    asking = threading.Thread(target=lambda: answers.append(site.post(path, {"definition": NAP})))
    asking.start()
    eventually(lambda: len(site.workflows.executions()) == 1)

    site.server.stop(10)
    site.server.stop(10)
    asking.join(20)

    assert [(answer.status, answer.json["status"]) for answer in answers] == [(202, "running")]
    with pytest.raises(ConnectionError):
        site.get("/healthz")


def test_list_of_executions_continues_at_its_cursor(site: Site) -> None:
    """Pages neither repeat nor leave out an execution, also when further ones start in between."""
    for name in "abcde":
        site.post(f"{RUN}?wait=30s", {"execution_id": name})

    found, cursor = [], ""
    while cursor is not None:
        page = site.get(f"/api/v0/executions?limit=2{cursor and '&cursor='}{cursor}").json
        found += [row["id"] for row in page["executions"]]
        cursor = page["next_cursor"]
        site.post(f"{RUN}?wait=30s")

    assert found == ["e", "d", "c", "b", "a"]


def test_unknown_cursor_is_refused(site: Site) -> None:
    answer = site.get("/api/v0/executions?cursor=%00nonsense")
    assert answer.status == 400
    answer = site.get("/api/v0/executions?cursor=bm9uc2Vuc2U")
    assert (answer.status, answer.json["id"]) == (400, "http.parameter")
    assert "next_cursor" in answer.json["detail"]
