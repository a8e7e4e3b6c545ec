"""Faults of workflow files: found without a server, with their place, and in the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.project import write

from compozy.cli.main import run

GOOD = "id: {id}\ntasks: [{{id: a, type: aggregate, output: x}}]\n"
TOOL = "id: tools\ntasks:\n  - {id: a, type: basic, tool: '%s'}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one good workflow, `fine`."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "")
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "fine.yaml").write_text(GOOD.format(id="fine"))
    (tmp_path / "helpers.py").write_text("raise SystemExit('imported')\ndef count(n): return n\n")
    return tmp_path


def add(project: Path, name: str, text: str) -> None:
    (project / "workflows" / name).write_text(text)


def validated(capsys: pytest.CaptureFixture[str]) -> tuple[int, list[tuple[str, int | None, str]]]:
    code = run(["config", "validate", "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert found["valid"] is (code == 0)
    return code, [(one["where"].get("file"), one["where"].get("line"), one["message"]) for one in found["findings"]]


BROKEN = [
    pytest.param("id: broken\ntaskz: []\n", 2, 'unknown key "taskz"', id="unknown-key"),
    pytest.param("id: [\n", 2, "", id="not-yaml"),
    pytest.param("id: a\nid: b\n", 2, "id", id="duplicate-key"),
    pytest.param(TOOL % "helpers:cuont", 3, 'defines no function "cuont"; did you mean "count"?', id="missing-tool"),
    pytest.param(TOOL % "helprs:count", 3, "module helprs not found", id="missing-module"),
    pytest.param(GOOD.format(id="fine"), 1, 'id "fine" is also the one of', id="same-id"),
]


@pytest.mark.parametrize(("text", "line", "message"), BROKEN)
def test_config_validate_finds_faults_of_workflow_files(
    text: str, line: int, message: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(project, "other.yaml", text)
    code, found = validated(capsys)
    assert code == 2
    assert ("workflows/other.yaml", line) in [(file, at) for file, at, _ in found]
    assert any(message in shown for _, _, shown in found)


def test_missing_tool_is_reported_at_its_own_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The task begins above it."""
    task = "  - id: t\n    type: basic\n    sleep: 1s\n    tool: helpers:cuont\n"
    add(project, "other.yaml", f"id: other\ntasks:\n{task}")
    _, found = validated(capsys)
    assert [(file, line) for file, line, _ in found] == [("workflows/other.yaml", 6)]


@pytest.mark.parametrize("name", ["workflows", "workflows/other.yaml"])
def test_workflow_file_writable_by_others_is_refused_until_trusted(
    name: str, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tasks call the tools of the project; the other files stay."""
    add(project, "other.yaml", GOOD.format(id="other"))
    path = project / name
    path.chmod(path.stat().st_mode | 0o002)
    code, found = validated(capsys)
    assert code == 2
    assert f"{path} is refused: every user may write to it" in found[0][2]
    assert run(["workflow", "run", "other"]) == 2
    assert f"compozy trust {project / 'workflows'}" in capsys.readouterr().err
    monkeypatch.setenv("COMPOZY_TRUST", str(project))
    assert validated(capsys) == (0, [])


def test_config_validate_accepts_valid_workflow_files(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(project, "tools.yaml", TOOL % "helpers:count")
    assert validated(capsys) == (0, [])


def test_config_validate_reports_missing_listed_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(project, "workflows: [more/none.yaml]\n")
    code, found = validated(capsys)
    assert (code, len(found)) == (2, 1)
    assert "more/none.yaml" in found[0][2]


def test_config_validate_shows_the_line_of_the_fault(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(project, "other.yaml", "id: broken\ntaskz: []\n")
    assert run(["config", "validate"]) == 2
    out = capsys.readouterr().out
    assert "--> workflows/other.yaml:2:1\n" in out
    assert " 2 | taskz: []\n" in out


@pytest.mark.parametrize("form", ["github", "sarif"])
def test_reports_for_programs_name_workflow_files(form: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(project, "other.yaml", "id: broken\ntaskz: []\n")
    assert run(["config", "validate", "--format", form]) == 2
    assert "workflows/other.yaml" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "line", "message"), BROKEN)
@pytest.mark.parametrize(("more", "status"), [((), "warn"), (("--strict",), "fail")])
def test_doctor_reports_faults_of_workflow_files(
    text: str, line: int, message: str, more: tuple[str, ...], status: str, project: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    add(project, "other.yaml", text)
    run(["doctor", "--format", "json", "--mode", "foo", *more])
    checks = [one for one in json.loads(capsys.readouterr().out)["checks"] if "workflows/other.yaml" in one["message"]]
    assert {one["status"] for one in checks} == {status}
    assert any(message in one["message"] for one in checks)


@pytest.mark.parametrize("text", ["id: broken\ntaskz: []\n", GOOD.format(id="fine")])
@pytest.mark.parametrize("command", ["list", "export"])
def test_list_and_export_exit_with_2_when_a_file_is_broken(
    command: str, text: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["workflow", command]) == 0
    add(project, "other.yaml", text)
    capsys.readouterr()
    assert run(["workflow", command]) == 2
    captured = capsys.readouterr()
    assert "fine" in captured.out
    assert "other.yaml" in captured.err


def test_export_writes_the_valid_workflows_and_exits_with_2(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(project, "other.yaml", "id: broken\ntaskz: []\n")
    assert run(["workflow", "export", "--output", "out.json"]) == 2
    assert [one["id"] for one in json.loads((project / "out.json").read_text())["workflows"]] == ["fine"]


def test_list_as_json_exits_with_2_when_a_file_is_broken(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(project, "other.yaml", "id: broken\ntaskz: []\n")
    assert run(["workflow", "list", "--format", "json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert ([one["id"] for one in found["workflows"]], len(found["problems"])) == (["fine"], 1)


@pytest.mark.parametrize(("text", "line", "message"), BROKEN[:-1])
def test_workflow_validate_reports_faults_with_place_and_severity(
    text: str, line: int, message: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(project, "other.yaml", text)
    assert run(["workflow", "validate", "workflows/other.yaml", "workflows/fine.yaml", "--format", "json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["valid"], found["files"]) == (False, 2)
    found_at = [
        (one["where"]["file"], one["where"]["line"], one["severity"], one["message"]) for one in found["findings"]
    ]
    assert any(one[:3] == ("workflows/other.yaml", line, "error") and message in one[3] for one in found_at)


def test_workflow_validate_reports_all_findings_of_all_files(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = "id: b%d\ntasks:\n  - {id: t, type: aggregate, output: '{{ tasks.u.output }}', sleep: soon}\n"
    for number in range(2):
        (project / f"b{number}.yaml").write_text(broken % number)
    assert run(["workflow", "validate", "b0.yaml", "b1.yaml"]) == 2
    shown = capsys.readouterr().out
    assert [f"b{n}.yaml:3:{column}" in shown for n in range(2) for column in (38, 69)] == [True] * 4
    assert shown.splitlines()[-1] == "2 workflow files: not valid: 4 findings, all of which stop"


def test_workflow_validate_without_files_checks_those_of_the_project(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["workflow", "validate"]) == 0
    assert capsys.readouterr().out == "1 workflow file: valid\n"


@pytest.mark.parametrize(("form", "start"), [("github", "::error file=renamed.yaml"), ("sarif", "{")])
def test_workflow_validate_speaks_other_forms(
    form: str, start: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "renamed.yaml").write_text("id: renamed\n")
    assert run(["workflow", "validate", "renamed.yaml", "--format", form]) == 2
    shown = capsys.readouterr().out
    assert shown.startswith(start)
    assert "a workflow needs `tasks`" in shown


def test_workflow_validate_names_a_missing_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workflow", "validate", "nowhere.yaml"]) == 2
    assert 'nowhere.yaml" does not exist' in capsys.readouterr().out


def test_workflow_schema_is_the_published_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workflow", "schema"]) == 0
    published = Path(__file__).parents[2] / "schemas" / "workflow.json"
    assert json.loads(capsys.readouterr().out) == json.loads(published.read_text(encoding="utf-8"))
