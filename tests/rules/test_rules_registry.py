"""Rows of settings, facts, components and drivers: their valid forms, and additions by rule packs."""

from __future__ import annotations

import pytest

from compozy.base.document import read_document
from compozy.errors import RuleTableError
from compozy.rulebook import build_rulebook
from compozy.rulebook.files import shipped_texts
from compozy.settings.machine import probe_facts
from compozy.settings.registry import Registry, read_registry

BASE = """
settings:
  - {path: shop.kind, type: choice, values: [small, large], help: x}
  - {path: shop.parts, type: list, default: [], help: x, items: [{path: id, type: text, help: x}]}
  - {path: store.name, type: text, help: x}
aliases: {market: shop}
machine:
  - {fact: shop.printer, values: ["yes", "no"], probe: "compozy.drivers.binaries:find_valkey", help: x}
"""


def registry(*texts: str) -> Registry:
    return read_registry(read_document(text, f"{at}.yaml") for at, text in enumerate((BASE, *texts)))


def test_a_pack_adds_words_other_words_spellings_and_fields() -> None:
    """`extends` widens a setting and leaves the rest of it."""
    found = registry(
        "settings:\n  - {extends: shop.kind, values: [huge], also: {big: large}, aliases: [shop.size]}\n"
        "  - {extends: shop.parts, items: [{path: weight, type: number, help: x}]}\n"
    )
    kind = found.settings["shop.kind"]
    assert (kind.values, kind.also, found.spelled["shop.size"]) == (
        ("small", "large", "huge"),
        {"big": "large"},
        "shop.kind",
    )
    assert list(found.settings["shop.parts"].items) == ["id", "weight"]


def test_a_pack_replaces_a_setting_only_by_naming_it() -> None:
    """The row takes the place of the other."""
    found = registry("settings:\n  - {replaces: store.name, path: store.name, type: text, default: here, help: x}\n")
    assert found.settings["store.name"].default == "here"
    assert list(found.settings) == ["shop.kind", "shop.parts", "store.name"]


def test_a_setting_may_be_replaced_under_another_name() -> None:
    """The old name is removed."""
    found = registry("settings:\n  - {replaces: store.name, path: store.title, type: text, help: x}\n")
    assert "store.name" not in found.settings
    assert found.by_env["COMPOZY_STORE__TITLE"] == "store.title"


def test_group_aliases_spell_every_setting_of_the_group() -> None:
    """Also those that a pack adds."""
    found = registry("settings:\n  - {path: shop.door, type: text, help: x}\n")
    assert (found.spelled["market.kind"], found.spelled["market.door"]) == ("shop.kind", "shop.door")


def test_setting_row_has_its_switches_off_by_default() -> None:
    """Columns that are left away are off."""
    name = registry().settings["store.name"]
    assert (name.secret, name.secret_parts, name.memory, name.flag, name.checked) == (
        False,
        False,
        False,
        None,
        "values",
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param("{extends: shop.kind, values: [small]}", "has small already", id="word-twice"),
        pytest.param("{extends: store.name, values: [small]}", "has no list of values to add to", id="no-words"),
        pytest.param("{extends: shop.kind, default: small}", 'unknown key "default"', id="default"),
        pytest.param("{path: shop, type: text, help: x}", "is a setting and a group", id="group"),
        pytest.param("{path: Shop.Kind, type: text, help: x}", "lower-case words", id="capitals"),
        pytest.param("{path: a, type: text, values: [x], help: x}", "a choice, and nothing else", id="text-with-words"),
        pytest.param("{path: a, type: choice, help: x}", "a choice, and nothing else", id="choice-without-words"),
        pytest.param("{path: a, type: choice, values: [x], also: {y: z}, help: x}", "leads to z", id="also"),
        pytest.param("{path: a, type: choice, values: [x], also: 7, help: x}", "a mapping of texts", id="also-number"),
        pytest.param("{path: a, type: text, env: my-var, help: x}", "not a valid variable name", id="variable"),
        pytest.param("{path: a, type: text, flag: -a, help: x}", "is not a valid flag", id="flag"),
        pytest.param(
            "{path: a, type: text, items: [{path: b, type: text, help: x}], help: x}", "fields of a list", id="items"
        ),
        pytest.param("{path: a, type: choice, values: [x], checked: never, help: x}", "values or rules", id="checked"),
        pytest.param("{path: a, type: text, empty: never, help: x}", "`empty` is unset or value", id="empty"),
        pytest.param("{path: a, type: text, parts: {host: b}, help: x}", "are those of a url", id="parts"),
        pytest.param("{path: a, type: text, ordered: true, help: x}", "is for a choice", id="ordered"),
        pytest.param(
            "{path: a, type: list, help: x, items: [{path: b, type: text, help: x}, {path: b, type: text, help: x}]}",
            "field b is listed twice",
            id="field-twice",
        ),
    ],
)
def test_invalid_row_is_refused(row: str, reason: str) -> None:
    """With file, line and column."""
    with pytest.raises(RuleTableError, match=reason) as caught:
        registry(f"settings:\n  - {row}\n")
    assert any(line.startswith(("0.yaml:", "1.yaml:2:")) for line in str(caught.value).splitlines())


@pytest.mark.parametrize(
    "text", ["aliases: 7", "aliases: {market: 7}", "aliases: {market: store}", "settings: {a: b}", "machine: [7]"]
)
def test_a_part_of_another_shape_is_refused(text: str) -> None:
    """Not an exception of the reader."""
    with pytest.raises(RuleTableError, match=r"1\.yaml:1:"):
        registry(text)


def test_all_faults_are_reported_at_once() -> None:
    """Three rows, three lines."""
    with pytest.raises(RuleTableError) as caught:
        registry("settings:\n  - {path: a}\n  - {path: shop.kind, type: text, help: x}\n  - 7\n")
    assert len({finding.places[0].line for finding in caught.value.findings}) == 3


def test_probe_with_an_unlisted_answer_is_refused() -> None:
    """The fact's row lists what may be answered."""
    with pytest.raises(RuleTableError, match="machine fact shop.printer: its probe answered"):
        probe_facts(registry())


def test_a_driver_may_be_replaced_by_naming_its_row() -> None:
    """One row fewer, one other factory."""
    text = (
        "drivers:\n  - {id: my-sqlite, replaces: sqlite, component: database, driver: sqlite,\n"
        "     factory: './mine.py:Mine', options: {path: database.path}}\n"
    )
    drivers = build_rulebook({**shipped_texts(), "/pack/drivers.yaml": text}).drivers
    assert drivers["database", "sqlite"].factory == "/pack/mine.py:Mine"
    assert len(drivers) == len(build_rulebook(shipped_texts()).drivers)


@pytest.mark.parametrize(
    ("shipped", "row", "text"),
    [
        pytest.param("type: text, secret: true", "type: text", "`secret: true`", id="secret"),
        pytest.param("type: url, secret_parts: true", "type: url", "`secret_parts: true`", id="parts"),
        pytest.param("type: url, secret_parts: true", "type: url, secret: true", "", id="more"),
        pytest.param("type: text, secret: true", "type: text, secret: true", "", id="kept"),
        pytest.param(
            "type: listen_address, default: 127.0.0.1", "type: text", "its type listen_address", id="listener"
        ),
        pytest.param(
            "type: list, default: [], items: [{path: key, type: text, secret: true, help: x}]",
            "type: list, default: [], items: [{path: key, type: text, help: x}]",
            "`secret: true`",
            id="field",
        ),
    ],
)
def test_replacement_of_a_setting_keeps_its_protection(shipped: str, row: str, text: str) -> None:
    """Neither a secret nor the check of a listener is lost, also under another name; both places are named."""
    first = f"settings:\n  - {{path: vault.key, {shipped}, help: x}}\n"
    second = f"settings:\n  - {{replaces: vault.key, path: vault.pin, {row}, help: x}}\n"
    if not text:
        assert "vault.pin" in registry(first, second).settings
        return
    with pytest.raises(RuleTableError, match=text) as caught:
        registry(first, second)
    assert "1.yaml" in caught.value.message
    assert "2.yaml" in caught.value.message
