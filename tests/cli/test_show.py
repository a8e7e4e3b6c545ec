"""`compozy workflow show`, `cancel`, `terminate` and `signal` without a running server."""

from __future__ import annotations

import json
from pathlib import Path

import peewee
import pytest

from compozy.cli.main import run
from compozy.store import Execution, Store, TaskExecution

ENDED = Execution("ended", "w", "1", "completed", {}, "2001-01-01T00:00:00.000000Z", "2001-01-01T00:00:01.000000Z")
TASK = TaskExecution("ended", "fetch", 0, "basic", "failed", ENDED.started_at, ENDED.finished_at, 3, "no luck")
TASK_JSON = {
    "path": "fetch", "iteration": 0, "type": "basic", "status": "failed", "started_at": ENDED.started_at,
    "finished_at": ENDED.finished_at, "attempt": 3, "error": "no luck",
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which no server runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def stored(project: Path) -> Path:
    """A persistent project with one execution."""
    (project / "compozy.yaml").write_text("mode: persistent\ndatabase: {path: ./rows.db}\n", encoding="utf-8")
    store = Store(peewee.SqliteDatabase(str(project / "rows.db")))
    store.migrate()
    store.record_finished(ENDED, [TASK])
    return project


def test_show_without_server_reads_the_database(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workflow", "show", "ended", "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"format_version": 1, **ENDED.to_json(), "tasks": [TASK_JSON]}
    assert "reading its files and its database" in printed.err


def test_show_lists_the_tasks_of_an_execution(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workflow", "show", "ended"]) == 0
    header, row = capsys.readouterr().out.splitlines()[-2:]
    assert header.split() == ["TASK", "TYPE", "STATUS", "ATTEMPT", "STARTED", "FINISHED", "ERROR"]
    assert row.split() == ["fetch", "basic", "failed", "3", ENDED.started_at, ENDED.finished_at, "no", "luck"]


def test_show_without_server_names_unknown_execution(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workflow", "show", "other"]) == 2
    assert 'execution "other" does not exist' in capsys.readouterr().err


@pytest.mark.parametrize("words", ["show", "cancel", "terminate", "signal"])
def test_command_without_server_reports_how_to_start_one(
    words: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In memory mode, where no earlier execution can be read, and as `compozy status` does."""
    assert run(["workflow", words, "hello-1", *(["approved"] if words == "signal" else [])]) == 4
    printed = capsys.readouterr().err
    assert run(["status"]) == 4
    assert printed == capsys.readouterr().err
    assert f"no server of the project in {project} is running" in printed
    assert "start one with compozy start" in printed
