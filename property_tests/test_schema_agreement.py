"""The JSON Schema and our own reader agree about every document."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from property_tests.config_documents import DOCUMENTS, REGISTRY, as_text, values

from compozy.base.findings import Finding
from compozy.resolution.configuration import read_sources
from compozy.resolution.resolve import resolve
from compozy.resolution.validate import errors, validate
from compozy.rulebook import load_rulebook
from compozy.schema.conditions import constraints
from compozy.schema.schema import file_schema
from compozy.settings.origin import PROBLEMS
from compozy.settings.registry import CONTAINERS, Setting
from compozy.settings.sources import Inputs

RULEBOOK = load_rulebook()
SCHEMA = Draft202012Validator(file_schema(RULEBOOK, "compozy.json"))
TABLES = RULEBOOK.ruleset.tables.values()
READ = {row.id for table in TABLES if table.for_each == PROBLEMS for row in table.rows}
# A schema cannot express that spellings agree, elements have different names, a name is of another list, a number is
# less than another one, or an address is loopback.
UNSAID = {
    "key.two-spellings", "key.doubled", "key.unidentified", "listener.open", "listener.key", "key.unknown-reference",
    "key.not-below", "key.missing-field", "key.climbing",
}  # fmt: skip
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
    """Both refuse the same values, mode-dependent rows included."""
    ours = found(document)
    assume(all(one.id != "key.two-spellings" for one in ours))
    refused = [error.message for error in SCHEMA.iter_errors(document)]
    reported = [f"{one.id} {one.key}: {one.message}" for one in ours if one.id in COVERED]
    assert bool(refused) == bool(reported), (refused, reported)


SOURCES = ("file", "dotenv", "env", "flag")
WORDS = ("7", "-1", "70000", "1.5", "true", "false", "5m", "soon", "64KiB", "a/b", "db:5432", "http://h/x", "require")
LONG = "x" * 5_000


VALUES = {path: values(setting) for path, setting in REGISTRY.settings.items() if setting.type in CONTAINERS}


@st.composite
def written(draw: st.DrawFn) -> tuple[Setting, str]:
    """Return a setting and a text that YAML reads as what a variable means by it."""
    setting = REGISTRY.settings[draw(st.sampled_from(sorted(REGISTRY.settings)))]
    if setting.type in CONTAINERS:
        return setting, as_text(draw(VALUES[setting.path]))
    words = st.sampled_from([*WORDS, *setting.values, *(["x" * setting.longest, LONG] if setting.longest else [])])
    return setting, draw(words)


def refusals(setting: Setting, text: str, source: str, folder: str) -> set[str]:
    """Return the ids of the errors about a setting that one source gives."""
    file, document = Path(folder, "compozy.yaml"), text
    for key in reversed(setting.path.split(".")):
        document = f"{{{key}: {document}}}"
    file.write_text(document if source == "file" else "", encoding="utf-8")
    Path(folder, ".env").write_text(f"{setting.env}='{text}'\n" if source == "dotenv" else "", encoding="utf-8")
    flags = {setting.path: text} if source == "flag" else {}
    environment = {setting.env: text} if source == "env" else {}
    configuration = read_sources(Inputs(folder, str(file), flags, environment), RULEBOOK)
    return {one.id for one in errors(validate(resolve(configuration, FACTS))) if one.id in READ}


@settings(max_examples=60, deadline=None)
@example((REGISTRY.settings["temporal.task_queue"], "q" * 2_000))
@given(written())
def test_sources_agree_about_acceptance(case: tuple[Setting, str]) -> None:
    """A value that one source refuses is refused in each of them, for the same reason."""
    setting, text = case
    assume("'" not in text)
    with tempfile.TemporaryDirectory() as folder:
        found = {source: refusals(setting, text, source, folder) for source in SOURCES}
    assert found == dict.fromkeys(SOURCES, found["file"])
