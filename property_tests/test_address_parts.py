"""Parts of addresses: the highest source that states a part decides it, or there is a finding about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from property_tests.source_worlds import ORDER, SETTINGS, Statement, World

from compozy.provisioning.plan import make_plan
from compozy.resolution.resolve import resolve
from compozy.resolution.validate import validate

# Part of a URL -> its setting, and two texts of it.
PARTS: Mapping[str, Mapping[str, tuple[str, tuple[str, str]]]] = {
    "database.url": {
        "host": ("database.host", ("db", "other")), "port": ("database.port", ("5001", "5002")),
        "user": ("database.user", ("ada", "bob")), "password": ("database.password", ("pw1", "pw2")),
        "name": ("database.name", ("shop", "store")), "sslmode": ("database.ssl_mode", ("disable", "verify-full")),
    },
    "redis.url": {
        "host": ("redis.host", ("db", "other")), "port": ("redis.port", ("5001", "5002")),
        "password": ("redis.password", ("pw1", "pw2")), "name": ("redis.db", ("1", "2")),
        "scheme": ("redis.tls", ("false", "true")),
    },
}  # fmt: skip
FINDINGS = {"key.two-spellings", "database.url.weaker"}


@dataclass(frozen=True)
class Stated:
    """The text of a part that a source states; `url` is whether an address states it."""

    source: str
    part: str
    text: str
    url: bool


def url_of(address: str, parts: Mapping[str, str]) -> str:
    """Write an address with some of its parts; the host is always one of them."""
    password = f":{parts['password']}" if "password" in parts else ""
    user = f"{parts.get('user', '')}{password}"
    rest = f"{user}@" if user else ""
    rest += parts["host"] + (f":{parts['port']}" if "port" in parts else "")
    rest += f"/{parts['name']}" if "name" in parts else ""
    if address == "redis.url":
        return f"{'rediss' if parts['scheme'] == 'true' else 'redis'}://{rest}"
    return f"postgres://{rest}" + (f"?sslmode={parts['sslmode']}" if "sslmode" in parts else "")


@st.composite
def stated(draw: st.DrawFn, address: str) -> list[Stated]:
    """Parts that sources state, each by the setting itself or by the address of that source."""
    found = []
    for source in draw(st.lists(st.sampled_from(ORDER), unique=True, max_size=3)):
        for url in (True, False):
            always = ("host", "scheme") if url else ()
            parts = draw(st.lists(st.sampled_from(sorted(PARTS[address])), unique=True, max_size=3))
            if url and not draw(st.booleans()):
                continue
            for part in dict.fromkeys([*(name for name in always if name in PARTS[address]), *parts]):
                found.append(Stated(source, part, draw(st.sampled_from(PARTS[address][part][1])), url))
    # A password without a user is one of Redis only.
    users = {one.source for one in found if one.url and one.part == "user"}
    return [
        one
        for one in found
        if not (one.url and one.part == "password" and address == "database.url" and one.source not in users)
    ]


def world(address: str, found: list[Stated]) -> World:
    """Return the statements in a configuration in which the address is used."""
    written = [Statement("flag", "mode", "mode", "distributed", "distributed")]
    for source in ORDER:
        parts = {one.part: one.text for one in found if one.source == source and one.url}
        own = {address: url_of(address, parts)} if parts else {}
        own |= {PARTS[address][one.part][0]: one.text for one in found if one.source == source and not one.url}
        written += [Statement(source, path, path, text, text) for path, text in own.items()]
    return World(tuple(written))


def in_force(found: list[Stated]) -> Iterator[Stated]:
    """Yield what counts: of several addresses the highest, of which `redis://` leaves TLS to the setting."""
    highest = min((ORDER.index(one.source) for one in found if one.url), default=None)
    for one in found:
        if not one.url or (ORDER.index(one.source) == highest and (one.part, one.text) != ("scheme", "false")):
            yield one


def is_weakened(found: list[Stated]) -> bool:
    modes = {(one.url, one.text) for one in in_force(found) if one.part == "sslmode"}
    return modes >= {(True, "disable"), (False, "verify-full")}


def as_value(path: str, text: str) -> Any:
    if SETTINGS[path].type == "integer":
        return int(text)
    return text == "true" if SETTINGS[path].type == "boolean" else text


@settings(max_examples=80)
@given(st.data(), st.sampled_from(sorted(PARTS)))
def test_the_highest_source_decides_each_part_of_an_address_or_there_is_a_finding(
    data: st.DataObject, address: str
) -> None:
    found = data.draw(stated(address))
    with TemporaryDirectory() as folder:
        resolved = resolve(world(address, found).read(folder), {"valkey.binary": "found"})
    reported = {(finding.key, finding.id) for finding in validate(resolved) if finding.id in FINDINGS}
    conflicts = set()
    for part, (path, _) in PARTS[address].items():
        stating = sorted((one for one in in_force(found) if one.part == part), key=lambda one: ORDER.index(one.source))
        texts = {one.text for one in stating if one.source == stating[0].source}
        if len(texts) > 1:
            conflicts.add(path)
            assert {key for key, _ in reported} & {path, address, SETTINGS[path].env}, part
        elif stating and resolved.get(path) != as_value(path, *texts):
            conflicts.add(path)
            assert (address, "database.url.weaker") in reported, (part, resolved.get(path))
    # An address that is weaker than what is written is an error, even where it is not the highest.
    if not conflicts:
        assert {name for _, name in reported} <= ({"database.url.weaker"} if is_weakened(found) else set())
    step = next(step for step in make_plan(resolved).steps if step.component == address.partition(".")[0])
    last = "name" if address == "database.url" else "db"
    group = address.partition(".")[0]
    assert step.addresses == (
        f"{resolved.get(f'{group}.host')}:{resolved.get(f'{group}.port')}/{resolved.get(f'{group}.{last}')}",
    )
