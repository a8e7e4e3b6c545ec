"""References of rule rows are loaded at their first use, from a module or from a file of a pack."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from compozy.errors import RuleTableError
from compozy.settings.reference import anchored_reference, is_reference, load_reference


def test_a_module_s_object_is_loaded() -> None:
    """As in an entry point."""
    assert load_reference("compozy.errors:RuleTableError") is RuleTableError


def test_a_file_s_object_is_loaded_once(tmp_path: Path) -> None:
    """The same file is the same module."""
    (tmp_path / "mine.py").write_text("class Mine:\n    pass\n")
    reference = anchored_reference("./mine.py:Mine", str(tmp_path / "rules.yaml"))
    assert load_reference(reference) is load_reference(reference)


def test_files_of_the_same_name_do_not_meet(tmp_path: Path) -> None:
    """Two packs may both have a `driver.py`."""
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "driver.py").write_text(f"NAME = '{name}'\n")
        found.append(load_reference(f"{tmp_path / name / 'driver.py'}:NAME"))
    assert found == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(None, "No such file", id="missing"),
        pytest.param("class Other: pass\n", "has no attribute 'Mine'", id="no-such-name"),
        pytest.param("class Mine(\n", "SyntaxError", id="syntax"),
        pytest.param("import nowhere_at_all\n", "nowhere_at_all", id="import"),
        pytest.param("raise ValueError('too bad')\n", "ValueError: too bad", id="raises"),
    ],
)
def test_unloadable_reference_reports_the_reason(tmp_path: Path, text: str | None, reason: str) -> None:
    """And no half-loaded module stays behind."""
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    before = set(sys.modules)
    with pytest.raises(RuleTableError, match=reason):
        load_reference(f"{file}:Mine")
    left = {name for name in set(sys.modules) - before if name.startswith("compozy_pack_")}
    assert all(hasattr(sys.modules[name], "Other") for name in left)


@pytest.mark.parametrize("text", ["compozy.errors", "a b:c", ":c", "a:", "a:b.c", "./mine:Mine", "mine.py"])
def test_text_of_another_form_is_not_a_reference(text: str) -> None:
    """`module:name`, or a file that ends in .py."""
    assert not is_reference(text)


def test_a_reference_to_a_module_is_not_anchored() -> None:
    """Only files are."""
    assert anchored_reference("a.b:C", "/pack/rules.yaml") == "a.b:C"
