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
    for arguments in (
        ["init", "-q"],
        ["add", "rules"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    change(tmp_path)
    code, out, _ = command("HEAD:rules", "rules", "--format", "json")
    assert code == 1
    assert [difference["table"] for difference in json.loads(out)["differences"]] == ["redis.mode"]


@pytest.mark.parametrize(
    ("old", "text"),
    [
        pytest.param("nowhere", "rule pack nowhere is not a directory", id="no-folder"),
        pytest.param("HEAD:rules", "git: ", id="no-repository"),
    ],
)
def test_diff_refuses_a_missing_version(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, text: str
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    code, _, err = command(old, "rules")
    assert code in (2, 3)
    assert text in err


def test_diff_of_a_table_missing_in_one_version(command: Command, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "zed.yaml").write_text(TABLE)
    code, out, _ = command("shipped", "pack", "--format", "json")
    assert (code, json.loads(out)["added"]) == (1, ["zed"])
    code, out, _ = command("pack", "shipped", "--format", "json")
    assert (code, json.loads(out)["removed"]) == (1, ["zed"])
