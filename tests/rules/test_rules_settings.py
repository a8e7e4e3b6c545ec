"""References between settings of rule packs: rejected with both places, or followed to the end."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from compozy.provisioning.lifecycle import Lifecycle
from compozy.resolution.configuration import load_configuration
from compozy.rulebook import check_rules
from compozy.rulebook.files import rule_texts

CHAIN = (
    "{path: shop.first, type: text, same_as: shop.second, help: x}",
    "{path: shop.second, type: text, same_as: shop.third, help: x}",
    "{path: shop.third, type: text, help: x}",
)


def pack(folder: Path, *rows: str) -> str:
    """Write a rule pack of settings; return its directory."""
    folder.mkdir()
    (folder / "settings.yaml").write_text("settings:\n" + "".join(f"  - {row}\n" for row in rows), encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize("rows", list(permutations(CHAIN)))
def test_a_chain_of_settings_is_followed_in_any_order(tmp_path: Path, rows: tuple[str, ...]) -> None:
    """Each takes the value of the next one, in any order of declaration."""
    packs = [pack(tmp_path / "pack", *rows)]
    configuration = load_configuration(
        directory=str(tmp_path), packs=packs, flags={"shop.third": "here"}, environment={}
    )
    resolved = Lifecycle(configuration, facts={"valkey.binary": "found"}).resolve()
    assert [resolved.get(f"shop.{name}") for name in ("first", "second", "third")] == ["here"] * 3


def test_a_setting_and_a_group_of_two_packs_name_both_files(tmp_path: Path) -> None:
    """One pack has a setting where the other one has a group."""
    one = pack(tmp_path / "one", "{path: shop.size, type: text, help: x}")
    two = pack(tmp_path / "two", "{path: shop.size.wide, type: text, help: x}")
    for packs in ((one, two), (two, one)):
        (report,) = check_rules(rule_texts(packs)).findings
        assert report.message == "shop.size is a setting and a group of settings, because of shop.size.wide"
        assert [str(Path(place.file).parent) for place in report.places] == [one, two]
        assert [place.line for place in report.places] == [2, 2]


def test_a_word_of_another_pack_keeps_its_meaning(tmp_path: Path) -> None:
    """Neither a value nor another word for one may be given a second meaning."""
    one = pack(tmp_path / "one", "{extends: database.driver, also: {pg: postgres}}")
    two = pack(tmp_path / "two", "{extends: database.driver, also: {pg: sqlite}}")
    (report,) = check_rules(rule_texts((one, two))).findings
    assert report.id == "collision"
    assert report.message.startswith("setting database.driver gives pg a meaning already")
    assert Path(report.places[0].file).parent == Path(two)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param("{path: a.url, type: url, parts: {host: a.hots}, help: x}", "setting a.hots", id="parts"),
        pytest.param("{path: a.addr, type: text, url: a.host, help: x}", "`url` belongs to `splits`", id="url"),
    ],
)
def test_address_of_a_pack_names_compatible_settings(tmp_path: Path, row: str, message: str) -> None:
    packs = (pack(tmp_path / "pack", "{path: a.host, type: host, help: x}", row),)
    (report,) = check_rules(rule_texts(packs)).findings
    assert message in report.message


def test_url_of_a_pack_states_its_parts(tmp_path: Path) -> None:
    url = "{path: a.url, type: url, schemes: [http], parts: {host: a.host, port: a.port}, help: x}"
    rows = ("{path: a.host, type: host, help: x}", "{path: a.port, type: integer, default: 80, help: x}", url)
    packs = [pack(tmp_path / "pack", *rows)]
    found = load_configuration(
        directory=str(tmp_path), packs=packs, flags={"a.url": "http://h:81/"}, environment={"COMPOZY_A__HOST": "low"}
    )
    resolved = Lifecycle(found, facts={"valkey.binary": "found"}).resolve()
    assert (resolved.get("a.host"), resolved.get("a.port")) == ("h", 81)
