"""Projects that share a Temporal, a PostgreSQL server or a Redis have places of their own, or are warned."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.project import configured, resolved

from compozy.resolution.resolve import resolve
from compozy.resolution.validate import validate

REMOTE = "temporal: {mode: remote, encryption_key_file: keys.txt}\n"
SHARED = f"mode: distributed\n{REMOTE}"


@pytest.mark.parametrize(
    ("text", "queue"),
    [
        pytest.param("", "compozy", id="embedded"),
        pytest.param("mode: persistent\nname: shop", "compozy", id="embedded-with-name"),
        pytest.param(f"{REMOTE}name: shop", "shop", id="remote-with-name"),
        pytest.param(REMOTE, "orders", id="remote-in-a-directory"),
        pytest.param("temporal: {mode: remote, task_queue: mine}\nname: shop", "mine", id="written"),
    ],
)
def test_task_queue_on_a_remote_temporal_has_the_name_of_the_project(text: str, queue: str, tmp_path: Path) -> None:
    """An embedded Temporal serves one project, whose directory may be renamed."""
    folder = tmp_path / "orders"
    folder.mkdir()
    assert resolved(folder, text).get("temporal.task_queue") == queue


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(SHARED, {"shared.task_queue", "shared.database", "shared.redis"}, id="defaults"),
        pytest.param(f"{SHARED}name: shop\ndatabase: {{name: shop}}\nredis: {{db: 0}}", set(), id="written"),
        pytest.param(
            f"{SHARED}name: shop\ndatabase: {{url: 'postgres://db/shop'}}\nredis: {{url: 'redis://cache/1'}}",
            set(),
            id="urls",
        ),
        pytest.param(
            f"{SHARED}name: shop\ndatabase: {{url: 'postgres://db'}}\nredis: {{url: 'redis://cache'}}",
            {"shared.database", "shared.redis"},
            id="urls-without-name-and-number",
        ),
        pytest.param("mode: persistent", set(), id="embedded"),
    ],
)
def test_places_shared_with_other_projects_are_named(text: str, expected: set[str], tmp_path: Path) -> None:
    """One warning each, until a value is written."""
    found = validate(resolve(configured(tmp_path, text), {"valkey.binary": "found"}))
    shared = {finding.id: finding.severity for finding in found if finding.id.startswith("shared.")}
    assert shared == dict.fromkeys(expected, "warning")
