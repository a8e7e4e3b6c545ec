"""Knowledge bases on Temporal: ingestions that are joined, fail and resume, queries of tasks."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.polling import eventually
from tests.support.vectors import LetterEmbedder, MemoryStore
from tests.workflows.bench import Bench
from tests.workflows.fake_engine import FakeEngine
from tests.workflows.test_replay import replay

from compozy.cli.main import run
from compozy.errors import DefinitionError, DriverError, NotFoundError
from compozy.knowledge.bases import EmbeddingModel, KnowledgeBase, SourceSetting
from compozy.knowledge.library import AnotherEmbedderError, BeingIngestedError, Library
from compozy.store.knowledge_rows import KnowledgeRows
from compozy.store.knowledge_words import KnowledgeWords
from compozy.workflows.facade import Workflows
from compozy.workflows.model.definition import Retry
from compozy.workflows.model.scope import Scope
from compozy.workflows.read.loader import parse_definition
from compozy.workflows.starting import ConflictError
from compozy.workflows.tasks.engine import Call
from compozy.workflows.tasks.knowledge import QUERY_KNOWLEDGE, Knowledge
from compozy.workflows.tasks.task_type import TYPES

ASK = """
id: ask
input: {question: ""}
tasks:
  - {id: find, type: knowledge, base: docs, query: "{{ workflow.input.question }}", top_k: 1, filter: {title: Ferry}}
outputs: {answer: "{{ tasks.find.output.results[0].text }}", place: "{{ tasks.find.output.results[0].place }}"}
"""


class Shop:
    """A project with one base; `open` opens its workflows as a new process does."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.store = MemoryStore()
        self.embedder = LetterEmbedder()
        bench.write("docs/ferry.md", "# Ferry\n\nThe ferry leaves the harbour at noon.\n")
        bench.write("docs/bread.md", "# Bread\n\nBread needs flour, water and salt.\n")

    def open(self, *, at_start: bool = False) -> Workflows:
        """Open the workflows of the project."""
        sources = (SourceSetting("markdown_glob", "docs/*.md"),)
        model = EmbeddingModel("letters", "test")
        base = KnowledgeBase("docs", self.bench.directory, sources, "near", model, at_start=at_start)
        rows, words = KnowledgeRows(self.bench.database), KnowledgeWords(self.bench.database)
        library = Library({"docs": base}, rows, words, lambda _: self.store, lambda _: self.embedder)
        return self.bench.open(library)


@pytest.fixture
def shop(bench: Bench) -> Shop:
    """Return a project with two documents."""
    return Shop(bench)


def test_ingested_base_answers_a_task_and_the_library(shop: Shop) -> None:
    workflows = shop.open()
    base = workflows.base("docs")
    ended = base.ingest()
    assert (ended.running, ended.state.stored and ended.state.stored.status, ended.state.extent.documents) == (
        False, "ready", 2,
    )  # fmt: skip
    answered = workflows.run(parse_definition(ASK, "f.yaml"), {"question": "When does the ferry leave?"})
    assert answered.output == {"answer": "# Ferry\n\nThe ferry leaves the harbour at noon.", "place": "line 1"}
    assert base.query("bread and salt", top_k=1)[0].source == "docs/bread.md"
    handle = shop.bench.client.get_workflow_handle(f"compozy-knowledge/{shop.bench.task_queue}/docs")
    replay(shop.bench.loop, shop.bench.call(handle.fetch_history()))

    assert base.delete() == 2
    failed = workflows.run(parse_definition(ASK, "f.yaml"), {"question": "When does the ferry leave?"})
    assert failed.error == (
        'f.yaml:5:5: task "find": query of knowledge base docs failed: knowledge.not-ingested: '
        'knowledge base "docs" was not ingested (fix: run compozy knowledge ingest docs)'
    )


def test_task_fails_without_a_query(shop: Shop) -> None:
    failed = shop.open().run(parse_definition(ASK, "f.yaml"), {"question": ""})
    assert failed.error == 'f.yaml:5:52: task "find": query must be a text that is not empty'


def test_second_start_joins_the_running_ingestion(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one is held until both have started."""
    workflows = shop.open()
    wait = _blocked(shop, monkeypatch)
    service, call = workflows.knowledge, shop.bench.call
    first = call(service.ingest("docs"))
    second = call(service.ingest("docs"))
    assert (first.running, first.joined, second.running, second.joined) == (True, False, True, True)
    with pytest.raises(ConflictError, match="is being ingested"):
        call(service.ingest("docs", rebuild=True))
    wait()
    assert call(service.state("docs", wait_s=30)).running is False
    assert (shop.store.count(), shop.embedder.texts) == (2, 2)


def test_queries_wait_for_the_first_ingestion_of_a_start(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compozy.workflows.knowledge_service.FIRST_INGESTION_S", 0)
    workflows = shop.open(at_start=True)
    wait = _blocked(shop, monkeypatch)
    workflows.ingest_at_start()
    name = workflows.start(parse_definition(ASK, "f.yaml"), {"question": "When does the ferry leave?"})
    with pytest.raises(BeingIngestedError, match="is being ingested"):
        workflows.base("docs").query("bread")
    wait()
    assert "ferry leaves" in str(workflows.wait(name).output)
    assert workflows.base("docs").query("bread", top_k=1)[0].source == "docs/bread.md"


def test_ingestion_of_a_start_leaves_an_ingested_base_open_for_queries(shop: Shop) -> None:
    workflows = shop.open(at_start=True)
    workflows.base("docs").ingest()
    library = workflows.knowledge.library
    emptied = []

    class Watched(set[str]):
        """Note whether the base was still empty at each end of the waiting."""

        def discard(self, base: object) -> None:
            emptied.append(library.rows.bases()[str(base)].status)
            super().discard(str(base))

    library.awaited = Watched()
    workflows.ingest_at_start()
    eventually(lambda: emptied, "the end of the waiting")
    assert emptied[0] == "ready"
    docs = workflows.base("docs")
    # Until the new ingestion begins, its predecessor is followed.
    eventually(lambda: docs.follow(30).state.extent.states == {"unchanged": 2}, "the ingestion of the start")


def test_refused_ingestion_of_a_start_is_logged_and_leaves_the_server(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    first = shop.open()
    first.base("docs").ingest()
    first.close()
    shop.embedder = LetterEmbedder("other/model/26")
    workflows = shop.open(at_start=True)
    workflows.ingest_at_start()

    def logged() -> list[str]:
        return [str(vars(one)["reason"]) for one in caplog.records if one.getMessage() == "ingestion.failed"]

    eventually(logged, "the log event")
    assert "names other/model/26" in logged()[0]
    eventually(lambda: not workflows.knowledge.library.awaited, "the end of the waiting")
    assert workflows.base("docs").delete() == 2


def _blocked(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Hold the embedder; return a function that releases it."""
    event, embed = threading.Event(), shop.embedder.embed

    def wait(texts: Any) -> Any:
        assert event.wait(30)
        return embed(texts)

    monkeypatch.setattr(shop.embedder, "embed", wait)
    return event.set


def test_failed_step_is_repeated_without_writing_twice(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    upsert, upserts = shop.store.upsert, 0

    def fail_once(records: Any) -> None:
        nonlocal upserts
        upserts += 1
        upsert(records)
        if upserts == 1:
            raise DriverError("the store does not answer")

    monkeypatch.setattr(shop.store, "upsert", fail_once)
    ended = shop.open().base("docs").ingest()
    assert (ended.running, ended.state.extent.documents, upserts, shop.store.count()) == (False, 2, 2, 2)


def test_invalid_ingestion_ends_with_its_reason(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(records: Any) -> None:
        raise NotFoundError("collection", "near")

    monkeypatch.setattr(shop.store, "upsert", fail)
    ended = shop.open().base("docs").ingest()
    assert ended.state.stored is not None
    assert (ended.state.stored.status, ended.state.stored.error) == ("failed", 'collection "near" does not exist')


def test_start_refuses_an_unknown_base_and_another_embedder(shop: Shop) -> None:
    workflows = shop.open()
    with pytest.raises(NotFoundError, match="declared: docs"):
        workflows.base("docz")
    workflows.base("docs").ingest()
    workflows.close()
    shop.embedder = LetterEmbedder("other/model/26")
    base = shop.open().base("docs")
    with pytest.raises(AnotherEmbedderError):
        base.ingest()
    base.ingest(rebuild=True)
    assert base.query("bread", top_k=1)[0].source == "docs/bread.md"


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        pytest.param("query: a", "a knowledge task needs `base`", id="no-base"),
        pytest.param("base: docs", "a knowledge task needs `query`", id="no-query"),
        pytest.param("base: docs, query: '{{ tasks.x.output }}'", 'task "x" does not exist', id="template"),
        pytest.param("base: docs, query: a, top_k: 101", "`top_k` of a knowledge task", id="top-k"),
        pytest.param("base: docs, query: a, min_score: 2", "`min_score` of a knowledge task", id="min-score"),
        pytest.param("base: docs, query: a, filter: [1]", "`filter` of a knowledge task must be a map", id="filter"),
    ],
)
def test_knowledge_task_is_checked_when_its_file_is_read(task: str, problem: str) -> None:
    with pytest.raises(DefinitionError) as failed:
        parse_definition(f"id: a\ntasks:\n  - {{id: t, type: knowledge, {task}}}\n", "f.yaml")
    assert problem in str(failed.value)


@pytest.mark.parametrize(("declared", "problem"), [("doc", True), ("docs", False)])
def test_base_of_a_task_is_looked_up_in_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], declared: str, problem: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compozy.yaml").write_text(f"knowledge: {{bases: [{{id: {declared}}}]}}\n")
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "ask.yaml").write_text(ASK)
    assert run(["workflow", "validate", "--format", "json"]) == (2 if problem else 0)
    messages = [one["message"] for one in json.loads(capsys.readouterr().out)["findings"]]
    assert messages == (['knowledge base "docs" is not declared; did you mean "doc"?'] if problem else [])


def test_task_queries_with_rendered_values() -> None:
    engine = FakeEngine(answers=[{"results": []}])
    names = Scope({"id": "f", "version": "1", "execution_id": "e", "input": {"n": 2}})
    task = Knowledge(id="t", base="docs", query="about {{ input.n }}", filter={"year": "{{ input.n }}"}, min_score=0.5)

    async def perform() -> object:
        return await TYPES["knowledge"].run(task, engine, names)

    assert asyncio.run(perform()) == {"results": []}
    argument = {"base": "docs", "query": "about 2", "top_k": 5, "min_score": 0.5, "filter": {"year": 2}}
    assert engine.calls == [Call(QUERY_KNOWLEDGE, argument, 60.0, Retry())]
