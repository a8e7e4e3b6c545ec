"""Tables of findings are verified against what resolving makes of settings, and against what users read."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from compozy.base.findings import Finding
from compozy.rulebook import check_rules
from compozy.rulebook.files import shipped_texts

SETTINGS = """
settings:
  - {path: zed.label, type: text, help: l}
  - {path: zed.same, type: text, same_as: zed.label, help: s}
  - {path: zed.third, type: text, same_as: zed.same, help: t}
  - {path: zed.word, type: text, default: first, help: w}
  - {path: zed.follows, type: text, same_as: zed.word, help: f}
"""
DERIVING = """
table: zed.derived
stage: resolve
about: The label of each mode.
hit: unique
inputs: {mode: {decision: mode}}
outputs: {label: [kept, lost]}
sets: {label: zed.label}
rows:
  - {id: kept, when: {mode: {not: memory}}, then: {label: kept}, because: "the mode keeps data"}
  - {id: lost, when: {mode: memory}, then: {label: lost}, because: "the mode keeps nothing"}
"""
LABEL = {"setting": "zed.label"}
LABEL_GIVEN = {"setting": "zed.label", "view": "given"}
LABEL_PRESENCE = {"setting": "zed.label", "view": "presence"}
SAME = {"setting": "zed.same"}
SAME_GIVEN = {"setting": "zed.same", "view": "given"}
EQUAL = {"setting": "zed.same", "view": "equals zed.label"}
MODE = {"decision": "mode"}
DERIVED = {"decision": "zed.derived"}
FINDING = {"severity": "warning", "key": "zed.label", "text": "x", "hint": "y", "good": {}, "bad": {}}


def reports(
    inputs: dict[str, Any], *rows: dict[str, Any], derived: bool = False, deriving: str = DERIVING
) -> list[Finding]:
    """Verify the shipped rules with a table of findings; a row is its conditions, and changes of the finding."""
    table = {
        "table": "zed.found", "stage": "validate", "about": "f", "hit": "collect", "inputs": inputs,
        "rows": [
            {"id": f"r{n}", "when": {k: v for k, v in row.items() if k in inputs},
             "finding": FINDING | {k: v for k, v in row.items() if k not in inputs}}
            for n, row in enumerate(rows)
        ],
    }  # fmt: skip
    tables = {"tables": [table, *([yaml.safe_load(deriving)] if derived else [])]}
    checked = check_rules({**shipped_texts(), "zed.yaml": SETTINGS, "table.yaml": yaml.safe_dump(tables)})
    return [report for report in checked.findings if report.key == "zed.found"]


@pytest.mark.parametrize(
    ("inputs", "row"),
    [
        pytest.param({"a": LABEL}, {"a": "unset"}, id="always-derived"),
        pytest.param({"a": LABEL_PRESENCE}, {"a": "unset"}, id="always-derived-presence"),
        pytest.param(
            {"a": LABEL, "g": LABEL_GIVEN, "d": DERIVED}, {"a": "kept", "g": False, "d": "lost"}, id="other-decision"
        ),
        pytest.param(
            {"a": LABEL, "g": LABEL_GIVEN, "m": MODE}, {"a": "kept", "g": False, "m": "memory"}, id="other-settings"
        ),
        pytest.param({"a": SAME}, {"a": "unset"}, id="same-as-derived"),
        pytest.param({"a": {"setting": "zed.third"}}, {"a": "unset"}, id="same-as-same-as-derived"),
        pytest.param(
            {"a": SAME, "g": SAME_GIVEN, "l": LABEL_GIVEN, "m": MODE},
            {"a": "kept", "g": False, "l": False, "m": "memory"},
            id="same-as-other-decision",
        ),
    ],
)
def test_row_contradicting_derived_values_is_unreachable(inputs: dict[str, Any], row: dict[str, Any]) -> None:
    assert [report.id for report in reports(inputs, row, derived=True)] == ["unreachable"]


@pytest.mark.parametrize(
    ("inputs", "row"),
    [
        pytest.param({"a": LABEL, "m": MODE}, {"a": "kept", "m": "memory"}, id="written"),
        pytest.param(
            {"a": LABEL, "g": LABEL_GIVEN, "m": MODE}, {"a": "kept", "g": False, "m": "persistent"}, id="derived"
        ),
        pytest.param({"a": LABEL_PRESENCE}, {"a": "empty"}, id="written-empty"),
        pytest.param({"a": EQUAL, "g": SAME_GIVEN}, {"a": True, "g": True}, id="written-equal"),
        pytest.param({"a": EQUAL, "l": LABEL_GIVEN}, {"a": False, "l": False}, id="only-one-written"),
    ],
)
def test_row_on_occurring_values_is_accepted(inputs: dict[str, Any], row: dict[str, Any]) -> None:
    assert reports(inputs, row, derived=True) == []


@pytest.mark.parametrize(
    ("inputs", "row"),
    [
        pytest.param({"a": SAME, "b": LABEL}, {"a": "unset", "b": "set"}, id="unset-beside-a-value"),
        pytest.param({"a": {"setting": "zed.third"}, "b": LABEL}, {"a": "unset", "b": "set"}, id="chain"),
        pytest.param({"a": {"setting": "zed.follows"}}, {"a": "unset"}, id="default-of-the-other"),
        pytest.param(
            {"a": EQUAL, "g": SAME_GIVEN, "p": LABEL_PRESENCE}, {"a": False, "g": False, "p": "given"}, id="different"
        ),
    ],
)
def test_row_contradicting_same_as_is_unreachable(inputs: dict[str, Any], row: dict[str, Any]) -> None:
    assert [report.id for report in reports(inputs, row)] == ["unreachable"]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param({"hint": "z"}, ["duplicate"], id="hint"),
        pytest.param({"bad": {"name": "x"}}, ["duplicate"], id="example"),
        pytest.param({"text": "z"}, [], id="text"),
        pytest.param({"severity": "error"}, [], id="severity"),
    ],
)
def test_findings_with_equal_text_are_duplicates(changed: dict[str, Any], expected: list[str]) -> None:
    found = reports({"a": LABEL}, {"a": "x"}, {"a": "x", **changed})
    assert [report.id for report in found] == expected
    assert all(report.witness == "zed:\n  label: x" for report in found)
    assert all(report.message.endswith(f"(they differ in {next(iter(changed))} only)") for report in found)


def test_row_inside_a_gap_of_its_deriving_table_is_unreachable() -> None:
    """Nothing resolves in mode `memory`, also where the setting is written."""
    gap, _, _ = DERIVING.partition("  - {id: lost")
    found = reports({"a": LABEL, "m": MODE}, {"a": "mine", "m": "memory"}, derived=True, deriving=gap)
    assert [report.id for report in found] == ["unreachable"]
    assert reports({"a": LABEL, "m": MODE}, {"a": "mine", "m": "memory"}, derived=True) == []
