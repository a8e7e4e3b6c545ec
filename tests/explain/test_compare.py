"""Two resolutions beside each other: what differs, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.project import resolved

from compozy.explain.compare import compare
from compozy.explain.diagnostics import diagnostics
from compozy.resolution.validate import validate


def folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


def test_equal_configurations_have_no_difference(tmp_path: Path) -> None:
    """Also when a value comes from another source."""
    left, right = resolved(tmp_path, "mode: memory\n"), resolved(tmp_path)
    assert compare(left, right) == ()


def test_each_side_names_its_row_or_source(tmp_path: Path) -> None:
    """Components first, then settings."""
    found = compare(resolved(tmp_path), resolved(tmp_path, flags={"redis.mode": "persistent"}))
    shown = {
        (one.kind, one.key): (str(one.left and one.left.origin), str(one.right and one.right.origin)) for one in found
    }
    assert shown["component", "redis.mode"] == ("rule redis.mode/inherits-memory", "rule redis.mode/own-persistent")
    assert shown["setting", "redis.mode"] == ("rule redis.mode/inherits-memory", "flag --set redis.mode")
    assert shown["setting", "redis.standalone.persistence.enabled"] == (
        "rule redis.persistence/kept-nowhere",
        "rule redis.persistence/kept-on-disk",
    )


def test_a_folder_of_another_name_makes_no_path_different(tmp_path: Path) -> None:
    """Derived paths are compared as seen from their file."""
    text = "mode: persistent\nname: shop\ndatabase: {path: ./a.db}\n"
    left, right = resolved(folder(tmp_path, "a"), text), resolved(folder(tmp_path, "b"), text)
    assert compare(left, right) == ()


def test_different_secret_is_reported_and_not_shown(tmp_path: Path) -> None:
    """Neither side."""
    left = resolved(tmp_path, "redis: {password: hunter2-left}\n")
    right = resolved(tmp_path, "redis: {password: hunter2-right}\n")
    found = compare(left, right)
    assert [(one.key, one.left and one.left.value, one.right and one.right.value) for one in found] == [
        ("redis.password", "[REDACTED]", "[REDACTED]")
    ]
    assert "hunter2" not in repr(found)


def test_diagnostics_count_the_settings_of_each_source(tmp_path: Path) -> None:
    """Files, settings and problems of each, what was given and what was found."""
    found = resolved(
        tmp_path, "mode: foo\nname: a\nnmae: b\n", dotenv="COMPOZY_NAME=c\n", environment={"COMPOZY_X": "1"}
    )
    report: Any = diagnostics(found, validate(found))
    counted = {one["kind"]: (one["files"], one["settings"], one["problems"]) for one in report["sources"]}
    assert (counted["env"], counted["dotenv"], counted["file"]) == (
        ([], 0, 1), ([".env"], 1, 0), (["compozy.yaml"], 2, 1),
    )  # fmt: skip
    assert list(report["given"]) == ["mode", "name"]
    assert [one["id"] for one in report["findings"]] == ["variable.unknown", "mode.unknown", "key.unknown"]
    assert (report["machine"], report["rules"]["packs"]) == ({"valkey.binary": "found"}, [])
