"""`pytest --compozy-cover` reports which rows decided in a run, and fails it below a threshold."""

from __future__ import annotations

from pathlib import Path

import pytest

from compozy.testing.plugin import percentage

from .suite_run import run_tests

PACK = """
tables:
  - table: zed
    stage: resolve
    hit: unique
    about: z
    inputs: {mode: {decision: mode}}
    outputs: {out: [1, 2, 3]}
    rows:
      - {id: kept, when: {mode: persistent}, then: {out: 1}, because: b}
      - {id: lost, when: {mode: memory}, then: {out: 2}, because: b}
      - {id: far, when: {mode: distributed}, then: {out: 3}, because: b}
"""
RESOLVING = """
import compozy


def test_resolving():
    compozy.load(settings={{"mode": "{mode}"}}, environment={{}}).resolve()
"""


@pytest.mark.parametrize(
    ("options", "minimum", "code", "verdict"),
    [
        pytest.param("-p xdist -n 2", "67", 1, "(66.6 %), below 67 %", id="two-processes-below"),
        pytest.param("", "66", 0, "(66.6 %), at least 66 %", id="one-process-reached"),
    ],
)
def test_the_run_fails_below_the_threshold(tmp_path: Path, options: str, minimum: str, code: int, verdict: str) -> None:
    (tmp_path / "compozy.yaml").write_text("rules: [./pack]\n")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "zed.yaml").write_text(PACK)
    tests = {f"test_{mode}.py": RESOLVING.format(mode=mode) for mode in ("memory", "persistent")}
    run = run_tests(tmp_path, tests, {"PYTEST_ADDOPTS": f"{options} --compozy-cover-min {minimum}"})
    assert set(run.outcomes.values()) == {"passed"}, run.output
    assert "pack/zed.yaml:12:14: zed/far" in run.output
    assert verdict in run.output
    assert run.code == code


@pytest.mark.parametrize("text", ["nan", "101", "-1", "much"])
def test_threshold_outside_0_to_100_is_rejected(text: str) -> None:
    assert percentage("100") == 100
    with pytest.raises(ValueError, match=text):
        percentage(text)
