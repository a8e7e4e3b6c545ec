"""Verification agrees with what settings really hold: fractions, large numbers, views, defaults, synonyms."""

from __future__ import annotations

from math import inf, nextafter
from typing import Any

import pytest
import yaml

from compozy.base.findings import Finding
from compozy.rulebook import check_rules
from compozy.rulebook.files import shipped_texts

SETTINGS = """
settings:
  - {path: zed.count, type: integer, default: 3, help: c}
  - {path: zed.ports, type: integer, minimum: 1, help: c}
  - {path: zed.ratio, type: number, help: r}
  - {path: zed.wait, type: duration, help: w}
  - {path: zed.room, type: size, help: w}
  - {path: zed.host, type: text, default: localhost, help: h}
  - {path: zed.label, type: text, help: l}
  - {path: zed.file, type: path, help: f}
  - {path: zed.folder, type: path, default: here, memory: true, help: f}
  - {path: zed.word, type: choice, values: [small, large], also: {big: large}, checked: rules, help: w}
  - {path: zed.one, type: choice, values: [small, large], help: o}
  - {path: zed.two, type: choice, values: [small, large], default: small, help: o}
  - {path: zed.three, type: choice, values: [small, large], default: small, help: o}
  - {path: zed.link, type: url, schemes: [http], help: l}
"""
COUNT = {"n": "zed.count"}
RATIO = {"n": "zed.ratio"}


def reports(inputs: dict[str, str], *rows: dict[str, Any]) -> list[Finding]:
    """Verify the shipped rules with a table of rows with these conditions; an input is `setting` or `setting view`."""
    columns = {name: dict(zip(("setting", "view"), text.split(" ", 1), strict=False)) for name, text in inputs.items()}
    table = {
        "table": "zed.kept", "stage": "resolve", "hit": "first", "inputs": columns, "outputs": {"out": [True]},
        "rows": [{"id": f"r{n}", "when": when, "then": {"out": True}, "because": "x"} for n, when in enumerate(rows)],
    }  # fmt: skip
    checked = check_rules({**shipped_texts(), "zed.yaml": SETTINGS, "table.yaml": yaml.safe_dump(table)})
    return [report for report in checked.findings if report.key == "zed.kept"]


@pytest.mark.parametrize(
    ("inputs", "rows", "witness"),
    [
        pytest.param(COUNT, [{"n": {"at_most": 2.5}}], {"count": 3}, id="fraction-on-integers"),
        pytest.param(
            RATIO,
            [{"n": "unset"}, {"n": {"at_most": 2**53}}, {"n": {"at_least": 2**53 + 2}}],
            {"ratio": 2**53 + 1},
            id="above-2-to-53",
        ),
        pytest.param(
            RATIO,
            [{"n": "unset"}, {"n": {"at_most": -1.7e308}}, {"n": {"at_least": 1.7e308}}],
            {"ratio": 0},
            id="near-the-largest-double",
        ),
        pytest.param(
            RATIO,
            [{"n": "unset"}, {"n": {"at_most": 1e300}}],
            {"ratio": nextafter(1e300, inf)},
            id="above-a-large-double",
        ),
        pytest.param(
            {"n": "zed.count", "f": "zed.count filled"}, [{"n": {"at_least": 1}}, {"f": False}], {"count": -1},
            id="filled-splits-a-range",
        ),
        pytest.param(
            {"n": "zed.host", "k": "zed.host host_kind"}, [{"n": "localhost"}, {"k": "other"}], {"host": "127.0.0.1"},
            id="host-kind-beside-a-listed-host",
        ),
        pytest.param(
            {"n": "zed.host", "k": "zed.host host_kind"},
            [{"n": ["localhost", "127.0.0.1"]}, {"k": "other"}],
            {"host": "127.0.0.2"},
            id="host-kind-beside-two-listed-hosts",
        ),
        pytest.param(
            {"n": "zed.host", "k": "zed.host host_kind", "e": "zed.host equals zed.label"},
            [{"k": "other"}, {"e": False}, {"n": "localhost"}],
            {"host": "127.0.0.1", "label": "127.0.0.1"},
            id="host-kind-of-an-equal-text",
        ),
        pytest.param(
            {"e": "zed.file equals zed.label"}, [{"e": False}], {"file": "/other", "label": "/other"}, id="path-as-text"
        ),
        pytest.param(
            {"n": "zed.file key_length"}, [{"n": ["none", "short"]}], {"file": "/other-of-some-length"}, id="long-path"
        ),
    ],
)  # fmt: skip
def test_a_gap_of_real_values_is_found(
    inputs: dict[str, str], rows: list[dict[str, Any]], witness: dict[str, Any]
) -> None:
    (gap,) = reports(inputs, *rows)
    assert gap.id == "gap"
    assert yaml.safe_load(gap.witness or "") == {"zed": witness}


def test_a_default_path_may_be_long_below_a_deep_directory() -> None:
    (gap,) = reports({"n": "zed.folder key_length"}, {"n": ["none", "short"]})
    assert (gap.id, gap.message) == ("gap", 'table "zed.kept" has no row for n: long')


@pytest.mark.parametrize(
    ("inputs", "rows"),
    [
        pytest.param({"n": "zed.wait"}, [{"n": "unset"}, {"n": {"at_least": 0}}], id="duration-from-zero"),
        pytest.param({"n": "zed.room"}, [{"n": "unset"}, {"n": {"at_least": 0}}], id="size-from-zero"),
        pytest.param({"n": "zed.ports"}, [{"n": "unset"}, {"n": {"at_least": 1}}], id="integer-from-its-minimum"),
        pytest.param(
            {"a": "zed.one", "b": "zed.two", "same": "zed.one equals zed.two"},
            [
                {"a": "unset"},
                {"a": "small", "b": "small", "same": True},
                {"a": "large", "b": "large", "same": True},
                {"a": "small", "b": "large", "same": False},
                {"a": "large", "b": "small", "same": False},
            ],
            id="equality-follows-from-the-values",
        ),
        pytest.param(
            {"p": "zed.one equals zed.two", "q": "zed.two equals zed.three", "r": "zed.three equals zed.one"},
            [{"p": True, "q": True, "r": True}, {"p": False}, {"q": False}],
            id="equality-is-transitive",
        ),
        pytest.param(
            {"g": "zed.folder given", "m": "zed.folder in_memory"}, [{"g": True}, {"g": False, "m": False}],
            id="default-path-is-not-in-memory",
        ),
        pytest.param(
            {"g": "zed.folder given", "k": "zed.folder path_kind"}, [{"g": True}, {"k": ["file", "directory"]}],
            id="default-path-does-not-climb",
        ),
    ],
)  # fmt: skip
def test_a_table_over_every_accepted_value_is_complete(inputs: dict[str, str], rows: list[dict[str, Any]]) -> None:
    assert reports(inputs, *rows) == []


@pytest.mark.parametrize(
    ("view", "row"),
    [
        pytest.param("zed.two equals zed.two", {"n": False}, id="reflexive"),
        pytest.param("zed.two equals zed.count", {"n": True}, id="across-types"),
    ],
)
def test_a_row_on_an_impossible_equality_is_reported(view: str, row: dict[str, Any]) -> None:
    assert [report.id for report in reports({"n": view}, row, {})] == ["unreachable"]


@pytest.mark.parametrize(
    ("setting", "text", "reason"),
    [
        pytest.param("zed.word", "big", "it is read as large", id="synonym"),
        pytest.param("zed.word", "Small", "it is read as small", id="capitals"),
        pytest.param("zed.word", " small", "it is read as small", id="blanks"),
        pytest.param("temporal.mode", "distributed", "it is read as remote", id="shipped-synonym"),
        pytest.param("zed.file", "./x", "paths are absolute: use a view", id="relative-path"),
        pytest.param("zed.link", " http://x", "it is read as http://x", id="blanks-in-url"),
    ],
)  # fmt: skip
def test_listed_text_outside_the_setting_is_reported(setting: str, text: str, reason: str) -> None:
    found = reports({"n": setting}, {"n": text}, {"n": {"not": text}})
    assert {report.id for report in found} == {"unknown-value"}
    assert found[0].message.endswith(f'is not a value of input "n"; {reason}')


def narrowed(*words: str) -> list[str]:
    """Return the kinds of faults after a pack takes words from a choice with the default `small`."""
    pack = f"settings:\n  - {{extends: zed.two, without: [{', '.join(words)}]}}\n"
    checked = check_rules({**shipped_texts(), "zed.yaml": SETTINGS, "pack.yaml": pack})
    if checked.rulebook is not None:
        assert checked.rulebook.registry.settings["zed.two"].values == ("small",)
    return [report.id for report in checked.findings]


def test_a_pack_narrows_a_choice() -> None:
    assert narrowed("large") == []
    assert narrowed("huge") == ["unknown-row"]
    assert narrowed("small") == ["bad-default"]


def test_a_view_of_an_unknown_setting_is_reported() -> None:
    assert {report.id for report in reports({"n": "zed.nothing in_memory"}, {"n": True}, {})} == {"unknown-input"}


def test_finding_on_an_unset_derived_setting_is_unreachable() -> None:
    row = {"id": "zed.modeless", "when": {"known": "unset"}, "finding": {"severity": "warning", "text": "x"}}
    table = {
        "table": "zed.mode", "stage": "validate", "hit": "collect", "rows": [row],
        "inputs": {"known": {"setting": "mode", "view": "known"}},
    }  # fmt: skip
    checked = check_rules({**shipped_texts(), "table.yaml": yaml.safe_dump(table)})
    assert "unreachable" in {report.id for report in checked.findings if report.key == "zed.mode"}


@pytest.mark.parametrize("view", ["key_length", "known", "path_kind"])
def test_a_view_of_texts_is_refused_for_a_number(view: str) -> None:
    found = reports({"n": f"zed.count {view}"}, {"n": "set"}, {})
    assert found[0].message == f'table "zed.kept": unknown setting zed.count ({view}), which input "n" reads'


def test_empty_text_is_outside_the_domain_of_a_setting_without_empty_values() -> None:
    found = reports({"n": "zed.word"}, {"n": {"not": ""}}, {"n": ""})
    assert [report.id for report in found] == ["unknown-value", "unknown-value"]


def test_a_text_outside_a_choice_is_reported_once() -> None:
    assert [report.id for report in reports({"n": "zed.one"}, {"n": "Small"}, {})] == ["unknown-value"]
