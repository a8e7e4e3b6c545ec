"""JSON from the command line: any invalid text is a usage error and not a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from compozy.cli.json_input import parse_json, read_argument
from compozy.cli.main import run
from compozy.errors import UsageError

HUGE = "9" * 5000


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(["workflow", "run", "x.yaml", "--input", f'{{"a": {HUGE}}}'], id="input"),
        pytest.param(["workflow", "run", "x.yaml", "--input", "@huge.json"], id="input-file"),
        pytest.param(["workflow", "signal", "x", "y", "--payload", HUGE], id="payload"),
        pytest.param(["workflow", "import", "huge.json"], id="import"),
    ],
)
def test_number_of_5000_digits_is_a_usage_error(
    args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "huge.json").write_text(f'{{"a": {HUGE}}}', encoding="utf-8")
    assert run(args) == 2
    assert "is not JSON: Exceeds the limit" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["{", pytest.param("[" * 100_000, id="deep"), '{"a": 1, "a": 2}', "NaN", "[-Infinity]", "[1e999]"]
)
def test_invalid_json_input_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--payload"):
        parse_json(text, "--payload")


@pytest.mark.parametrize("name", ["missing", "latin", "."])
def test_unreadable_file_is_a_usage_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="cannot be read"):
        read_argument(f"@{tmp_path / name}", "--input")
