"""Every value that a source gives passes the schema of the registry, whether it counts or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.project import findings, nested, resolved

LONG = "q" * 2_000


def errors(directory: Path, **sources: Any) -> list[tuple[str, str, str]]:
    return [(one.id, one.key, one.where.kind) for one in findings(directory, **sources) if one.severity == "error"]


@pytest.mark.parametrize(
    ("sources", "kind"),
    [
        pytest.param({"text": f"temporal: {{task_queue: {LONG}}}"}, "file", id="file"),
        pytest.param({"dotenv": f"COMPOZY_TEMPORAL__TASK_QUEUE={LONG}\n"}, "dotenv", id="dotenv"),
        pytest.param({"environment": {"COMPOZY_TEMPORAL__TASK_QUEUE": LONG}}, "env", id="env"),
        pytest.param({"flags": {"temporal.task_queue": LONG}}, "flag", id="flag"),
    ],
)
def test_overlong_text_is_an_error_in_every_source(sources: dict[str, Any], kind: str, tmp_path: Path) -> None:
    assert errors(tmp_path, **sources) == [("key.too-long", "temporal.task_queue", kind)]


def test_length_counts_characters(tmp_path: Path) -> None:
    assert errors(tmp_path, text=f"temporal: {{task_queue: {'é' * 255}}}") == []


@pytest.mark.parametrize(
    ("key", "written", "finding"),
    [
        pytest.param("database.max_connections", "0", "key.too-small", id="range"),
        pytest.param("database.ssl_mode", "perhaps", "key.not-allowed", id="allowed"),
        pytest.param("database.host", "'db:5432'", "key.type", id="host"),
        pytest.param("database.url", "mysql://db/x", "key.type", id="url"),
        pytest.param("temporal.host_port", "nowhere", "key.type", id="host-port"),
        pytest.param("temporal.api_key", "two words", "key.type", id="header"),
        pytest.param("version", "1" * 101, "key.too-long", id="length"),
    ],
)
def test_shadowed_value_is_validated_too(key: str, written: str, finding: str, tmp_path: Path) -> None:
    """A flag that decides the setting does not hide the error of the file."""
    right = {"database.max_connections": "5", "database.url": "postgres://db/x", "temporal.host_port": "t:1"}
    right["database.ssl_mode"] = "require"
    found = errors(tmp_path, text=nested(key, written), flags={key: right.get(key, "right")})
    assert [one for one in found if one[1] == key] == [(finding, key, "file")]


@pytest.mark.parametrize(
    ("host", "valid"),
    [
        pytest.param("db.example.org", True, id="name"),
        pytest.param("10.0.0.7", True, id="ipv4"),
        pytest.param("[::1]", True, id="ipv6"),
        pytest.param("db1,db2", True, id="several"),
        pytest.param("/run/postgresql", True, id="socket"),
        pytest.param("bücher.example", True, id="unicode"),
        pytest.param("10.0.0.256", False, id="no-octet"),
        pytest.param("db1,10.0.0.256", False, id="no-octet-among-several"),
        pytest.param("10.0.0.256.example", True, id="name-with-numbers"),
        pytest.param("db:5432", False, id="port"),
        pytest.param("postgres://db", False, id="url"),
        pytest.param("two words", False, id="blank"),
        pytest.param("me@db", False, id="user"),
    ],
)
def test_host_is_a_name_an_address_or_a_socket(host: str, valid: bool, tmp_path: Path) -> None:
    found = errors(tmp_path, text=f"database: {{host: '{host}'}}")
    assert found == ([] if valid else [("key.type", "database.host", "file")])


@pytest.mark.parametrize("address", ["127.0.0.256", "::1::g"])
def test_listen_address_must_be_an_ip_address(address: str, tmp_path: Path) -> None:
    assert errors(tmp_path, text=f"server: {{host: '{address}'}}") == [("key.type", "server.host", "file")]


@pytest.mark.parametrize(
    ("field", "finding"),
    [
        pytest.param("dimension: 0", "key.too-small", id="minimum"),
        pytest.param("dimension: 65537", "key.too-large", id="maximum"),
        pytest.param("metric: round", "key.not-allowed", id="allowed"),
        pytest.param(f"collection: {LONG}", "key.too-long", id="length"),
        pytest.param("host: 'a b'", "key.type", id="host"),
    ],
)
def test_field_of_an_element_is_validated(field: str, finding: str, tmp_path: Path) -> None:
    """The key names the element, the place is the field's own."""
    text = f"vector_dbs:\n- {{id: a, provider: qdrant}}\n- {{id: b, provider: redis, {field}}}\n"
    found = [one for one in findings(tmp_path, text=text) if one.severity == "error"]
    name = field.partition(":")[0]
    assert [(one.id, one.key) for one in found] == [(finding, f"knowledge.vector_dbs[1].{name}")]
    assert found[0].where.place is not None
    assert found[0].where.place.line == 3


def test_overlong_value_has_no_second_finding(tmp_path: Path) -> None:
    """Its form is not checked, which would take time, and its text is not repeated."""
    found = findings(tmp_path, text=f"redis: {{url: 'redis://h:{'9' * 5_000}'}}")
    assert [(one.id, one.hint) for one in found if one.severity == "error"] == [
        ("key.too-long", "it has 5010 characters")
    ]


@pytest.mark.parametrize(
    ("text", "finding", "key"),
    [
        pytest.param("models: [{id: a, params: {temperature: 3}}]", "key.too-large", "temperature", id="maximum"),
        pytest.param("models: [{id: a, params: {temprature: 1}}]", "key.unknown", "temprature", id="nested-unknown"),
        pytest.param("models: [{id: a, params: {stop: [1, {}]}}]", "key.type", "stop[1]", id="list-of-texts"),
        pytest.param(f"tools: [a:b, {LONG}]", "key.too-long", "tools[1]", id="length-in-a-list"),
        pytest.param("workflows: [{file: a}]", "key.type", "workflows[0]", id="mapping-for-a-text"),
        pytest.param("memories: [{id: a, ttl: soon}]", "key.type", "ttl", id="duration"),
        pytest.param("memories: [{id: a, type: ring}]", "key.not-allowed", "type", id="choice"),
        pytest.param("memories: [{id: a}, {name: a}]", "key.doubled", "memories[1].id", id="unique"),
        pytest.param("models: [gpt]", "key.type", "models[0]", id="text-for-a-mapping"),
        pytest.param("knowledge: {bases: [{chunk: {size: 99}}]}", "key.unidentified", "bases[0]", id="unidentified"),
        pytest.param(
            "knowledge: {bases: [{id: a, sources: [{type: pdf, path: a}, {type: doc}]}]}", "key.not-allowed",
            "knowledge.bases[0].sources[1].type", id="list-in-a-list",
        ),
        pytest.param(
            "knowledge: {bases: [{id: a, sources: [{url: 'ftp://h'}]}]}", "key.type",
            "knowledge.bases[0].sources[0].url", id="url-in-a-list-in-a-list",
        ),
        pytest.param("knowledge: {bases: [{id: a, chunk: {size: 0}}]}", "key.too-small", "chunk.size", id="minimum"),
        pytest.param("knowledge: {bases: [{id: a, store: b}]}", "key.unknown-reference", "[0].store", id="reference"),
        pytest.param(
            "knowledge: {bases: [{id: a, chunk: {size: 64}}]}", "key.not-below", "bases[0].chunk.overlap",
            id="not-below-by-default",
        ),
        pytest.param(
            "knowledge: {bases: [{id: a, chunk: {size: 9, overlap: 9}}]}", "key.not-below", "chunk.overlap",
            id="not-below",
        ),
        pytest.param(
            "knowledge: {bases: [{id: a, sources: [{type: url, path: a}]}]}", "key.missing-field",
            "knowledge.bases[0].sources[0]", id="missing-field",
        ),
        pytest.param(
            "knowledge: {bases: [{id: a, sources: [{type: text, path: a/../../b}]}]}", "key.climbing",
            "knowledge.bases[0].sources[0].path", id="climbing",
        ),
        pytest.param(
            "knowledge: {bases: [{id: a, sources: [{type: text, path: /etc/hosts}]}]}", "key.climbing",
            "knowledge.bases[0].sources[0].path", id="absolute",
        ),
        *[
            pytest.param(f"knowledge: {{fetch: {{allow: [a, {text!r}]}}}}", "key.type", "allow[1]", id=text)
            for text in ("http://a", "a/b", "*.a", "a:0", "a:70000", "10.0.0.0/x", "300.1.1.1", "a b", "u@a", "[::1")
        ],
        pytest.param("runtime: {type: perl}", "key.not-allowed", "runtime.type", id="map"),
        pytest.param("runtime: {permissions: all}", "key.type", "runtime.permissions", id="text-for-a-list"),
        pytest.param("runtime: {typ: bun}", "key.unknown", "runtime.typ", id="unknown-in-a-map"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("source", ["file", "flag"])
def test_lists_and_maps_have_fields(text: str, finding: str, key: str, source: str, tmp_path: Path) -> None:
    """Faults in them are named by path, in a file and in the YAML of a flag."""
    document = yaml.safe_load(text)
    ((name, value),) = document.items()
    while isinstance(value, dict) and name.startswith("knowledge"):
        ((inner, value),) = value.items()
        name = f"{name}.{inner}"
    given = {"text": text} if source == "file" else {"flags": {name: json.dumps(value)}}
    found = errors(tmp_path, **given)
    assert [(one, where.endswith(key), kind) for one, where, kind in found] == [(finding, True, source)]


def test_fields_of_a_base_are_read_with_their_types(tmp_path: Path) -> None:
    text = (
        "knowledge:\n  bases:\n  - id: docs\n    store: main\n    chunk: {size: 256}\n"
        "    sources: [{type: markdown_glob, path: 'docs/**/*.md'}, {type: url, url: 'https://example.org/x'}]\n"
    )
    assert resolved(tmp_path, text).get("knowledge.bases") == [
        {
            "id": "docs",
            "store": "main",
            "chunk.size": 256,
            "sources": [
                {"type": "markdown_glob", "path": "docs/**/*.md"},
                {"type": "url", "url": "https://example.org/x"},
            ],
        }
    ]


@pytest.mark.parametrize(
    "entry", ["a", "a.b-c.example", "a:80", "10.0.0.1", "10.0.0.0/8", "::1", "[::1]:80", "fd00::/8", "Grüße.de"]
)
def test_host_address_and_network_are_entries(entry: str, tmp_path: Path) -> None:
    assert errors(tmp_path, text=f"knowledge: {{fetch: {{allow: ['{entry}']}}}}") == []
