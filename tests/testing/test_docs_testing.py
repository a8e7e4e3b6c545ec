"""The examples of the page on testing are tests that pass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .suite_run import run_tests

pytestmark = pytest.mark.distributed

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_every_example_is_a_passing_test(tmp_path: Path) -> None:
    """A reader copies them into a project and runs them."""
    tests = [text for text in EXAMPLES if "def test_" in text]
    run = run_tests(tmp_path, {f"test_example_{number}.py": text for number, text in enumerate(tests)})
    assert set(run.outcomes.values()) == {"passed"}, run.output
    assert len(run.outcomes) == sum(text.count("def test_") for text in tests) + 2  # one runs in three modes


def test_every_fixture_of_the_plugin_is_on_the_page() -> None:
    """A new fixture is explained."""
    plugin = PAGE.parents[1] / "engine" / "compozy" / "testing" / "plugin.py"
    fixtures = re.findall(r"@pytest\.fixture[^\n]*\ndef (\w+)", plugin.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in fixtures if f"`{name}`" not in page and name != "compozy_settings"] == []
