"""`compozy rules check --fix` writes the proposed row of each gap into the user's files, and nothing else."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from compozy.cli.main import run
from compozy.cli.rulefix import fixed_files
from compozy.errors import UsageError

Command = Callable[..., tuple[int, str, str]]
LOAN = """\
# Who gets a loan.
inputs: {age: {type: integer, at_least: 0}, income: [low, high]}
tables:
  - table: loan
    hit: unique
    inputs: {age: {input: age}, income: {input: income}}   # both
    outputs: {grant: [yes, no]}
    rows:
      - {id: minor,  when: {age: {below: 18}},
         then: {grant: no}, because: "too young"}          # checked
      # adults
      - {id: rich, when: {age: {at_least: 18}, income: high}, then: {grant: yes}, because: 'pays'}
# the end
"""
ALIASES = LOAN.replace('"too young"', "&why young").replace("'pays'", "*why")
MODE = """\
settings:
  - {extends: mode, values: [ci]}
---
tables:
  - extends: mode
    values: {mode: [ci]}
    rows:
      - {id: ci, before: unknown, when: {mode: ci}, then: {mode: ci}, because: "asked for"}   # ours
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `compozy rules check` in an empty directory; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(*args: str) -> tuple[int, str, str]:
        code = run(["rules", "check", *args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_fix_adds_the_row_of_a_gap_and_keeps_everything_else(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "loan.yaml"
    file.write_text(LOAN)
    file.chmod(0o640)
    assert command("loan.yaml")[0] == 3
    code, out, _ = command("loan.yaml", "--fix", "--format", "json")
    (added,) = json.loads(out)["added"]
    assert (code, json.loads(out)["findings"], added["file"]) == (0, [], "loan.yaml")
    assert file.read_text() == LOAN.replace("# the end", f"      - {added['row']}\n# the end")
    assert "age: {at_least: 18}, income: low" in added["row"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert command("loan.yaml", "--fix")[0] == 0
    assert file.read_text().count("new-") == 1


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        pytest.param(LOAN.replace("\n", "\r\n").encode(), b"# checked\r\n", id="crlf"),
        pytest.param(b"\xef\xbb\xbf" + LOAN.encode(), b"\xef\xbb\xbf# Who", id="byte-order-mark"),
    ],
)
def test_fix_keeps_line_ends_and_marks(tmp_path: Path, text: bytes, kept: bytes) -> None:
    file = tmp_path / "loan.yaml"
    file.write_bytes(text)
    assert len(fixed_files([str(file)])) == 1
    assert kept in file.read_bytes()
    assert file.read_bytes().count(b"\r\n") in (0, file.read_bytes().count(b"\n"))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        pytest.param("loan.yaml", ALIASES, "aliases", id="aliases"),
        pytest.param("loan.dmn", "<definitions/>", "DMN model", id="dmn"),
    ],
)  # fmt: skip
def test_fix_refuses_an_uneditable_file(tmp_path: Path, name: str, text: str, reason: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(UsageError, match=reason):
        fixed_files([str(file)])
    assert file.read_text() == text


def test_fix_refuses_when_no_pack_is_the_users_own(command: Command) -> None:
    code, _, err = command("--fix")
    assert code == 2
    assert "no rule file of yours is in force" in err


def test_fix_extends_shipped_tables_from_the_pack(command: Command, tmp_path: Path) -> None:
    """A mode is added by its value; each shipped table gets its row in the user's pack."""
    pack = tmp_path / "pack"
    pack.mkdir()
    settings, tables = MODE.split("---\n")
    (pack / "settings.yaml").write_text(settings)
    (pack / "tables.yaml").write_text(tables)
    code, out, _ = command("--rules", "pack", "--fix", "--format", "json")
    found = json.loads(out)
    assert {row["file"] for row in found["added"]} == {"pack/tables.yaml"}
    assert {row["table"] for row in found["added"]} >= {"redis.mode", "database.mode", "temporal.mode"}
    assert [finding for finding in found["findings"] if finding["id"] == "gap"] == []
    assert (pack / "tables.yaml").read_text().startswith(tables)
    assert (pack / "settings.yaml").read_text() == settings
    assert code in (0, 3)
