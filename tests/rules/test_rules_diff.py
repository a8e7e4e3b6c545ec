"""`compozy rules diff` shows where two versions of the rules decide differently, with a witness and both rows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from compozy.cli.main import run
from compozy.rulebook.files import shipped_texts

Command = Callable[..., tuple[int, str, str]]
OWN = '{id: own-memory, when: {own: memory}, then: {mode: %s}, because: "redis.mode: memory is set"}'


TABLE = """
table: zed
stage: resolve
hit: first
about: z
inputs: {}
outputs: {out: [true]}
rows: [{id: a, then: {out: true}, because: b}]
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `compozy rules diff` in a directory with the shipped rules as `rules`; returns exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for name, text in shipped_texts().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def call(*args: str) -> tuple[int, str, str]:
        code = run(["rules", "diff", *args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def change(folder: Path) -> None:
    """Add a row that keeps a Redis in memory mode."""
    path = folder / "rules" / "resolve" / "mode.yaml"
    text = path.read_text()
    assert OWN % "memory" in text
    path.write_text(text.replace(OWN % "memory", OWN % "persistent"))


def commit(folder: Path, name: str) -> None:
    """Commit a folder or file of a new git repository."""
    for arguments in (
        ["init", "-q"],
        ["add", name],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True)


def test_diff_of_equal_rules_is_empty(command: Command) -> None:
    assert command("shipped", "rules") == (0, "same: both decide alike\n", "")


def test_diff_shows_region_rows_and_witness(command: Command, tmp_path: Path) -> None:
    change(tmp_path)
    code, out, _ = command("shipped", "rules", "--format", "json")
    (difference,) = json.loads(out)["differences"]
    assert code == 1
    assert (difference["id"], difference["table"], difference["when"]) == (
        "decision-changed", "redis.mode", {"own": "memory"},
    )  # fmt: skip
    assert (difference["old"]["then"], difference["new"]["then"]) == ({"mode": "memory"}, {"mode": "persistent"})
    assert yaml.safe_load(difference["witness"]) == {"redis": {"mode": "memory"}}


def test_diff_as_text_counts_the_regions(command: Command, tmp_path: Path) -> None:
    change(tmp_path)
    code, out, _ = command("shipped", "rules")
    assert code == 1
    assert 'decision-changed: table "redis.mode" for own: memory' in out
    assert out.splitlines()[-1] == "different: 1 region differs, 0 tables added, 0 removed"


def test_diff_as_sarif_points_at_the_new_row(command: Command, tmp_path: Path) -> None:
    change(tmp_path)
    _, out, _ = command("shipped", "rules", "--format", "sarif")
    (result,) = json.loads(out)["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "rules/resolve/mode.yaml"


def test_diff_reads_a_git_revision(command: Command, tmp_path: Path) -> None:
    commit(tmp_path, "rules")
    change(tmp_path)
    code, out, _ = command("HEAD:rules", "rules", "--format", "json")
    assert code == 1
    assert [difference["table"] for difference in json.loads(out)["differences"]] == ["redis.mode"]


@pytest.mark.parametrize(
    ("old", "text"),
    [
        pytest.param("nowhere", "nowhere is not a directory", id="no-folder"),
        pytest.param("HEAD:rules", "git: ", id="no-repository"),
        pytest.param("a.yaml", "a.yaml and rules cannot be compared", id="file-and-folder"),
    ],
)
def test_diff_refuses_a_missing_version(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, text: str
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    code, _, err = command(old, "rules")
    assert code == 2
    assert text in err


DECISIONS = """
inputs: {kind: [private, company]}
tables:
  - table: loan
    hit: unique
    inputs: {kind: {input: kind}}
    outputs: {grant: [true, false]}
    rows: [{id: all, then: {grant: true}, because: b}]
"""


def test_diff_compares_a_decision_file_with_its_git_revision(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "loan.yaml"
    path.write_text(DECISIONS)
    commit(tmp_path, "loan.yaml")
    path.write_text(DECISIONS.replace("grant: true", "grant: false"))
    code, out, _ = command("HEAD:loan.yaml", "loan.yaml", "--format", "json")
    (difference,) = json.loads(out)["differences"]
    assert (code, difference["old"]["then"], difference["new"]["then"]) == (1, {"grant": True}, {"grant": False})


def test_diff_reads_the_same_files_of_a_revision_as_of_a_folder(command: Command, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "zed.yml").write_text(TABLE)
    (pack / ".#zed.yaml").write_text("leftover: [")
    commit(tmp_path, "pack")
    assert command("HEAD:pack", "pack")[:2] == (0, "same: both decide alike\n")


@pytest.mark.parametrize(
    ("names", "text"),
    [
        pytest.param(["loan.yaml", "no.dmn"], "no.dmn cannot be read: No such file", id="missing-file"),
        pytest.param(["HEAD:no.yaml", "loan.yaml"], "git: ", id="missing-in-revision"),
        pytest.param(
            ["HEAD:binary.yaml", "loan.yaml"], "HEAD:binary.yaml cannot be read: it is not UTF-8", id="binary"
        ),
        pytest.param(["--", "--help:loan.yaml", "loan.yaml"], "'--help", id="option"),
    ],
)
def test_diff_names_an_unreadable_decision_file(command: Command, tmp_path: Path, names: list[str], text: str) -> None:
    (tmp_path / "loan.yaml").write_text(DECISIONS)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\0")
    commit(tmp_path, "binary.yaml")
    code, _, err = command(*names)
    assert (code, text in err) == (2, True), err


def test_diff_of_a_table_missing_in_one_version(command: Command, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "zed.yaml").write_text(TABLE)
    code, out, _ = command("shipped", "pack", "--format", "json")
    assert (code, json.loads(out)["added"]) == (1, ["zed"])
    code, out, _ = command("pack", "shipped", "--format", "json")
    assert (code, json.loads(out)["removed"]) == (1, ["zed"])
