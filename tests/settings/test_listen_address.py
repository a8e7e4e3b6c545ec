"""Settings of type `listen_address`: a listener that other machines reach needs a key, or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.project import findings, resolved

from compozy.errors import RuleTableError
from compozy.rulebook import load_rulebook
from compozy.settings.values import is_loopback

KEY = "0123456789abcdef"
EVERY = [setting for setting in load_rulebook().registry.settings.values() if setting.type == "listen_address"]
PACK = """\
settings:
  - {path: shop.key, type: text, secret: true, help: Key.}
  - {path: shop.title, type: text, default: 127.0.0.1, help: Title.}
  - {path: shop.port, type: integer, default: 9, help: Port.}
  - {path: shop.bind, type: listen_address, default: 127.0.0.1, help: Address.}
  - {path: shop.open, type: listen_address, default: 127.0.0.1, authenticated_by: shop.key, help: Address.}
"""


def ids(folder: Path, text: str, **sources: object) -> list[str]:
    return [one.id for one in findings(folder, text, **sources)]


def pack(folder: Path, text: str = PACK) -> Path:
    (folder / "pack").mkdir()
    (folder / "pack" / "shop.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("localhost", True),
        ("LOCALHOST", True),        ("0.0.0.0", False), ("::", False), ("0", False), ("127.1", False),
        ("2130706433", False), ("", False),
        ("::ffff:0.0.0.0", False), ("10.0.0.7", False), ("127.0.0.1.example.org", False),
    ],
)  # fmt: skip
def test_is_loopback_accepts_only_addresses_of_this_machine(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_every_shipped_listener_is_covered() -> None:
    assert {setting.path: setting.authenticated_by for setting in EVERY} == {
        "temporal.standalone.bind_ip": None,
        "server.host": "server.api_key",
    }


@pytest.mark.parametrize("address", ["0.0.0.0", "'::'", "10.0.0.7", "db.example.org", "'[::]'"])
@pytest.mark.parametrize("mode", ["memory", "persistent", "distributed"])
def test_listener_without_authentication_rejects_other_addresses(address: str, mode: str, tmp_path: Path) -> None:
    text = f"mode: {mode}\ntemporal: {{standalone: {{bind_ip: {address}}}}}"
    found = [one for one in findings(tmp_path, text) if one.severity == "error"]
    assert [(one.id, one.key, one.severity) for one in found] == [
        ("listener.open", "temporal.standalone.bind_ip", "error")
    ]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "localhost", "'::1'", "'[::1]'", "null", '""'])
def test_listener_accepts_loopback_addresses(address: str, tmp_path: Path) -> None:
    assert ids(tmp_path, f"server: {{host: {address}}}\ntemporal: {{standalone: {{bind_ip: {address}}}}}") == []


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param("null", "which is not set", id="unset"),
        pytest.param('""', "which is not set", id="empty"),
        pytest.param(KEY[:15], "which is shorter", id="fifteen"),
    ],
)
def test_open_server_needs_a_written_key_of_sixteen_characters(key: str, expected: str, tmp_path: Path) -> None:
    (found,) = findings(tmp_path, f"server: {{host: 0.0.0.0, api_key: {key}}}")
    assert (found.id, found.severity, expected in found.message) == ("listener.key", "error", True)
    assert KEY[:15] not in str(found)


@pytest.mark.parametrize("source", ["flags", "environment", "dotenv"])
def test_open_server_is_found_through_every_source(source: str, tmp_path: Path) -> None:
    sources: dict[str, dict[str, Any]] = {
        "flags": {"flags": {"server.host": "0.0.0.0"}},
        "environment": {"environment": {"COMPOZY_SERVER__HOST": "0.0.0.0"}},
        "dotenv": {"dotenv": "COMPOZY_SERVER__HOST=0.0.0.0\n"},
    }
    assert ids(tmp_path, "", **sources[source]) == ["listener.key"]


@pytest.mark.parametrize("address", ["127.0.0.1:80", "http://127.0.0.1", "a b", "[::1", "me@host", "/run/socket"])
def test_invalid_listen_address_is_one_type_error(address: str, tmp_path: Path) -> None:
    (found,) = findings(tmp_path, f"server: {{host: '{address}'}}")
    assert (found.id, found.key) == ("key.type", "server.host")


def test_brackets_of_an_ipv6_address_are_removed(tmp_path: Path) -> None:
    assert resolved(tmp_path, "server: {host: ' [::1] '}").get("server.host") == "::1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("shop: {bind: 0.0.0.0}", ["listener.open"], id="no-authentication"),
        pytest.param("shop: {open: 0.0.0.0}", ["listener.key"], id="no-key"),
        pytest.param(f"shop: {{open: 0.0.0.0, key: {KEY}}}", [], id="key"),
    ],
)
def test_listeners_of_a_pack_follow_the_same_rules(text: str, expected: list[str], tmp_path: Path) -> None:
    assert ids(pack(tmp_path), f"rules: [./pack]\n{text}") == expected


def test_pack_with_an_open_default_is_rejected(tmp_path: Path) -> None:
    text = PACK.replace("listen_address, default: 127.0.0.1, help", "listen_address, default: 0.0.0.0, help")
    with pytest.raises(RuleTableError, match=r"shop\.bind is 0\.0\.0\.0, which is reachable from other machines"):
        ids(pack(tmp_path, text), "rules: [./pack]")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        pytest.param("authenticated_by: shop.key", "authenticated_by: shop.title", "not a secret", id="not-secret"),
        pytest.param("authenticated_by: shop.key", "authenticated_by: shop.kay", "does not exist", id="unknown"),
        pytest.param("help: Title.", "authenticated_by: shop.key, help: Title.", "is for a listen_address", id="text"),
    ],
)
def test_pack_must_name_a_secret_as_the_key_of_a_listener(old: str, new: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(RuleTableError, match=reason):
        ids(pack(tmp_path, PACK.replace(old, new)), "rules: [./pack]")
