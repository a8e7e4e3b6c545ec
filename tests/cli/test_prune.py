"""`compozy prune` without a server: it works on the rows of the project's database."""

from __future__ import annotations

import json
from pathlib import Path

import peewee
import pytest

from compozy.cli.main import run
from compozy.store import Execution, Store

OLD = Execution("old", "w", "1", "completed", {}, "2001-01-01T00:00:00.000000Z", "2001-01-01T00:00:01.000000Z")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A persistent project with one old execution."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "compozy.yaml").write_text("mode: persistent\ndatabase: {path: ./rows.db}\n", encoding="utf-8")
    store = Store(peewee.SqliteDatabase(str(tmp_path / "rows.db")))
    store.migrate()
    store.correct(OLD)
    return tmp_path


def pruned(capsys: pytest.CaptureFixture[str], *arguments: str) -> int:
    """Return how many executions a run of the command removed."""
    assert run(["prune", *arguments, "--format", "json"]) == 0
    return int(json.loads(capsys.readouterr().out)["count"])


def test_old_executions_are_counted_and_removed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run removes nothing; the age comes from the flag or from the retention."""
    assert pruned(capsys, "--older-than", "876000h") == 0
    assert pruned(capsys, "--older-than", "0s", "--dry-run") == 1
    assert pruned(capsys, "--set", "executions.retention=720h") == 1
    assert pruned(capsys, "--older-than", "0s") == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param((), "executions are kept for ever", id="no-age"),
        pytest.param(("--older-than", "soon"), "--older-than soon: expected a duration", id="no-duration"),
    ],
)
def test_an_unusable_age_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], reason: str
) -> None:
    """Without a valid age no row is removed."""
    assert run(["prune", *arguments]) == 2
    assert reason in capsys.readouterr().err
