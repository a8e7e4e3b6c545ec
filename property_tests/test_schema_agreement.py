"""The JSON Schema and our own reader agree about every document."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import assume, example, given, settings
from jsonschema import Draft202012Validator
from property_tests.config_documents import DOCUMENTS, as_text

from compozy.base.findings import Finding
from compozy.resolution.configuration import read_sources
from compozy.resolution.resolve import resolve
from compozy.resolution.validate import errors, validate
from compozy.rulebook import load_rulebook
from compozy.schema.conditions import constraints
from compozy.schema.schema import file_schema
from compozy.settings.origin import PROBLEMS
from compozy.settings.sources import Inputs

RULEBOOK = load_rulebook()
SCHEMA = Draft202012Validator(file_schema(RULEBOOK, "compozy.json"))
TABLES = RULEBOOK.ruleset.tables.values()
READ = {row.id for table in TABLES if table.for_each == PROBLEMS for row in table.rows}
# Whether two spellings agree, two elements have one name or an address is loopback, a schema cannot say.
UNSAID = {"key.two-spellings", "key.doubled", "key.unidentified", "listener.open", "listener.key"}
COVERED = (READ | constraints(RULEBOOK).rows) - UNSAID
FACTS = {"valkey.binary": "found"}


def found(document: Any) -> tuple[Finding, ...]:
    """Return the errors of a document that is the only source."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "compozy.yaml")
        file.write_text(as_text(document), encoding="utf-8")
        configuration = read_sources(Inputs(folder, str(file)), RULEBOOK)
    return errors(validate(resolve(configuration, FACTS)))


@settings(max_examples=150)
@example({"mode": "distributed", "database": {"host": ""}})
@example({"vector_dbs": [{"config": {"provider": "pgvector"}}]})
@example({"temporal": {"mode": "distributed", "host_port": ""}, "database": {"driver": "sqlite"}})
@example({"redis": {"mode": "Persistent ", "embedded": {"engine": "fakeredis"}}})
@given(DOCUMENTS)
def test_schema_and_reader_agree(document: Any) -> None:
    """What one refuses the other refuses, mode-dependent rows included."""
    ours = found(document)
    assume(all(one.id != "key.two-spellings" for one in ours))
    refused = [error.message for error in SCHEMA.iter_errors(document)]
    said = [f"{one.id} {one.key}: {one.message}" for one in ours if one.id in COVERED]
    assert bool(refused) == bool(said), (refused, said)
