"""Constraints (`never`): verification counts the combinations as impossible, and a configuration of one is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from compozy.cli.main import run
from compozy.explain.simulate import simulate
from compozy.resolution.configuration import read_sources
from compozy.resolution.resolve import Resolved, resolve
from compozy.resolution.validate import validate
from compozy.rulebook import RuleCheck, check_rules, load_rulebook
from compozy.rulebook.files import shipped_texts
from compozy.rulebook.rows import Rulebook
from compozy.rulebook.versions import compare_versions
from compozy.settings.sources import Inputs
from compozy.trial.examples import examples_of
from compozy.trial.rules import table_findings, try_example

# Few rules, because verifying the shipped ones takes longer than the tests.
SETTINGS = """
settings:
  - {path: mode, type: choice, values: [memory], checked: rules, help: m}
  - {path: rules, type: list, help: r}
  - {path: zed.one, type: choice, values: [a, b], help: o}
  - {path: zed.two, type: choice, values: [a, b], default: a, help: t}
  - {path: zed.count, type: integer, default: 3, help: c}
  - {path: zed.ratio, type: number, help: c}
  - {path: zed.list, type: list, help: l}
  - {path: zed.folder, type: path, default: here, help: f}
  - {path: zed.drawn, type: choice, values: [a, b], help: d}
"""
LIFECYCLE = """
states: [{id: unresolved, about: a, initial: true}, {id: resolved, about: b}, {id: validated, about: b}]
transitions:
  - {trigger: resolve, from: unresolved, to: resolved, step: resolve, stages: [resolve], because: c}
  - {trigger: validate, from: resolved, to: validated, step: validate, stages: [validate], because: c}
  - {trigger: reset, from: validated, to: unresolved, step: forget, because: d}
"""
MODE = {
    "table": "mode", "stage": "resolve", "hit": "first", "inputs": {}, "outputs": {"mode": ["memory"]},
    "rows": [{"id": "m", "then": {"mode": "memory"}, "because": "x"}],
}  # fmt: skip
SOURCES = "rules/validate/sources.yaml"
DRAWN = {
    "table": "zed.drawn", "stage": "resolve", "hit": "unique", "inputs": {}, "outputs": {"drawn": ["a"]},
    "sets": {"drawn": "zed.drawn"}, "rows": [{"id": "r", "then": {"drawn": "a"}, "because": "x"}],
}  # fmt: skip
PAIR = {"one": "zed.one", "two": "zed.two"}
AB = {"zed.one": "a", "zed.two": "b"}


def kept(inputs: dict[str, str], rows: list[dict[str, Any]], hit: str = "first") -> dict[str, Any]:
    """Write a table of rows with these conditions; rows decide differently if they may."""
    columns = {name: {"setting": path} for name, path in inputs.items()}
    outputs = [f"r{n}" for n in range(len(rows))]
    body = [{"id": f"r{n}", "when": w, "then": {"out": f"r{n}"}, "because": "x"} for n, w in enumerate(rows)]
    return {
        "table": "zed.kept", "stage": "resolve", "hit": hit, "inputs": columns, "outputs": {"out": outputs},
        "rows": body,
    }  # fmt: skip


def checked(never: Any, *tables: dict[str, Any]) -> RuleCheck:
    texts = {f"table-{n}.yaml": yaml.safe_dump(table) for n, table in enumerate((*tables, DRAWN, MODE))}
    constraints = {"never.yaml": yaml.safe_dump({"never": never})} if never else {}
    shell = {"zed.yaml": SETTINGS, "lifecycle.yaml": LIFECYCLE, SOURCES: shipped_texts()[SOURCES]}
    return check_rules({**shell, **constraints, **texts})


def kinds(never: Any, *tables: dict[str, Any]) -> list[str]:
    return [report.id for report in checked(never, *tables).findings if report.id != "unproduced"]


def settings_of(text: str | None) -> dict[str, Any]:
    settings: dict[str, Any] = (yaml.safe_load(text or "") or {}).get("zed", {})
    return settings


CASES = [
    pytest.param(AB, PAIR, "first", [{"one": ["b", "unset"]}, {"two": "a"}], "gap", id="gap"),
    pytest.param(AB, PAIR, "unique", [{"one": "a"}, {"one": ["b", "unset"]}, {"one": "a", "two": "b"}], "conflict",
                 id="overlap"),
    pytest.param({"zed.one": "b"}, {"one": "zed.one"}, "first", [{"one": ["a", "unset"]}], "gap", id="one-setting"),
    pytest.param([{"zed.one": "b", "zed.two": "a"}, {"zed.one": "b", "zed.two": "b"}], {"one": "zed.one"}, "first",
                 [{"one": ["a", "unset"]}], "gap", id="two-constraints-together"),
    pytest.param({"zed.count": {"at_least": 5, "at_most": 15}, "zed.one": "b"}, {"one": "zed.one", "n": "zed.count"},
                 "first", [{"one": ["a", "unset"]}, {"n": {"below": 5}}, {"n": {"above": 15}}], "gap", id="range"),
    pytest.param({"zed.ratio": {"above": 0.5, "below": 0.6}}, {"r": "zed.ratio"}, "first",
                 [{"r": "unset"}, {"r": {"at_most": 0.5}}, {"r": {"at_least": 0.6}}], "gap", id="fraction"),
]  # fmt: skip


@pytest.mark.parametrize(("never", "inputs", "hit", "rows", "kind"), CASES)
def test_fault_inside_an_excluded_region_is_not_reported(
    never: Any, inputs: dict[str, str], hit: str, rows: list[dict[str, Any]], kind: str
) -> None:
    table = kept(inputs, rows, hit)
    assert kind in kinds(None, table)
    assert kind not in kinds(never, table)


def test_row_within_an_excluded_region_is_unreachable() -> None:
    table = kept(PAIR, [{"one": "a", "two": "b"}, {}])
    assert kinds(None, table) == []
    assert kinds(AB, table) == ["unreachable"]


def test_row_masked_outside_an_excluded_region_is_reported() -> None:
    table = kept(PAIR, [{"two": "a"}, {"one": "a"}, {}])
    assert kinds(None, table) == []
    assert kinds(AB, table) == ["masked"]


def test_a_witness_is_not_excluded() -> None:
    never = [{"zed.one": "unset", "zed.two": "b"}, AB]
    (gap,) = (r for r in checked(never, kept(PAIR, [{"two": "a"}])).findings if r.id == "gap")
    assert settings_of(gap.witness) == {"one": "b", "two": "b"}


def test_a_finding_of_excluded_settings_is_unreachable() -> None:
    finding = {"severity": "error", "key": "zed.one", "text": "t", "good": {}, "bad": {}}
    table = {**kept(PAIR, [{}], "collect"), "stage": "validate", "outputs": {}}
    table["rows"] = [{"id": "zed.pair", "when": {"one": "a", "two": "b"}, "finding": finding}]
    assert kinds(None, table) == []
    assert kinds(AB, table) == ["unreachable"]


def test_a_derived_value_does_not_violate_a_constraint() -> None:
    """`zed.drawn` is `a` wherever it is not given, which a finding sees beside every value of `zed.one`."""
    finding = {"severity": "warning", "key": "zed.one", "text": "t", "good": {}, "bad": {}}
    table = {**kept({"one": "zed.one", "drawn": "zed.drawn"}, [{}], "collect"), "stage": "validate", "outputs": {}}
    table["rows"] = [{"id": "zed.pair", "when": {"one": "a", "drawn": "a"}, "finding": finding}]
    assert kinds({"zed.one": "a", "zed.drawn": "a"}, table) == []
    assert kinds({"zed.one": "a", "zed.drawn": ["a", "unset"]}, table) == ["unreachable"]


@pytest.mark.parametrize(
    ("never", "kind", "text"),
    [
        pytest.param({"zed.on": "a"}, "unknown-setting", "did you mean", id="unknown-setting"),
        pytest.param({"zed.one": "c"}, "unknown-value", "c is not a value", id="unknown-value"),
        pytest.param({"zed.list": "set"}, "malformed", "which is a list", id="list"),
        pytest.param({"zed.folder": "/x"}, "malformed", "depends on the directory", id="default-of-the-directory"),
        pytest.param({"zed.one": {"like": "a"}}, "malformed", "not a condition", id="no-condition"),
        pytest.param({"because": "x"}, "malformed", "maps settings to conditions", id="no-setting"),
        pytest.param({"zed.one": "a", "because": [1]}, "malformed", "must be text", id="because"),
        pytest.param(["zed.one"], "malformed", "maps settings to conditions", id="no-mapping"),
        pytest.param({"zed.two": "a"}, "bad-constraint", "excludes the defaults", id="excludes-the-default"),
        pytest.param({"zed.one": "unset"}, "bad-constraint", "excludes the defaults", id="excludes-unset"),
        pytest.param({"zed.one": "any"}, "bad-constraint", "excludes the defaults", id="excludes-everything"),
        pytest.param({"zed.two": "unset"}, "contradiction", "no value of input", id="never-holds"),
        pytest.param([AB, AB], "duplicate", "match the same", id="duplicate"),
        pytest.param([AB, {"zed.one": "a", "zed.two": "b", "zed.count": 1}], "subsumed", "lies within", id="subsumed"),
    ],
)
def test_a_faulty_constraint_is_reported_at_its_place(never: Any, kind: str, text: str) -> None:
    (report,) = (report for report in checked(never).findings if report.id != "unproduced")
    assert report.id == kind
    assert text in report.message
    assert report.places[0].file == "never.yaml"


def rulebook(never: Any, *tables: dict[str, Any]) -> Rulebook:
    found = checked(never, *tables)
    assert found.valid, [report.message for report in found.findings]
    assert found.rulebook is not None
    return found.rulebook


def resolved(rules: Rulebook, directory: Path, **flags: str) -> Resolved:
    given = {name.replace("_", "."): value for name, value in flags.items()}
    return resolve(read_sources(Inputs(str(directory), None, given), rules), {})


def test_an_excluded_configuration_is_an_error_and_resolving_does_not_raise(tmp_path: Path) -> None:
    rules = rulebook({**AB, "because": "b needs more"}, kept(PAIR, [{"one": ["b", "unset"]}, {"two": "a"}]))
    found = resolved(rules, tmp_path, zed_one="a", zed_two="b")
    (finding,) = (finding for finding in validate(found) if finding.severity == "error")
    assert (finding.id, finding.key, finding.where.kind) == ("settings.excluded", "zed.one", "flag")
    assert finding.message == "the rules exclude zed.one: a, zed.two: b: b needs more"
    assert "never.yaml:2:" in finding.hint
    # The tables saw the defaults.
    assert found.decision("zed.kept").outputs == {"out": "r0"}
    assert found.get("zed.one") == "a"


def test_default_in_violation_of_another_constraint_does_not_raise(tmp_path: Path) -> None:
    never = [AB, {"zed.two": "a", "zed.count": 1}]
    inputs = {**PAIR, "n": "zed.count"}
    rules = rulebook(never, kept(inputs, [{"two": "a", "n": {"not": 1}}, {"two": "b", "one": {"not": "a"}}]))
    found = resolved(rules, tmp_path, zed_one="a", zed_two="b", zed_count="1")
    assert [finding.message for finding in validate(found) if finding.severity == "error"] == [
        "the rules exclude zed.one: a, zed.two: b"
    ]


@pytest.mark.parametrize(
    ("flags", "errors"),
    [({}, 0), ({"zed_one": "a"}, 0), ({"zed_two": "b"}, 0), ({"zed_one": "a", "zed_two": "b"}, 1)],
)
def test_only_the_excluded_combination_is_an_error(tmp_path: Path, flags: dict[str, str], errors: int) -> None:
    found = validate(resolved(rulebook(AB), tmp_path, **flags))
    assert [finding.id for finding in found if finding.severity == "error"] == ["settings.excluded"] * errors


def test_diff_shows_an_added_constraint() -> None:
    found = compare_versions(rulebook(None), rulebook(AB))
    (difference,) = found.differences
    assert (difference.table, difference.old, difference.new is not None) == ("never", None, True)
    assert settings_of(difference.witness) == {"one": "a", "two": "b"}
    assert compare_versions(rulebook(AB), rulebook([AB])).same


def test_diff_ignores_decisions_about_excluded_settings() -> None:
    rows: list[dict[str, Any]] = [{"one": "a", "two": "a"}, {"one": {"not": "a"}}]
    wider: list[dict[str, Any]] = [{"one": "a"}, {"one": {"not": "a"}}]
    assert compare_versions(rulebook(AB, kept(PAIR, rows)), rulebook(AB, kept(PAIR, wider))).same
    assert not compare_versions(rulebook(AB, kept(PAIR, rows)), rulebook(None, kept(PAIR, wider))).same


def test_excluded_example_is_not_tried(tmp_path: Path) -> None:
    """Examples of others stay right when a pack excludes their configurations."""
    (tmp_path / "never.yaml").write_text("never: {mode: persistent, redis.mode: memory}\n")
    found = load_rulebook((str(tmp_path),))
    excluded = {"durability.redis-lost", "settings.excluded"}
    tried = [example for example in examples_of(found) if example.id in excluded]
    reports = [report for example in tried for report in try_example(found, example, str(tmp_path))]
    assert len(tried) == 4
    assert [report.message for report in reports] == []


def test_excluded_table_example_is_not_tried(tmp_path: Path) -> None:
    table = kept(PAIR, [{"two": "b"}, {}])
    table["examples"] = [{"given": {"zed": {"one": "a", "two": "b"}}, "rows": ["r0"]}]
    assert list(table_findings(rulebook(AB, table), str(tmp_path))) == []
    table["examples"] = [{"given": {"zed": {"two": "b"}}, "rows": ["r1"]}]
    assert [report.id for report in table_findings(rulebook(AB, table), str(tmp_path))] == ["bad-example"]


def test_simulate_shows_an_excluded_combination_as_an_error(tmp_path: Path) -> None:
    configuration = read_sources(Inputs(str(tmp_path), None, {}), rulebook(AB))
    outcomes = simulate(configuration, {"zed.one": ("-", "a"), "zed.two": ("a", "b")}, {})
    assert [outcome.worst for outcome in outcomes] == ["ok", "ok", "ok", "error"]


def test_config_validate_reports_an_excluded_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "never.yaml").write_text("never: {mode: persistent, redis.mode: memory}\n")
    (tmp_path / "compozy.yaml").write_text("rules: [./pack]\nmode: persistent\nredis: {mode: memory}\n")
    monkeypatch.chdir(tmp_path)
    assert run(["config", "validate"]) == 2
    assert "the rules exclude mode: persistent, redis.mode: memory" in capsys.readouterr().out
    assert run(["rules", "show", "never"]) == 0
    assert "mode: persistent, redis.mode: memory" in capsys.readouterr().out
