"""A part of an address that its own setting states as well: the highest source decides, and no value is lost unsaid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.project import FACTS, configured, given

from compozy.base.findings import Finding
from compozy.provisioning.plan import make_plan
from compozy.resolution.configuration import Configuration
from compozy.resolution.resolve import resolve
from compozy.resolution.validate import validate
from compozy.settings.endpoint import stated_parts

URLS = {"database": "postgres://me:inside@db:5433/shop?sslmode=require", "redis": "rediss://:inside@cache:6380/2"}
# Setting -> what its URL states, and another value.
PARTS: Mapping[str, tuple[Any, str]] = {
    "database.host": ("db", "other"), "database.port": (5433, "6000"), "database.user": ("me", "ann"),
    "database.password": ("inside", "outside"), "database.name": ("shop", "stock"),
    "database.ssl_mode": ("require", "disable"),
    "redis.host": ("cache", "other"), "redis.port": (6380, "7000"), "redis.password": ("inside", "outside"),
    "redis.db": (2, "5"), "redis.tls": (True, "false"),
}  # fmt: skip
SPELLINGS = [(path, path) for path in PARTS] + [
    (path, path.replace("redis.", "redis.distributed.")) for path in ("redis.password", "redis.db", "redis.tls")
]
EVERY_SPELLING = pytest.mark.parametrize(("path", "spelled"), SPELLINGS, ids=[spelled for _, spelled in SPELLINGS])


def variable(path: str) -> str:
    return "COMPOZY_" + path.upper().replace(".", "__")


def written(source: str, path: str, spelled: str, value: str, url: str) -> dict[str, Any]:
    """Return sources in which a file holds the URL, and `source` a part."""
    group, _, key = spelled.partition(".")
    own = f"\n  {key}: {value}" if source == "file" and "." not in key else ""
    own = f"\n  distributed: {{{key.partition('.')[2]}: {value}}}" if source == "file" and "." in key else own
    text = f'mode: distributed\n{group}:\n  url: "{url}"{own}\n'
    sources: dict[str, dict[str, Any]] = {
        "flag": {"flags": {spelled: value}},
        "env": {"environment": {variable(path): value}},
        "dotenv": {"dotenv": f"{variable(path)}={value}\n"},
        "file": {},
    }
    return sources[source] | {"text": text}


def options(configuration: Configuration, component: str) -> Mapping[str, Any]:
    """Return what the driver of a component is built from."""
    plan = make_plan(resolve(configuration, FACTS))
    return next(step.options for step in plan.steps if step.component == component)


def conflicts(configuration: Configuration) -> list[Finding]:
    return [one for one in validate(resolve(configuration, FACTS)) if one.id == "key.two-spellings"]


@pytest.mark.parametrize("source", ["flag", "env", "dotenv"])
@EVERY_SPELLING
def test_higher_source_decides_a_part_of_the_url(path: str, spelled: str, source: str, tmp_path: Path) -> None:
    component, _, option = path.partition(".")
    inside, outside = PARTS[path]
    found = configured(tmp_path, **written(source, path, spelled, outside, URLS[component]))
    assert str(options(found, component)[option]).casefold() == outside
    assert [(one.value, one.origin.kind) for one in found.candidates[path][:2]][1] == (inside, "file")
    assert conflicts(found) == []


@EVERY_SPELLING
def test_part_beside_the_url_in_one_source_is_an_error(path: str, spelled: str, tmp_path: Path) -> None:
    """Also where the value is false; the same value twice is in order."""
    component, _, _ = path.partition(".")
    found = configured(tmp_path, **written("file", path, spelled, PARTS[path][1], URLS[component]))
    assert [(one.key, one.severity) for one in conflicts(found)] == [(path, "error")]
    same = str(PARTS[path][0]).casefold()
    assert conflicts(configured(tmp_path, **written("file", path, spelled, same, URLS[component]))) == []


@pytest.mark.parametrize("path", PARTS)
def test_url_of_a_higher_source_decides_its_parts(path: str, tmp_path: Path) -> None:
    """A weaker sslmode is a finding of its own, so the file asks for less here."""
    component, _, option = path.partition(".")
    text = f"mode: distributed\n{component}: {{{option}: {PARTS[path][1]}}}\n"
    url = {"database": "DB_URL", "redis": "REDIS_URL"}[component]
    found = configured(tmp_path, text, environment={url: URLS[component]})
    assert options(found, component)[option] == PARTS[path][0]
    assert conflicts(found) == []


@pytest.mark.parametrize("path", PARTS)
def test_part_missing_in_the_url_comes_from_its_setting(path: str, tmp_path: Path) -> None:
    component, _, option = path.partition(".")
    url = {"database": "postgres:///", "redis": "redis://"}[component]
    found = configured(tmp_path, **written("file", path, path, PARTS[path][1], url))
    assert str(options(found, component)[option]).casefold() == PARTS[path][1]
    assert conflicts(found) == []


@pytest.mark.parametrize(
    ("url", "flags", "keys"),
    [
        pytest.param("redis: {url: 'unix:///run/r.sock'}", {"redis.port": "7"}, ["redis.port"], id="socket-port"),
        pytest.param("redis: {url: 'unix:///run/r.sock'}", {"redis.tls": "true"}, ["redis.tls"], id="socket-tls"),
        pytest.param("redis: {url: 'unix:///run/r.sock'}", {"redis.host": "cache"}, [], id="socket-host"),
        pytest.param(
            "database: {url: 'postgres://a:1,b:2/x'}", {"database.port": "7"}, ["database.port"], id="ports"),
        pytest.param("database: {url: 'postgres://a:1,b:2/x'}", {"database.user": "me"}, [], id="user-of-hosts"),
    ],
)  # fmt: skip
def test_ineffective_part_is_an_error(url: str, flags: dict[str, str], keys: list[str], tmp_path: Path) -> None:
    """A socket has no port, and one port does not replace several."""
    found = configured(tmp_path, f"mode: distributed\n{url}\n", flags=flags)
    assert [one.key for one in conflicts(found)] == keys


def test_part_of_an_unused_address_is_not_reported(tmp_path: Path) -> None:
    """No component connects to it in this configuration."""
    text = "database: {url: 'postgres://db/x', host: other}\nredis: {url: 'redis://cache', port: 1}\n"
    assert [one.key for one in conflicts(configured(tmp_path, f"mode: memory\n{text}"))] == []
    found = configured(tmp_path, f"mode: distributed\n{text}")
    assert [one.key for one in conflicts(found)] == ["database.host"]


@pytest.mark.parametrize("source", ["flag", "env", "file"])
def test_distributed_addr_may_be_a_url(source: str, tmp_path: Path) -> None:
    """It is another spelling of redis.url then."""
    path = "redis.distributed.addr"
    sources: dict[str, dict[str, Any]] = {
        "flag": {"flags": {path: "redis://h:1/2"}},
        "env": {"environment": {variable(path): "redis://h:1/2"}},
        "file": {"text": "redis: {distributed: {addr: 'redis://h:1/2'}}"},
    }
    found = given(tmp_path, **sources[source])
    value = {name: found.candidates[f"redis.{name}"][0].value for name in ("url", "host", "port", "db")}
    assert value == {"url": "redis://h:1/2", "host": "h", "port": 1, "db": 2}
    assert found.problems == ()


def test_secret_in_a_url_on_the_command_line_is_reported_once(tmp_path: Path) -> None:
    found = configured(tmp_path, "mode: distributed", flags={"database.url": URLS["database"]})
    reported = [one.key for one in validate(resolve(found, FACTS)) if one.id == "secret.on-command-line"]
    assert reported == ["database.url"]


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("postgres://a,b:2/x", {"host": "a,b", "port": ",2", "name": "x"}),
        ("postgres://[::1]:5/x", {"host": "::1", "port": "5", "name": "x"}),
        ("postgres://h/x?password=a+b%20c&port=9", {"host": "h", "name": "x", "password": "a+b c", "port": "9"}),
        (r"host=h password='it\'s' port = 5", {"host": "h", "password": "it's", "port": "5"}),
        ("redis://u@h", {"host": "h", "user": "u"}),
        ("redis://h?db=3", {"host": "h", "name": "3"}),
        ("", {}),
        ("unix:///run/r.sock", {"host": "/run/r.sock", "port": "", "tls": ""}),
        ("http://[", {}),
    ],
)
def test_address_states_its_parts(address: str, parts: dict[str, str]) -> None:
    """As libpq and the Redis library read them."""
    assert stated_parts(address) == parts


@pytest.mark.parametrize(
    "url",
    ["redis://cache/sessions", "redis://cache/1/2", "redis://cache/0?db=x", "unix:///run/redis.sock?db=x"],
)
def test_part_of_the_url_invalid_in_its_setting_is_an_error(url: str, tmp_path: Path) -> None:
    """Otherwise the default would hold, and the keys of another project be used."""
    found = configured(tmp_path, text=f'mode: distributed\nredis: {{url: "{url}"}}\n')
    errors = [one for one in validate(resolve(found, FACTS)) if one.severity == "error"]
    assert [(one.id, one.message) for one in errors] == [("key.type", "redis.db: expected a whole number")]
