"""A configuration file is taken apart: what is known becomes a value, all else a finding with its place."""

from __future__ import annotations

import time
from collections.abc import Callable
from cProfile import Profile
from pathlib import Path
from typing import Any

import pytest
from tests.support.project import findings, given, resolved

from compozy.cli.output import finding_lines
from compozy.explain.show import resolved_json
from compozy.resolution.configuration import load_configuration
from compozy.resolution.validate import validate

PATIENCE_S = 10


def located_findings(folder: Path, text: str, **sources: Any) -> list[tuple[str, str, str]]:
    found = findings(folder, text, **sources)
    return [(one.id, one.key, str(one.where.place)) for one in found]


def test_keys_of_the_user_are_free(tmp_path: Path) -> None:
    """Keys that start with `x-` may hold anything, anywhere."""
    text = (
        "x-a: &a {b: [1]}\nserver: {x-note: [2], port: 8081}\nknowledge: {vector_dbs: [{provider: qdrant, x-q: 1}]}\n"
    )
    assert located_findings(tmp_path, text) == []


@pytest.mark.parametrize(
    "element",
    [
        pytest.param("{id: a, provider: qdrant, url: 'http://q', dimension: 3}", id="flat"),
        pytest.param("{name: a, provider: qdrant, config: {url: 'http://q', dimension: 3}}", id="under-config"),
        pytest.param("{id: a, provider: Qdrant, dsn: 'http://q', config: {dimension: 3}}", id="both"),
        pytest.param(
            "{id: a, provider: qdrant, url: 'http://q', dimension: 3, config: null}", id="nothing-under-config"
        ),
    ],
)
@pytest.mark.parametrize("key", ["knowledge: {vector_dbs: [%s]}", "vector_dbs: [%s]"])
def test_both_shapes_of_a_vector_store_are_one(key: str, element: str, tmp_path: Path) -> None:
    """Flat or under `config:`, below `knowledge` or not."""
    assert resolved(tmp_path, key % element).get("knowledge.vector_dbs") == [
        {"id": "a", "provider": "qdrant", "url": "http://q", "dimension": 3}
    ]


def test_a_field_of_an_element_has_its_own_place(tmp_path: Path) -> None:
    """Also when the list is spelled otherwise."""
    text = "vector_dbs:\n  - id: a\n    provider: PGVector\n"
    assert located_findings(tmp_path, text) == [
        ("knowledge.pgvector-on-sqlite", "knowledge.vector_dbs[0].provider", "compozy.yaml:3:15")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("modes: memory", ("key.unknown", "modes", "compozy.yaml:1:1"), id="key"),
        pytest.param("server:\n  prot: 1", ("key.unknown", "server.prot", "compozy.yaml:2:3"), id="within-a-group"),
        pytest.param("redis.host: a", ("key.unknown", "redis.host", "compozy.yaml:1:1"), id="dotted"),
        pytest.param("server: 5", ("key.type", "server", "compozy.yaml:1:9"), id="no-group"),
        pytest.param("[a]", ("file.syntax", "", "compozy.yaml:1:1"), id="no-mapping"),
        pytest.param("models: {a: 1}", ("key.type", "models", "compozy.yaml:1:9"), id="no-list"),
        pytest.param("name: [a]", ("key.type", "name", "compozy.yaml:1:7"), id="no-text"),
        pytest.param("x-a: 1\nx-a: 2", ("file.duplicate-key", "", "compozy.yaml:2:1"), id="twice"),
        pytest.param("a: [", ("file.syntax", "", "compozy.yaml:2:1"), id="syntax"),
        pytest.param("a: &x [*x]", ("file.syntax", "", "compozy.yaml:1:4"), id="circle"),
        pytest.param("vector_dbs: [5]", ("key.type", "vector_dbs[0]", "compozy.yaml:1:14"), id="no-element"),
        pytest.param(
            "vector_dbs: [{provder: qdrant}]",
            ("key.unknown", "vector_dbs[0].provder", "compozy.yaml:1:15"),
            id="field",
        ),
    ],
)
def test_unknown_key_is_a_finding_with_its_place(text: str, expected: tuple[str, str, str], tmp_path: Path) -> None:
    """The key for an unknown key, the value for a wrong value."""
    assert located_findings(tmp_path, text) == [expected]


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 50_000, "- " * 50_000, "a: " + "[" * 101 + "]" * 101])
def test_deep_nesting_is_refused_before_it_exhausts_the_stack(text: str, tmp_path: Path) -> None:
    """A file cannot end the process."""
    assert [found[0] for found in located_findings(tmp_path, text)] == ["file.syntax"]


def test_file_of_unknown_keys_is_read_in_bounded_time(tmp_path: Path) -> None:
    """The first hundred keys get their finding and a suggestion."""
    found = findings(tmp_path, "".join(f"modes{number}: 1\n" for number in range(2000)))
    assert (len(found), sum("did you mean" in one.hint for one in found)) == (100, 100)


def work(folder: Path, text: str) -> tuple[int, float]:
    """Return the calls and the seconds of processor time that it takes to read a file and print its findings."""
    began, calls = time.thread_time(), Profile()
    with calls:
        found = resolved(folder, text)
        for one in validate(found)[:20]:
            finding_lines(one, found.configuration.texts)
        resolved_json(found, "resolved", ())
    return sum(entry.callcount for entry in calls.getstats()), time.thread_time() - began


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param(lambda size: "database: {url: '" + "://" * size + "'}", 50_000, id="schemes"),
        pytest.param(lambda size: "database: {url: '" + "a://b@" * size + "'}", 10_000, id="user-information"),
        pytest.param(lambda size: "redis: {host: '" + "a:b,c=d\t" * size + "'}", 10_000, id="words"),
        pytest.param(lambda size: "server: {port: '" + "token=a&" * size + "'}", 10_000, id="parameters"),
        pytest.param(lambda size: "server: {port: " + "a" * size + "}", 100_000, id="one-word"),
        pytest.param(lambda size: "vector_dbs:\n" + "  - {id: a, provider: pgvektor}\n" * size, 200, id="elements"),
        pytest.param(lambda size: "[" * size, 100_000, id="brackets"),
        pytest.param(lambda size: "vector_dbs:\n" + "  - {api_key: [a], prot: 1}\n" * size, 400, id="secrets"),
        pytest.param(
            lambda size: "server: {" + ", ".join(f"token{at}: a" for at in range(size)) + "}", 1000,
            id="secrets-in-a-line",
        ),
    ],
)  # fmt: skip
def test_work_grows_with_the_length_of_a_file(text: Callable[[int], str], size: int, tmp_path: Path) -> None:
    """Twice the length takes twice the calls; a pattern that backtracks takes minutes within one."""
    work(tmp_path, text(1))  # imports and caches
    calls, _ = work(tmp_path, text(size // 2))
    more, processor_s = work(tmp_path, text(size))
    assert more < 2.1 * calls
    assert processor_s < PATIENCE_S


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('redis: {"": 3}', "a key below redis is empty", id="group"),
        pytest.param('"": 3', "a key is empty", id="top"),
        pytest.param('vector_dbs: [{id: a, "": 3}]', "a key below vector_dbs[0] is empty", id="field"),
    ],
)
def test_empty_key_is_reported_without_a_suggestion(text: str, message: str, tmp_path: Path) -> None:
    found = [one for one in findings(tmp_path, text) if one.severity == "error"]
    assert [(one.id, one.message, one.hint) for one in found] == [
        ("file.syntax", message, "write a name before the colon")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("name: a\nmode: memory\nname: b\n", [("file.duplicate-key", 3)], id="one"),
        pytest.param("x-a: 1\nx-a: 2\nx-a: 3\n", [("file.duplicate-key", 2), ("file.duplicate-key", 3)], id="two"),
        pytest.param(
            "server: {prot: 1}\nmode: foo\nserver: {hots: 1, port: 65536}\n",
            [
                ("key.unknown", 1), ("mode.unknown", 2), ("file.duplicate-key", 3),
                ("key.unknown", 3), ("port.range.server", 3),
            ],
            id="with-other-faults",
        ),
        pytest.param(
            'x-a: {b: 1, b: 2}\nmodels: [{id: 1, id: 2, url: "http://m"}]\n',
            [("file.duplicate-key", 1), ("file.duplicate-key", 2)],
            id="deep",
        ),
    ],
)  # fmt: skip
def test_duplicate_key_hides_no_other_finding(text: str, expected: list[tuple[str, int]], tmp_path: Path) -> None:
    """Each is a finding beside all others."""
    found = [(one.id, one.where.place.line) for one in findings(tmp_path, text) if one.where.place]
    assert found == expected


def test_duplicate_key_in_a_variable_is_a_finding(tmp_path: Path) -> None:
    """YAML is YAML wherever it stands."""
    found = findings(tmp_path, environment={"COMPOZY_RUNTIME": "{env: {a: 1, a: 2}}"})
    assert [(one.id, one.message, str(one.where)) for one in found] == [
        ("file.duplicate-key", 'key "a" is written twice', "env COMPOZY_RUNTIME")
    ]


def test_undecodable_file_is_a_finding(tmp_path: Path) -> None:
    """Also `.env`."""
    given(tmp_path)
    (tmp_path / "compozy.yaml").write_bytes(b"name: \xff")
    (tmp_path / ".env").write_bytes(b"\xff")
    problems = load_configuration(directory=str(tmp_path), environment={}).problems
    assert [(one.kind, one.facts["file"]) for one in problems] == [
        ("unreadable", ".env"),
        ("unreadable", "compozy.yaml"),
    ]


def test_byte_order_mark_is_not_part_of_a_key(tmp_path: Path) -> None:
    """Editors on Windows write one."""
    (tmp_path / "compozy.yaml").write_bytes(b"\xef\xbb\xbfname: shop\n")
    configuration = load_configuration(directory=str(tmp_path), environment={})
    assert configuration.candidates["name"][0].value == "shop"


@pytest.mark.parametrize(
    ("line", "place"), [("DB_DRIVER sqlite", ".env:3:1"), ("DB_DRIVER", ".env:3:1"), ("=sqlite", ".env:3:1")]
)
def test_a_malformed_line_of_a_dotenv_file_is_a_warning(line: str, place: str, tmp_path: Path) -> None:
    """With its line, also after comments and blank lines."""
    assert located_findings(tmp_path, "", dotenv=f"# comment\n\n{line}\n") == [("file.dotenv-line", "", place)]


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        pytest.param("x-a: &a {p: 1}\nserver:\n  <<: *a", "merge keys (<<) are not supported", "3:3", id="merge"),
        pytest.param("mode: memory\n---\na: 1", "a second document begins here; a file holds one", "2:1", id="two"),
        pytest.param("name: !env X", "the tag !env is not supported", "1:7", id="own-tag"),
        pytest.param("name: !!str 5", "the tag !!str is not supported", "1:7", id="tag-of-yaml"),
        pytest.param("server: !include a", "the tag !include is not supported", "1:9", id="tag-of-a-group"),
        pytest.param("!x name: a", "the tag !x is not supported", "1:1", id="tag-of-a-key"),
        pytest.param("? {p: 1}\n: 2", "a key must be a plain word", "1:3", id="mapping-as-key"),
        pytest.param("? [p]\n: 2", "a key must be a plain word", "1:3", id="list-as-key"),
        pytest.param("just text", 'a configuration is a mapping; found "just text"', "1:1", id="text"),
    ],
)
def test_unsupported_yaml_is_named(text: str, message: str, place: str, tmp_path: Path) -> None:
    """Otherwise content would be ignored or misread silently."""
    found = findings(tmp_path, text)
    assert [(one.id, one.message, str(one.where.place)) for one in found] == [
        ("file.syntax", message, f"compozy.yaml:{place}")
    ]


def test_quoted_key_is_not_a_merge_key(tmp_path: Path) -> None:
    assert findings(tmp_path, 'x-a: {"<<": 1}') == ()


def test_errors_are_listed_in_the_order_of_lines(tmp_path: Path) -> None:
    text = "server: {prot: 1}\nfoo: 1\ndatabase: {max_connections: x}\nmode: foo\nredis: {mode: bar, tls: 1}\n"
    lines = [one.where.place.line for one in findings(tmp_path, text) if one.where.place]
    assert lines == [1, 2, 3, 4, 5, 5]
