"""Every setting has the same value from every source, and the sources have one precedence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.project import findings, given, nested, resolved

from compozy.resolution.configuration import Configuration
from compozy.resolution.validate import errors, validate
from compozy.rulebook import load_rulebook
from compozy.settings.registry import Setting

REGISTRY = load_rulebook().registry
SETTINGS = [pytest.param(setting, id=path) for path, setting in REGISTRY.settings.items()]
SOURCES = ("flag", "env", "dotenv", "file")
SAMPLES: Mapping[str, str] = {
    "text": "abc", "number": "1.5", "boolean": "true", "duration": "90s", "size": "3KiB", "path": "data/x",
    "url": "http://host:1/x", "listen_address": "127.0.0.9", "host": "h",
    "name": "n-1", "pattern": "a+", "network": "10.0.0.0/8", "map": "{a: 1, b: [x]}",
}  # fmt: skip


def sample(setting: Setting) -> str:
    if setting.type == "choice":
        return setting.values[-1]
    if setting.type == "integer":
        return str(max(setting.minimum or 0, 7))
    if setting.items:
        fields: dict[str, Any] = {}
        for name, item in setting.items.items():
            group, _, key = name.rpartition(".")
            (fields.setdefault(group, {}) if group else fields)[key] = yaml.safe_load(sample(item))
        return json.dumps([fields] if setting.type == "list" else fields)
    if setting.of:
        return f"[{sample(setting.element)}]"
    return "host:7" if setting.splits else SAMPLES[setting.type]


def source(kind: str, setting: Setting, text: str) -> dict[str, Any]:
    sources: dict[str, dict[str, Any]] = {
        "flag": {"flags": {setting.path: text}},
        "env": {"environment": {setting.env: text}},
        "dotenv": {"dotenv": f"{setting.env}='{text}'\n"},
        "file": {"text": nested(setting.path, text)},
    }
    return sources[kind]


def first(configuration: Configuration, path: str) -> tuple[object, str]:
    found = configuration.candidates[path][0]
    return found.value, found.origin.kind


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_source_gives_the_same_value(setting: Setting, tmp_path: Path) -> None:
    """Flag, environment, `.env` and file, for every type."""
    text = sample(setting)
    found = {kind: given(tmp_path, **source(kind, setting, text)) for kind in SOURCES}
    (tmp_path / ".env").unlink()
    values = {kind: first(configuration, setting.path)[0] for kind, configuration in found.items() if kind != "file"}
    # `.env` was still there when the file was read.
    alone = given(tmp_path, text=nested(setting.path, text))
    values["file"] = first(alone, setting.path)[0]
    assert values == dict.fromkeys(SOURCES, values["flag"])
    assert [one.problems for one in (*found.values(), alone)] == [()] * 5


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_higher_source_wins(setting: Setting, tmp_path: Path) -> None:
    """Flag over environment over `.env` over file, and the losers are kept in their order."""
    text = sample(setting)
    every: dict[str, Any] = {}
    for kind in SOURCES:
        every |= source(kind, setting, text)
    found = given(tmp_path, **every).candidates[setting.path]
    assert [one.origin.kind for one in found][:4] == list(SOURCES)


@pytest.mark.parametrize("spelled", [spelled for spelled, path in REGISTRY.spelled.items() if spelled != path])
def test_every_other_spelling_means_the_setting(spelled: str, tmp_path: Path) -> None:
    """In the file and in `--set`."""
    setting = REGISTRY.settings[REGISTRY.spelled[spelled]]
    text = sample(setting)
    expected = first(given(tmp_path, text=nested(setting.path, text)), setting.path)[0]
    by_file = given(tmp_path, text=nested(spelled, text))
    by_flag = given(tmp_path, flags={spelled: text})
    assert [first(one, setting.path)[0] for one in (by_file, by_flag)] == [expected, expected]
    assert (by_file.problems, by_flag.problems) == ((), ())


@pytest.mark.parametrize(
    "sources",
    [
        pytest.param({"text": "redis: {host: a, distributed: {addr: 'b:1'}}"}, id="file"),
        pytest.param({"environment": {"COMPOZY_REDIS__HOST": "a", "COMPOZY_REDIS__DISTRIBUTED__ADDR": "b"}}, id="env"),
        pytest.param({"flags": {"redis.embedded.engine": "auto", "redis.standalone.engine": "valkey"}}, id="flags"),
        pytest.param({"text": "database: {url: 'postgres://a', conn_string: 'postgres://b'}"}, id="alias"),
        pytest.param({"text": "knowledge: {vector_dbs: [{id: a, name: b, provider: qdrant}]}"}, id="field"),
    ],
)
def test_two_spellings_with_two_values_are_an_error(sources: dict[str, Any], tmp_path: Path) -> None:
    """The intended one is unknown."""
    assert "key.two-spellings" in [one.id for one in findings(tmp_path, **sources)]


def test_a_lower_source_may_spell_it_otherwise(tmp_path: Path) -> None:
    """The environment wins over the file, also through another spelling."""
    found = given(tmp_path, text="redis: {host: a, port: 1}", environment={"COMPOZY_REDIS__DISTRIBUTED__ADDR": "b:2"})
    assert (first(found, "redis.host"), first(found, "redis.port")) == (("b", "env"), (2, "env"))


def test_a_repeated_line_of_a_dotenv_file_wins(tmp_path: Path) -> None:
    """As in every other reader of such files."""
    assert first(given(tmp_path, dotenv="DB_DRIVER=sqlite\nDB_DRIVER=postgres\n"), "database.driver") == (
        "postgres",
        "dotenv",
    )


@pytest.mark.parametrize("path", ["temporal.namespace", "temporal.standalone.namespace", "temporal.embedded.namespace"])
@pytest.mark.parametrize("source", ["flag", "env", "file"])
def test_one_value_may_be_written_in_either_place(source: str, path: str, tmp_path: Path) -> None:
    """The namespace is that of both, and both know where it was written."""
    name = "COMPOZY_" + path.replace("embedded", "standalone").upper().replace(".", "__")
    inputs: dict[str, dict[str, Any]] = {
        "flag": {"flags": {path: "shop"}},
        "env": {"environment": {name: "shop"}},
        "file": {"text": nested(path, "shop")},
    }
    found = resolved(tmp_path, **inputs[source])
    both = [found.values[key] for key in ("temporal.namespace", "temporal.standalone.namespace")]
    assert [(one.value, one.origin.kind) for one in both] == [("shop", source), ("shop", source)]
    assert validate(found) == ()


def test_the_higher_source_has_the_one_value(tmp_path: Path) -> None:
    """And what it shadows is known; two values in one source are an error."""
    low, high = "temporal: {standalone: {namespace: low}}", {"COMPOZY_TEMPORAL__NAMESPACE": "high"}
    found = resolved(tmp_path, low, environment=high)
    both = [found.values[key] for key in ("temporal.namespace", "temporal.standalone.namespace")]
    assert [(one.value, one.shadowed[0].value) for one in both] == [("high", "low"), ("high", "low")]
    assert validate(found) == ()
    two = findings(tmp_path, "temporal: {namespace: a, standalone: {namespace: b}}")
    assert [one.id for one in two] == ["temporal.namespace.two-values"]


def test_a_host_beside_another_url_is_an_error(tmp_path: Path) -> None:
    """In one source they are two spellings; a URL of a higher source wins."""
    text = "mode: distributed\nredis: {host: a, url: 'redis://u:p@b:1/0'}\n"
    assert [(one.id, one.key) for one in errors(findings(tmp_path, text))] == [("key.two-spellings", "redis.host")]
    low = "mode: distributed\nredis: {host: a}\n"
    assert findings(tmp_path, low, environment={"REDIS_URL": "redis://b"}) == ()
