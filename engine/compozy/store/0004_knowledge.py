"""Create the tables of knowledge bases: documents, chunks, and the index of the words of chunks.

SQLite indexes words with FTS5, kept in step by triggers; PostgreSQL with a generated `tsvector`. The models are frozen
copies, independent of what the store uses later.
"""

from __future__ import annotations

from typing import Any

import peewee

# PostgreSQL parses a-b, a/b and a.b as one word of several kinds; as blanks these characters separate words.
_MARKS = r"-_./\:@#&=+~''"
# A `tsvector` has at most 1 MB: the words of a longer text could exceed it and fail the statement.
_WORDS = f"to_tsvector('english', translate(left(text, 200000), '{_MARKS}', '{' ' * (len(_MARKS) - 1)}'))"
_SQLITE = (
    "CREATE VIRTUAL TABLE knowledge_words USING fts5(text, content='knowledge_chunks', content_rowid='number', "
    "tokenize='porter unicode61 remove_diacritics 2')",
    "CREATE TRIGGER knowledge_words_insert AFTER INSERT ON knowledge_chunks BEGIN "
    "INSERT INTO knowledge_words (rowid, text) VALUES (new.number, new.text); END",
    "CREATE TRIGGER knowledge_words_delete AFTER DELETE ON knowledge_chunks BEGIN "
    "INSERT INTO knowledge_words (knowledge_words, rowid, text) VALUES ('delete', old.number, old.text); END",
)
_POSTGRES = (
    f"ALTER TABLE knowledge_chunks ADD COLUMN words tsvector GENERATED ALWAYS AS ({_WORDS}) STORED",
    "CREATE INDEX knowledge_chunks_words ON knowledge_chunks USING gin (words)",
)


class KnowledgeBase(peewee.Model):
    """A knowledge base: the options of its ingestion, and the last one."""

    id = peewee.TextField(primary_key=True)
    embedder = peewee.TextField()
    store = peewee.TextField()
    run = peewee.TextField()
    status = peewee.TextField()
    error = peewee.TextField(null=True)
    removed = peewee.IntegerField()
    started_at = peewee.TextField()
    finished_at = peewee.TextField(null=True)

    class Meta:
        """Name."""

        table_name = "knowledge_bases"


class KnowledgeDocument(peewee.Model):
    """A document of a base; `recipe` is how it was cut and embedded."""

    base = peewee.TextField()
    source = peewee.TextField()
    version = peewee.TextField()
    run = peewee.TextField()
    state = peewee.TextField()
    error = peewee.TextField(null=True)
    sha256 = peewee.TextField()
    recipe = peewee.TextField()

    class Meta:
        """Name, key and index."""

        table_name = "knowledge_documents"
        primary_key = peewee.CompositeKey("base", "source")
        indexes = ((("base", "state"), False),)


class KnowledgeChunk(peewee.Model):
    """A passage of a document."""

    number = peewee.BigAutoField()
    id = peewee.TextField(unique=True)
    base = peewee.TextField()
    source = peewee.TextField()
    ordinal = peewee.IntegerField()
    text = peewee.TextField()
    place = peewee.TextField()
    metadata = peewee.TextField()

    class Meta:
        """Name and index."""

        table_name = "knowledge_chunks"
        indexes = ((("base", "source"), False),)


class KnowledgeDiscard(peewee.Model):
    """A vector that has no chunk, or none yet; it is deleted at the end of an ingestion."""

    id = peewee.TextField(primary_key=True)
    base = peewee.TextField(index=True)

    class Meta:
        """Name."""

        table_name = "knowledge_discards"


_MODELS = [KnowledgeBase, KnowledgeDocument, KnowledgeChunk, KnowledgeDiscard]


def up(_migrator: Any, database: Any) -> None:
    """Create the tables and the index of words."""
    database.bind(_MODELS)
    database.create_tables(_MODELS, safe=False)
    for statement in _SQLITE if isinstance(database, peewee.SqliteDatabase) else _POSTGRES:
        database.execute_sql(statement)


def down(_migrator: Any, database: Any) -> None:
    """Drop them."""
    statements = ["DROP TABLE knowledge_words"] if isinstance(database, peewee.SqliteDatabase) else []
    for statement in statements:
        database.execute_sql(statement)
    database.bind(_MODELS)
    database.drop_tables(_MODELS)
