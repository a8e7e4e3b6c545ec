"""Findings in the forms of `--format`: the same code prints them for every command that checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.project import write

from compozy.base.findings import Evidence, Finding
from compozy.base.place import Origin, Place
from compozy.cli.finding_formats import github_lines, sarif_log
from compozy.cli.main import run
from compozy.client.finding_answers import (
    ConfigurationReport,
    FailureReport,
    FindingAnswer,
    ImportReport,
    RulesReport,
    WorkflowReport,
)

Run = Callable[..., tuple[int, str, str]]
MODEL = """<definitions xmlns="https://www.omg.org/spec/DMN/20191111/MODEL/" name="m">
  <decision name="D"><decisionTable hitPolicy="PRIORITY">
    <input><inputExpression typeRef="number"><text>N</text></inputExpression></input>
    <output name="D" typeRef="string"/>
  </decisionTable></decision>
</definitions>"""
DECISIONS = """inputs: {n: number}
tables:
  - table: t
    hit: unique
    inputs: {n: {input: n}}
    outputs: {out: [a]}
    rows: [{id: r, when: {n: {below: 1}}, then: {out: a}, because: b}, {id: r, when: {}, then: {out: a}, because: b}]
"""
WORKFLOWS = '{"workflows": [{"id": "x", "definition": {"id": "x", "tasks": [{"id": "a", "type": "agregate"}]}}]}'


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an empty project and return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> tuple[int, str, str]:
        code = run([*args])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_github_gets_workflow_commands(command: Run, tmp_path: Path) -> None:
    """With file, line and columns; line breaks and separators are escaped."""
    write(tmp_path, "mode: standalone\n")
    code, out, _ = command("config", "validate", "--format", "github", "--set", "server.prot=1")
    lines = out.splitlines()
    assert code == 2
    assert lines[0].startswith('::error title=key.unknown::unknown key "server.prot" (flag --set server.prot)%0Ahint: ')
    assert lines[1].startswith(
        "::error file=compozy.yaml,line=1,col=7,endColumn=17,title=mode.standalone::invalid mode"
    )
    assert "%0AHint: The" in lines[1]


def test_github_files_are_seen_from_the_working_directory(command: Run, tmp_path: Path) -> None:
    """Paths are relative to the checkout of GitHub."""
    (tmp_path / "deploy").mkdir()
    write(tmp_path / "deploy", "mode: foo\n")
    _, out, _ = command("config", "validate", "--format", "github", "--config", "deploy/compozy.yaml")
    assert out.startswith("::error file=deploy/compozy.yaml,line=1,")


def sarif(found: dict[str, Any]) -> list[str]:
    """Return what breaks the structure of SARIF 2.1.0, sections 3.13 to 3.30."""
    faults = [] if found["version"] == "2.1.0" and found["$schema"].endswith("sarif-2.1.0.json") else ["version"]
    (run_,) = found["runs"]
    rules = run_["tool"]["driver"]["rules"]
    faults += [] if run_["tool"]["driver"]["name"] and run_["columnKind"] == "unicodeCodePoints" else ["tool"]
    faults += [] if len({rule["id"] for rule in rules}) == len(rules) else ["rules"]
    for result in run_["results"]:
        faults += [] if rules[result["ruleIndex"]]["id"] == result["ruleId"] else ["ruleIndex"]
        faults += [] if result["level"] in ("none", "note", "warning", "error") else ["level"]
        faults += [] if result["message"]["text"] else ["message"]
        for location in result["locations"]:
            region = location.get("physicalLocation", {}).get("region")
            uri = location.get("physicalLocation", {}).get("artifactLocation", {}).get("uri", "")
            wide = not region or region["endColumn"] > region["startColumn"] >= 1 <= region["startLine"]
            faults += [] if wide else ["region"]
            faults += ["uri"] if uri.startswith("/") or "\\" in uri else []
            faults += [] if region or location["logicalLocations"] else ["location"]
    return faults


def test_sarif_has_the_structure_of_the_standard(command: Run, tmp_path: Path) -> None:
    """Results point to rules, regions into files; what has no file has a logical place."""
    write(tmp_path, "mode: foo\nserver: {prot: 1, port: 70000}\n")
    code, out, _ = command("config", "validate", "--format", "sarif", "--set", "redis.mode=bar")
    found = json.loads(out)
    assert (code, sarif(found)) == (2, [])
    assert {result["ruleId"] for result in found["runs"][0]["results"]} == {
        "mode.unknown", "key.unknown", "port.range.server", "redis.mode.unknown",
    }  # fmt: skip


CHECKS = [
    pytest.param(["config", "validate"], {"compozy.yaml": "mode: foo\n"}, 2, ["mode.unknown"], id="configuration"),
    pytest.param(["rules", "check", "d.yaml"], {"d.yaml": DECISIONS}, 3, ["malformed"], id="decision-file"),
    pytest.param(["rules", "import", "m.dmn", "--output", "o.yaml"], {"m.dmn": MODEL}, 3, ["unsupported"], id="import"),
    pytest.param(
        ["rules", "check", "--rules", "pack"], {"pack/r.yaml": "settings: 7\n"}, 3, ["malformed"], id="rule-pack"
    ),
    pytest.param(
        ["config", "validate", "--rules", "pack"], {"pack/r.yaml": "settings: 7\n"}, 3, ["malformed"], id="failure"
    ),
    pytest.param(["config", "validate", "--config", "no.yaml"], {}, 2, ["usage"], id="failure-without-findings"),
]


@pytest.mark.parametrize(("args", "files", "code", "ids"), CHECKS)
def test_findings_of_every_check_have_the_forms_of_json_github_and_sarif(
    args: list[str], files: dict[str, str], code: int, ids: list[str], command: Run, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    file = next(iter(files), None)
    shown = {form: command(*args, "--format", form) for form in ("json", "github", "sarif")}
    assert {answer[0] for answer in shown.values()} == {code}
    found = json.loads(shown["json"][1])["findings"]
    log = json.loads(shown["sarif"][1])
    assert sarif(log) == []
    results = log["runs"][0]["results"]
    assert {result["ruleId"] for result in results} == {*ids}
    lines = shown["github"][1].splitlines()
    assert all(line.startswith("::error ") and f"title={ids[0]}::" in line for line in lines)
    if file is not None:
        assert {one["id"] for one in found} == {*ids}
        assert len(found) == len(results) == len(lines)
        assert {one["where"]["file"] for one in found} == {file}
        assert all(line.startswith(f"::error file={file},line=") for line in lines)


def test_import_of_workflows_has_the_forms_of_a_check(command: Run, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(WORKFLOWS)
    given = ("workflow", "import", "w.json", "--mode", "persistent", "--format")
    shown = {form: command(*given, form) for form in ("github", "sarif")}
    assert {answer[0] for answer in shown.values()} == {2}
    assert shown["github"][1].startswith("::error title=workflow.definition::`type` of a task is unknown")
    (result,) = json.loads(shown["sarif"][1])["runs"][0]["results"]
    assert result["ruleId"] == "workflow.definition"


def test_import_in_a_form_for_programs_needs_a_file_for_the_tables(command: Run, tmp_path: Path) -> None:
    (tmp_path / "m.dmn").write_text(MODEL)
    code, _, err = command("rules", "import", "m.dmn", "--format", "github")
    assert (code, err.splitlines()[0]) == (2, "error[usage]: --format github needs --output")


def test_sarif_and_github_show_evidence_and_further_places() -> None:
    places = Place("a.yaml", 3, 5, 4), Place("b.yaml", 1, 1)
    evidence = Evidence("mode: a", "- {id: new}\n- {id: old}")
    finding = Finding("gap", "error", "no row", "", "t", Origin("file", places[0]), also=places[1:], evidence=evidence)
    (line,) = github_lines([finding], "rules")
    assert line == (
        "::error file=rules/a.yaml,line=3,col=5,endColumn=9,title=gap::no row%0Aalso: b.yaml:1:1%0Afor example: mode: a"
        "%0Aa row that closes the gap:%0A- {id: new}%0A- {id: old}"
    )
    log: Any = sarif_log([finding], "rules", {"gap": "values without a row"})
    (result,), (rule,) = log["runs"][0]["results"], log["runs"][0]["tool"]["driver"]["rules"]
    assert (sarif(log), rule["shortDescription"]["text"]) == ([], "Values without a row.")
    related = result["relatedLocations"][0]["physicalLocation"]
    assert (related["artifactLocation"]["uri"], related["region"]["startLine"]) == ("rules/b.yaml", 1)


FOUND = Finding(
    "gap", "error", "no row\nfor a", "add it", "t", Origin("file", Place("a.yaml", 3, 5), "A", "u", "r", ("V",)), "t/r",
    Place("r.yaml", 1, 2), "docs/a.md", (Place("b.yaml", 1, 1),), Evidence("mode: a", None, 1, 2),
)  # fmt: skip


@pytest.mark.parametrize(
    "finding", [FOUND, Finding("gap", "warning", "no row"), Finding.at("x", "y", Place("m", 0, 0))]
)
def test_record_of_a_finding_has_every_key_of_its_json(finding: Finding) -> None:
    record = FindingAnswer.of(finding)
    assert msgspec.to_builtins(record) == finding.as_json()
    assert record.to_finding().message == finding.message


@pytest.mark.parametrize(
    ("args", "files", "report"),
    [
        pytest.param(["config", "validate"], {"compozy.yaml": "mode: foo\n"}, ConfigurationReport, id="configuration"),
        pytest.param(
            ["workflow", "validate"], {"workflows/w.yaml": "id: w\ntasks: 1\n"}, WorkflowReport, id="workflow-file"
        ),
        pytest.param(["rules", "check", "d.yaml"], {"d.yaml": DECISIONS}, RulesReport, id="decision-file"),
        pytest.param(["rules", "import", "m.dmn", "--output", "o.yaml"], {"m.dmn": MODEL}, ImportReport, id="import"),
        pytest.param(["config", "validate", "--config", "no.yaml"], {}, FailureReport, id="failure"),
    ],
)
def test_json_of_a_check_is_decoded_by_its_record_without_a_difference(
    args: list[str], files: dict[str, str], report: type[msgspec.Struct], command: Run, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    _, out, _ = command(*args, "--format", "json")
    printed = json.loads(out)
    assert msgspec.to_builtins(msgspec.json.decode(out, type=report)) == printed
    printed["findings"] = "none"
    with pytest.raises(msgspec.ValidationError, match=r"at `\$\.findings`"):
        msgspec.convert(printed, report)
