"""Knowledge bases through the real command: each provider in each mode, and ingestions under `kill -9`."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.polling import eventually
from tests.support.qdrant_server import qdrant_server

import compozy

from .conftest import Server, Shell

pytestmark = pytest.mark.e2e
EXAMPLE = Path(__file__).parents[2] / "examples" / "knowledge"
DOCUMENTS = 200
QUESTIONS = json.loads((EXAMPLE / "questions.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Cell:
    """A mode, and the providers that it allows."""

    mode: str
    providers: tuple[str, ...]


CELLS = [
    Cell("memory", ("filesystem", "redis", "qdrant")),
    Cell("persistent", ("filesystem", "redis", "qdrant")),
    Cell("distributed", ("filesystem", "redis", "qdrant", "pgvector")),
]


def write_project(directory: Path, providers: tuple[str, ...], addresses: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the example with one base for each provider, named like it."""
    shutil.copytree(EXAMPLE / "guide", directory / "guide")
    base = {"embedder": "words", "sources": [{"type": "markdown_glob", "path": "guide/*.md"}]}
    stores = [{"id": name, "provider": name, **addresses.get(name, {})} for name in providers]
    bases = [{"id": name, "store": name, **base} for name in providers]
    settings = {
        "temporal": {"standalone": {"enable_ui": False}}, "models": [{"id": "words", "provider": "wordllama"}],
        "knowledge": {"vector_dbs": stores, "bases": bases},
    }  # fmt: skip
    (directory / "compozy.yaml").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    "cell", [pytest.param(one, id=one.mode, marks=getattr(pytest.mark, one.mode)) for one in CELLS]
)
def test_right_passages_are_found_with_each_provider_of_a_mode(
    cell: Cell, shell: Shell, request: pytest.FixtureRequest
) -> None:
    """One server of each mode, with one base for each of its providers."""
    with ExitStack() as stack:
        variables, addresses = {"COMPOZY_MODE": cell.mode}, {}
        if cell.mode == "distributed":
            variables |= request.getfixturevalue("services").settings()
            addresses = {"qdrant": {"url": stack.enter_context(qdrant_server()).url, "timeout": "30s"}}
        write_project(shell.directory, cell.providers, addresses)
        server = shell.start(env=variables)
        found = {provider: answered(shell, server, provider, variables) for provider in cell.providers}
    assert found == dict.fromkeys(cell.providers, ("ready", 12, [], QUESTIONS[3]["source"]))


def answered(shell: Shell, server: Server, base: str, variables: Mapping[str, str]) -> tuple[str, int, list[str], str]:
    """Ingest a base; return its status, its documents, the questions without an answer, and what a command answers."""
    ingested = ask(server, f"{base}/ingest?wait=60s", {})
    missed = []
    for one in QUESTIONS[1::7]:
        results = ask(server, f"{base}/query", {"query": one["question"]})["results"]
        assert all(-1 <= result["score"] <= 1 for result in results)
        if not any(result["source"] == one["source"] for result in results):
            missed.append(one["question"])
    question = ("knowledge", "query", base, QUESTIONS[3]["question"], "--top-k", "1")
    (result,) = shell.json(*question, env=variables)["results"]
    return ingested["status"], ingested["documents"], missed, result["source"]


def ask(server: Server, path: str, body: Any) -> Any:
    """Send a request about a base to a server."""
    headers = {"Content-Type": "application/json", "X-API-Key": server.key}
    url = f"{server.ready['url']}/api/v0/knowledge/{path}"
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=90) as answer:
        return json.load(answer)


@pytest.mark.parametrize("command", [["start"], ["knowledge", "query", "pgvector", "ferry"]])
def test_pgvector_in_memory_mode_is_refused_with_the_text_of_the_finding(command: list[str], shell: Shell) -> None:
    write_project(shell.directory, ("pgvector",), {})
    refused = shell.run(*command)
    assert refused.returncode == 2
    assert "pgvector provider is incompatible with SQLite driver." in refused.stdout + refused.stderr
    assert "Configure one of: Qdrant, Redis, or Filesystem." in refused.stdout + refused.stderr


@pytest.mark.persistent
def test_killed_ingestion_completes_after_the_next_start_without_duplicates(shell: Shell) -> None:
    variables = {"COMPOZY_MODE": "persistent"}
    write_project(shell.directory, ("filesystem",), {})
    for number in range(DOCUMENTS):
        text = " ".join(f"Passage {number} of line {line} is about the harbour." for line in range(40))
        (shell.directory / "guide" / f"{number}.md").write_text(f"# Document {number}\n\n{text}\n")
    server = shell.start(env=variables)
    ask(server, "filesystem/ingest", {})
    eventually(lambda: shown(server)["added"] > 0, "the first documents")
    assert shown(server)["pending"] > 0
    server.kill()

    server = shell.start(env=variables)
    eventually(lambda: shown(server, "?wait=5s")["status"] == "ready", "the end of the ingestion")
    documents = DOCUMENTS + len(list((EXAMPLE / "guide").iterdir()))
    ended = ask(server, "filesystem/ingest?wait=60s", {})
    assert (ended["documents"], ended["unchanged"], ended["failed"]) == (documents, documents, 0)
    assert server.stop() == 0
    with compozy.load(directory=str(shell.directory), environment=variables).provision() as runtime:
        assert runtime.component("vector_store[filesystem]").handle.count() == ended["chunks"]


def shown(server: Server, wait: str = "") -> Any:
    """Return the state of the base; with `wait` once its workflow has ended, which is after its row is written."""
    return ask(server, f"filesystem{wait}", None)
