"""The rows and the words of knowledge bases, the same on every database."""

from __future__ import annotations

import peewee
import pytest

from compozy.store import Store
from compozy.store.knowledge_records import INGESTING, READY, DocumentContent, Passage, StoredBase
from compozy.store.knowledge_rows import KnowledgeRows, SupersededError
from compozy.store.knowledge_words import MOST_WORDS, KnowledgeWords, words_of

BASE = StoredBase("docs", "", "", "run-1", INGESTING, "2025-01-01T00:00:00.000000Z")


def content(source: str, *texts: str, sha256: str = "a") -> DocumentContent:
    passages = [
        Passage(f"{source}-{sha256}-{number}", source, number, text, f"line {number + 1}", {"title": source})
        for number, text in enumerate(texts)
    ]
    return DocumentContent(source, "", sha256, "1", passages)


@pytest.fixture
def rows(database: peewee.Database, store: Store) -> KnowledgeRows:
    """Return the rows of a database, with the ingestion of two documents begun."""
    made = KnowledgeRows(database)
    made.begin(BASE, ["a.md", "b.md"], {"c.md": "it is binary data"})
    return made


def test_documents_are_replaced_and_removed_with_their_words(rows: KnowledgeRows, database: peewee.Database) -> None:
    words = KnowledgeWords(database)
    rows.replace("docs", "run-1", [content("a.md", "The ferry leaves at noon.", "Tickets"), content("b.md", "Museum")])
    rows.replace("docs", "run-1", [content("a.md", "The ferries leave at six.", sha256="b")])
    extent = rows.extent("docs")
    assert (extent.documents, extent.chunks, extent.states) == (2, 2, {"added": 1, "updated": 1, "failed": 1})
    assert [found.text for found in words.search("docs", ["ferry"], 5)] == ["The ferries leave at six."]
    assert sorted(rows.discarded("docs")) == ["a.md-a-0", "a.md-a-1"]

    rows.finish("docs", "run-1", READY)
    rows.begin(StoredBase("docs", "", "", "run-2", INGESTING, BASE.started_at), ["a.md"], {})
    assert rows.sweep("docs", "run-2") == 2
    assert (words.search("docs", ["museum"], 5), rows.extent("docs").documents) == ([], 1)
    assert rows.bases()["docs"].removed == 2


def test_write_of_a_superseded_ingestion_is_refused(rows: KnowledgeRows) -> None:
    rows.delete("docs")
    with pytest.raises(SupersededError):
        rows.replace("docs", "run-1", [content("a.md", "text")])
    assert rows.extent("docs").chunks == 0


def test_announced_vectors_are_discarded_until_their_chunks_exist(rows: KnowledgeRows) -> None:
    rows.announce("docs", ["a.md-a-0", "a.md-a-1"])
    assert sorted(rows.discarded("docs")) == ["a.md-a-0", "a.md-a-1"]
    rows.replace("docs", "run-1", [content("a.md", "text")])
    rows.announce("docs", ["a.md-a-0"])  # by an attempt that was killed then
    assert rows.discarded("docs") == ["a.md-a-1"]
    rows.forget_discarded(["a.md-a-1"])
    assert rows.discarded("docs") == []


def test_words_are_ranked_filtered_and_counted(rows: KnowledgeRows, database: peewee.Database) -> None:
    words = KnowledgeWords(database)
    rows.replace("docs", "run-1", [
        content("a.md", "The harbour office sells ferry tickets.", "A ferry leaves the harbour.", "Bread and salt."),
        content("b.md", "Ferry ferry ferry."),
    ])  # fmt: skip
    asked = words_of("When does the ferry leave?")
    assert asked == ["ferry", "leave"]
    found = words.search("docs", asked, 10)
    assert (found[0].text, found[0].place, found[0].metadata) == (
        "A ferry leaves the harbour.", "line 2", {"title": "a.md"},
    )  # fmt: skip
    assert len(found) == 3
    assert [one.source for one in words.search("docs", asked, 10, {"source": "b.md"})] == ["b.md"]
    assert [one.source for one in words.search("docs", asked, 1, {"title": ["b.md", "c.md"]})] == ["b.md"]
    assert words.search("other", asked, 10) == []
    shares = words.shares(asked, [one.id for one in found])
    assert sorted(shares.values()) == [0.5, 0.5, 1.0]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("\"'`;--*():^+-~{}[]<>|&!%?$\\ \0 \x1b", id="marks"),
        pytest.param("a OR b AND NOT c NEAR(d, 2)", id="operators-of-fts"),
        pytest.param("'ferry' & ! (harbour | <-> :*)", id="operators-of-tsquery"),
        pytest.param("text:ferry rank:MATCH 'bm25(7)'", id="columns"),
        pytest.param("\ud800 ½ ² Straße 東京 नमस्ते \U0001f680\u200d", id="unicode"),
        pytest.param("x" * 5000 + " " + " ".join(map(str, range(5000))), id="long"),
    ],
)
def test_any_text_can_be_asked_for(text: str, rows: KnowledgeRows, database: peewee.Database) -> None:
    rows.replace("docs", "run-1", [content("a.md", "A ferry leaves the harbour of Straße 東京.")])
    words = KnowledgeWords(database)
    asked = words_of(text)
    assert len(asked) <= MOST_WORDS
    found = words.search("docs", asked, 3)
    assert words.shares(asked, [one.id for one in found]).keys() == {one.id for one in found}


def test_text_invalid_in_databases_is_repaired(rows: KnowledgeRows) -> None:
    rows.replace("docs", "run-1", [content("a.md", "ferry\0 \ud800 harbour", "w" * 1_000_000)])
    texts = [passage.text for passage in rows.passages("docs", ["a.md-a-0"]).values()]
    assert texts == ["ferry  ? harbour"]
