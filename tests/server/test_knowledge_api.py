"""Knowledge bases over HTTP: the interface, its client, and the commands that use it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import Site, serve
from tests.support.vectors import words_library
from tests.workflows.bench import Bench

from compozy.cli.main import run
from compozy.knowledge.document_sources import read_document

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def site(bench: Bench) -> Site:
    """Return a served project with the base `guide` of two documents."""
    bench.write("guide/ferry.md", "# Ferry\n\nThe ferry leaves the harbour at noon.\n")
    bench.write("guide/bread.md", "# Bread\n\nBread needs flour, water and salt.\n")
    return serve(bench, library=words_library("guide", bench.directory, bench.database))


@pytest.fixture
def command(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs `compozy knowledge` for the server; it returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPOZY_SERVER_URL", site.server.url)
    monkeypatch.setenv("COMPOZY_SERVER__API_KEY", site.key or "")

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(["knowledge", *arguments])
        return code, *capsys.readouterr()

    return call


def test_base_is_ingested_queried_and_deleted_over_http(site: Site) -> None:
    path = "/api/v0/knowledge/guide"
    assert site.get("/api/v0/knowledge").json["bases"] == [
        {"id": "guide", "status": "empty", "documents": 0, "chunks": 0, "failed": 0, "finished_at": None}
    ]
    assert site.post(f"{path}/query", {"query": "ferry"}).json["id"] == "knowledge.not-ingested"
    ingested = site.post(f"{path}/ingest?wait=30s", {})
    assert (ingested.status, ingested.json["status"], ingested.json["added"]) == (200, "ready", 2)
    found = site.post(f"{path}/query", {"query": "When does the ferry leave?", "filter": {"title": "Ferry"}}).json
    assert found == {
        "format_version": 1, "base": "guide",
        "results": [
            {"text": "# Ferry\n\nThe ferry leaves the harbour at noon.", "score": 1.0, "source": "guide/ferry.md",
             "place": "line 1", "metadata": {"title": "Ferry"}},
        ],
    }  # fmt: skip
    assert site.ask("DELETE", path).json == {"format_version": 1, "deleted": "guide", "documents": 2}
    assert site.get(f"{path}?wait=1s").json["status"] == "empty"


@pytest.mark.parametrize(
    ("path", "body", "status", "problem"),
    [
        pytest.param("docs/query", {"query": "a"}, 404, "not-found", id="unknown-base"),
        pytest.param("guide/query", {"query": ""}, 400, "usage", id="no-text"),
        pytest.param("guide/query", {}, 400, "http.body", id="no-query"),
        pytest.param("guide/query", {"query": "a", "top_k": 0}, 400, "http.body", id="top-k"),
        pytest.param("guide/query", {"query": "a", "filter": {"a": {}}}, 400, "vector.refused", id="filter"),
        pytest.param("guide/ingest", {"again": 1}, 400, "http.body", id="unknown-key"),
    ],
)
def test_invalid_request_returns_a_problem(site: Site, path: str, body: Any, status: int, problem: str) -> None:
    answer = site.post(f"/api/v0/knowledge/{path}", body)
    assert (answer.status, answer.json["id"]) == (status, problem)


def test_commands_use_the_server(command: Command, tmp_path: Path) -> None:
    assert command("ingest", "guide")[:2] == (0, "guide: 2 added; 2 documents in 2 chunks\n")
    code, shown, _ = command("query", "guide", "bread and salt", "--top-k", "1")
    assert (code, shown.splitlines()[0]) == (0, "guide/bread.md, line 1  (score 1.000)")
    questions = [{"question": "What is in bread?", "source": "guide/bread.md", "passage": "flour, water"},
                 {"question": "Who flies?", "source": "guide/ferry.md"}]  # fmt: skip
    (tmp_path / "questions.json").write_text(json.dumps(questions))
    assert command("evaluate", "guide", "questions.json")[1] == (
        "2 questions: recall@5 0.500, MRR 0.500\nnot found: Who flies?\n"
    )
    assert command("list")[1].splitlines()[1].split()[:4] == ["guide", "ready", "2", "2"]
    assert json.loads(command("show", "guide", "--format", "json")[1])["unchanged"] == 0
    assert command("delete", "guide")[:2] == (0, "guide: 2 documents were deleted\n")


def test_failed_document_is_reported_and_with_strict_fails_the_command(command: Command, bench: Bench) -> None:
    bench.write("guide/ferry.md", "\0" * 100)
    code, shown, notes = command("ingest", "guide")
    assert (code, shown) == (0, "guide: 1 added, 1 failed; 1 documents in 1 chunks\n")
    assert "note: guide/ferry.md was not ingested: it is binary data, not text" in notes
    code, _, errors = command("ingest", "guide", "--strict")
    assert (code, 'ingestion of "guide" failed: 1 documents were not ingested' in errors) == (5, True)


def test_metrics_count_queries_documents_and_operations(site: Site, bench: Bench) -> None:
    def measured() -> dict[str, float]:
        lines = [line for line in site.get("/metrics").text.splitlines() if line.startswith(("compozy_k", "compozy_m"))]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    path = "/api/v0/knowledge/guide"
    bench.write("guide/binary.md", "\0" * 100)
    site.post(f"{path}/query", {"query": "ferry"})
    site.post("/api/v0/knowledge/unknown/query", {"query": "ferry"})
    site.post(f"{path}/ingest?wait=30s", {})
    site.post(f"{path}/query", {"query": "ferry"})
    site.post("/api/v0/memory/chat/ada", {"role": "user", "content": "Hello"})
    site.get("/api/v0/memory/chat/secret-key")

    found = measured()
    seconds = {name for name in found if name.partition("{")[0].endswith("_seconds_sum")}
    assert {name: value for name, value in found.items() if name not in seconds} == {
        'compozy_knowledge_queries_total{base="guide",result="failed"}': 1,
        'compozy_knowledge_queries_total{base="guide",result="ok"}': 1,
        'compozy_knowledge_query_duration_seconds_count{base="guide"}': 2,
        'compozy_knowledge_documents_total{base="guide",outcome="failed"}': 1,
        'compozy_knowledge_documents_total{base="guide",outcome="ingested"}': 2,
        'compozy_knowledge_documents_total{base="guide",outcome="unchanged"}': 0,
        'compozy_knowledge_chunks_total{base="guide"}': 2,
        'compozy_knowledge_ingestion_running{base="guide"}': 0,
        'compozy_memory_operations_total{memory="chat",operation="append",result="ok"}': 1,
        'compozy_memory_operations_total{memory="chat",operation="read",result="ok"}': 1,
        'compozy_memory_operation_duration_seconds_count{memory="chat",operation="append"}': 1,
        'compozy_memory_operation_duration_seconds_count{memory="chat",operation="read"}': 1,
    }
    assert len(seconds) == 3
    assert all(found[name] > 0 for name in seconds)


def test_command_reports_a_base_deleted_during_its_ingestion(
    command: Command, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deleting(*arguments: Any) -> Any:
        site.ask("DELETE", "/api/v0/knowledge/guide")
        return read_document(*arguments)

    monkeypatch.setattr("compozy.knowledge.ingestion.read_document", deleting)
    code, shown, errors = command("ingest", "guide")
    assert (code, shown) == (5, "")
    assert 'ingestion of "guide" failed: the base was deleted meanwhile' in errors


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param(("query", "guide", "ferry", "--filter", "[1]"), "--filter is not a JSON object", id="filter"),
        pytest.param(("evaluate", "guide", "empty.json"), "empty.json is not a list of questions", id="questions"),
        pytest.param(("evaluate", "guide", "item.json"), "item.json: item 1 is not a question", id="question"),
        pytest.param(("show", "docs"), 'knowledge base "docs" does not exist', id="base"),
    ],
)
def test_invalid_arguments_are_refused(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "empty.json").write_text("[]")
    (tmp_path / "item.json").write_text('[{"question": "?", "source": "a", "answer": "b"}]')
    code, _, errors = command(*arguments)
    assert (code, reason in errors) == (2, True), errors
