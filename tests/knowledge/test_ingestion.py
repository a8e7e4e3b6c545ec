"""Ingestion step by step: repeated, interrupted, with documents that change, fail and disappear."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.vectors import LetterEmbedder, MemoryStore

from compozy.drivers.protocol import LoopThread, StartContext
from compozy.drivers.sqlite import SqliteDriver
from compozy.errors import UsageError, VectorError
from compozy.knowledge.bases import EmbeddingModel, KnowledgeBase, SourceSetting
from compozy.knowledge.ingestion import Ingestion
from compozy.knowledge.library import AnotherEmbedderError, Library, NotIngestedError
from compozy.knowledge.search import Query, search
from compozy.store import Store
from compozy.store.knowledge_records import READY, DocumentContent
from compozy.store.knowledge_rows import KnowledgeRows, SupersededError
from compozy.store.knowledge_words import KnowledgeWords


class Killed(BaseException):
    """The process ends here."""


class Shelf:
    """A project with one base and everything that its ingestion needs."""

    def __init__(self, root: Path, database: Any) -> None:
        self.root = root
        self.store = MemoryStore()
        self.embedder = LetterEmbedder()
        self.base = KnowledgeBase(
            "docs", root, (SourceSetting("markdown_glob", "docs/**/*.md"),), "near", EmbeddingModel("letters", "test"),
            chunk_size=40, chunk_overlap=0,
        )  # fmt: skip
        self.rows = KnowledgeRows(database)
        self.words = KnowledgeWords(database)

    @property
    def library(self) -> Library:
        """A library as a new process makes it."""
        return Library({"docs": self.base}, self.rows, self.words, lambda _: self.store, lambda _: self.embedder)

    def write(self, name: str, text: str) -> None:
        """Write a document."""
        path = self.root / "docs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def ingest(self, run: str = "run", *, rebuild: bool = False) -> dict[str, int]:
        """Ingest everything; return the states of the documents."""
        ingestion = Ingestion(self.library, "docs", run)
        ingestion.begin(rebuild=rebuild)
        while ingestion.step(60):
            pass
        ingestion.finish()
        return dict(self.rows.extent("docs").states)

    def ask(self, text: str, **options: Any) -> list[tuple[str, str]]:
        """Return source and place of the results."""
        return [(one.source, one.place) for one in search(self.library, "docs", Query(text, **options))]

    def check(self) -> None:
        """Check that chunks, words and vectors are those of the files, each once."""
        texts = {path.relative_to(self.root).as_posix(): path.read_text() for path in self.root.glob("docs/**/*.md")}
        extent = self.rows.extent("docs")
        ids = {record.id for record in self.store.export()}
        passages = self.rows.passages("docs", list(ids))
        assert (extent.documents, extent.chunks) == (len(texts), len(passages))
        assert ids == passages.keys()
        assert self.rows.discarded("docs") == []
        for source, text in texts.items():
            own = sorted((one for one in passages.values() if one.source == source), key=lambda one: one.ordinal)
            assert " ".join(one.text for one in own).split() == text.split()


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    """Return a project of three documents on SQLite in memory."""
    loop = LoopThread()
    driver = SqliteDriver(":memory:")
    driver.start(StartContext(loop, lambda line: None, float("inf")))
    Store(driver.handle).migrate()
    made = Shelf(tmp_path, driver.handle)
    made.write(
        "ferry.md", "# Times of the ferry\n\nThe ferry leaves the harbour at noon.\n\nA ticket costs four crowns.\n"
    )
    made.write("bread.md", "# Bread of the island\n\nBread needs flour, water and salt.\n")
    made.write("owls.md", "# Owls of the island\n\nOwls hunt at night and sleep by day.\n")
    yield made
    driver.stop(0)
    loop.close()


def test_repeated_ingestion_writes_nothing(shelf: Shelf) -> None:
    assert shelf.ingest() == {"added": 3}
    shelf.check()
    embedded = shelf.embedder.texts
    assert shelf.ingest("again") == {"unchanged": 3}
    assert shelf.embedder.texts == embedded
    shelf.check()


def test_touched_document_with_the_same_content_is_unchanged(shelf: Shelf) -> None:
    shelf.ingest()
    path = shelf.root / "docs" / "ferry.md"
    path.touch()
    assert shelf.ingest("again") == {"unchanged": 3}


def test_changed_new_and_removed_documents_are_brought_up_to_date(shelf: Shelf) -> None:
    shelf.ingest()
    shelf.write("ferry.md", "# Times of the ferry\n\nThe ferry leaves at six from the new pier.\n")
    shelf.write("tea.md", "# Tea\n\nTea is harvested in spring.\n")
    (shelf.root / "docs" / "owls.md").unlink()
    assert shelf.ingest("again") == {"unchanged": 1, "updated": 1, "added": 1}
    shelf.check()
    assert shelf.rows.bases()["docs"].removed == 1
    assert shelf.ask("pier", top_k=1) == [("docs/ferry.md", "line 3")]


def test_other_chunk_sizes_replace_every_document(shelf: Shelf) -> None:
    shelf.ingest()
    shelf.base = replace(shelf.base, chunk_size=20)
    assert shelf.ingest("again") == {"updated": 3}
    shelf.check()


def test_fault_of_one_document_leaves_the_others_and_its_old_content(shelf: Shelf) -> None:
    shelf.ingest()
    (shelf.root / "docs" / "owls.md").write_bytes(b"\0" * 100)
    assert shelf.ingest("again") == {"unchanged": 2, "failed": 1}
    (failure,) = shelf.library.state("docs").failures
    assert (failure.source, str(failure.error).partition(";")[0]) == ("docs/owls.md", "it is binary data, not text")
    assert shelf.ask("hunt at night", top_k=1) == [("docs/owls.md", "line 3")]


def test_another_embedder_is_refused_until_the_base_is_rebuilt(shelf: Shelf) -> None:
    shelf.ingest()
    shelf.embedder = LetterEmbedder("other/model/26")
    for refused in (shelf.ingest, lambda: shelf.ask("ferry")):
        with pytest.raises(AnotherEmbedderError, match="letters/a-z/26 in the store .* names other/model/26"):
            refused()
    assert shelf.ingest("again", rebuild=True) == {"updated": 3}
    shelf.check()
    assert shelf.embedder.texts == shelf.rows.extent("docs").chunks


def test_base_without_embedder_is_searched_by_words_alone(shelf: Shelf) -> None:
    shelf.base = replace(shelf.base, embedder=None)
    shelf.ingest()
    assert shelf.store.count() == 0
    results = search(shelf.library, "docs", Query("When does the ferry leave the harbour?", top_k=2))
    assert [(one.source, one.place, one.score) for one in results] == [
        ("docs/ferry.md", "line 3", 1.0), ("docs/ferry.md", "line 1", 0.333333),
    ]  # fmt: skip
    assert [one.score for one in search(shelf.library, "docs", Query("ferry harbour leave", min_score=0.5))] == [1.0]


def test_query_before_the_first_ingestion_names_the_command(shelf: Shelf) -> None:
    with pytest.raises(NotIngestedError, match="compozy knowledge ingest docs"):
        shelf.ask("ferry")


def test_results_have_the_cosine_similarity_to_the_query_as_score(shelf: Shelf) -> None:
    shelf.ingest()
    results = search(shelf.library, "docs", Query("Bread needs flour, water and salt.", top_k=10))
    assert (results[0].source, results[0].place, results[0].metadata) == (
        "docs/bread.md",
        "line 3",
        {"title": "Bread of the island"},
    )
    assert results[0].score > 0.95
    assert all(-1 <= one.score <= 1 for one in results)
    assert search(shelf.library, "docs", Query("Bread needs flour", min_score=0.999)) == []
    assert {
        one.source for one in search(shelf.library, "docs", Query("bread", where={"title": "Owls of the island"}))
    } == {"docs/owls.md"}
    assert search(shelf.library, "docs", Query("???", top_k=3)) == []  # neither words nor a direction


def test_passage_found_by_words_alone_has_its_similarity(shelf: Shelf) -> None:
    for number in range(60):
        shelf.write(f"near-{number}.md", f"eteer ceeck{'e' * (number + 1)}\n")
    shelf.write("far.md", f"ticket {'zzz ' * 8}\n")
    shelf.ingest()
    results = search(shelf.library, "docs", Query("ticket", top_k=60))
    far = next(one for one in results if one.source == "docs/far.md")
    assert 0 < far.score < 0.3


@pytest.mark.parametrize(
    "options",
    [{"top_k": 0}, {"top_k": 101}, {"text": " "}, {"text": "\ud800"}, {"text": "a\0"}, {"where": {"a": {"b": 1}}}],
)
def test_query_out_of_bounds_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises((UsageError, VectorError)):
        Query(**{"text": "ferry", **options})


@pytest.mark.parametrize("at", range(12))
def test_killed_ingestion_is_completed_by_the_next_one(at: int, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends before or after one of the writes of a second ingestion, whose documents change again."""
    shelf.ingest()
    shelf.write("ferry.md", "# Times of the ferry\n\nThe ferry leaves at six from the new pier.\n")
    shelf.write("tea.md", "# Tea\n\nTea is harvested in spring.\n")
    (shelf.root / "docs" / "owls.md").unlink()
    monkeypatch.setattr("compozy.knowledge.ingestion._CHUNKS", 1)
    writes = 0

    def counted(write: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal writes
            result = write(*args, **options) if at % 2 else None
            writes += 1
            if writes == at // 2 + 1:
                raise Killed
            return result if at % 2 else write(*args, **options)

        return call

    with monkeypatch.context() as patched:
        for target, name in ((shelf.rows, "announce"), (shelf.store, "upsert"), (shelf.rows, "replace"),
                             (shelf.rows, "sweep"), (shelf.rows, "forget_discarded")):  # fmt: skip
            patched.setattr(target, name, counted(getattr(target, name)))
        with pytest.raises(Killed):
            shelf.ingest("killed")

    assert shelf.ask("bread flour", top_k=1) == [("docs/bread.md", "line 3")]
    shelf.write("ferry.md", "# Ferry\n\nThe ferry does not sail any more.\n")
    shelf.ingest("next")
    shelf.check()


def test_query_during_a_replacement_finds_the_old_or_the_new_chunks(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.ingest()
    shelf.write("ferry.md", "# Times of the ferry\n\nThe ferry leaves the pier at six.\n")
    replaced, found = shelf.rows.replace, []

    def replace_and_ask(base: str, run: str, contents: list[DocumentContent]) -> None:
        found.append(shelf.ask("the ferry leaves", top_k=1))
        replaced(base, run, contents)
        found.append(shelf.ask("the ferry leaves", top_k=1))

    monkeypatch.setattr(shelf.rows, "replace", replace_and_ask)
    shelf.ingest("again")
    assert found == [[("docs/ferry.md", "line 3")]] * 2


def test_deleted_base_ends_its_ingestion_and_leaves_nothing(shelf: Shelf) -> None:
    ingestion = Ingestion(shelf.library, "docs", "run")
    ingestion.begin()
    assert shelf.library.delete("docs") == 0
    ingestion.finish("late")
    assert shelf.rows.bases() == {}
    with pytest.raises(SupersededError):
        ingestion.finish()
    shelf.ingest()
    assert shelf.library.delete("docs") == 3
    assert (shelf.store.count(), shelf.rows.extent("docs").chunks, shelf.rows.discarded("docs")) == (0, 0, [])
    shelf.ingest()
    shelf.check()
    assert shelf.rows.bases()["docs"].status == READY


@pytest.mark.parametrize("deleted_during", ["embed", "upsert"])
@pytest.mark.parametrize("again", [False, True], ids=["deleted", "ingested-again"])
def test_base_deleted_during_a_write_of_its_ingestion_keeps_no_vectors(
    deleted_during: str, again: bool, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process deletes, and may ingest other documents, while the first one embeds or writes vectors."""
    target = shelf.embedder if deleted_during == "embed" else shelf.store
    call = getattr(target, deleted_during)

    def deleting(argument: Any) -> Any:
        monkeypatch.setattr(target, deleted_during, call)
        shelf.library.delete("docs")
        if again:
            shelf.write("ferry.md", "# Times of the ferry\n\nThe ferry does not sail any more.\n")
            shelf.ingest("second")
        return call(argument)

    ingestion = Ingestion(shelf.library, "docs", "first")
    ingestion.begin()
    monkeypatch.setattr(target, deleted_during, deleting)
    with pytest.raises(SupersededError):
        ingestion.step(60)
    if again:
        shelf.ingest("third")
        shelf.check()
    else:
        assert (shelf.store.count(), shelf.rows.discarded("docs")) == (0, [])


def test_ingestion_during_a_deletion_keeps_its_vectors(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ingestion begins after the rows of the base are deleted, and before its vectors are."""
    shelf.ingest()
    library, threads = shelf.library, []
    delete = shelf.store.delete

    def ingest() -> None:
        ingestion = Ingestion(library, "docs", "second")
        ingestion.begin()
        began.set()
        while ingestion.step(60):
            pass
        ingestion.finish()

    def deleting(*args: Any, **options: Any) -> int:
        monkeypatch.setattr(shelf.store, "delete", delete)
        threads.append(threading.Thread(target=ingest))
        threads[0].start()
        assert began.wait(30)
        # Without exclusion the ingestion ends here, before the vectors are deleted.
        threads[0].join(0.2)
        return delete(*args, **options)

    began = threading.Event()
    monkeypatch.setattr(shelf.store, "delete", deleting)
    assert library.delete("docs") == 3
    threads[0].join(30)
    shelf.check()
