"""Log lines: their forms, where they go, and the table of events in the documentation."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import compozy
from compozy.cli.logqueue import LogQueue
from compozy.cli.logs import JsonFormatter, LogSettings, note_later, start_logging
from compozy.errors import DriverError
from compozy.settings.redact import Redactor

ENGINE = Path(compozy.__file__).parent
TABLE = Path(__file__).parents[2] / "docs" / "reference" / "log-events.md"
EVENT = re.compile(r"[a-z]+\.[a-z_]+")
LOGGERS = ("log", "lines")


@pytest.fixture
def clean() -> Iterator[None]:
    """Remove the handlers of a test from the loggers."""
    root, levels = logging.getLogger(), {name: logging.getLogger(name).level for name in ("compozy", "compozy.note")}
    yield
    for handler in [one for one in root.handlers if isinstance(one, LogQueue)]:
        handler.close()
        root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def as_json(record: dict[str, object], secrets: tuple[str, ...] = ()) -> dict[str, object]:
    found: dict[str, object] = json.loads(JsonFormatter(Redactor(secrets)).format(logging.makeLogRecord(record)))
    return found


def test_json_line_has_time_level_event_logger_and_fields() -> None:
    line = as_json(
        {"msg": "server.starting", "levelname": "INFO", "name": "compozy.server", "created": 0.25, "mode": "memory"}
    )
    assert line == {
        "time": "1970-01-01T00:00:00.250+00:00", "level": "info", "event": "server.starting",
        "logger": "compozy.server", "mode": "memory",
    }  # fmt: skip


def test_json_line_of_embedded_server_keeps_its_name() -> None:
    line = as_json(
        {"msg": "child.log valkey: x", "name": "compozy.child", "event": "child.log", "child": "valkey", "line": "x"}
    )
    assert (line["event"], line["logger"], line["line"]) == ("child.log", "compozy.child.valkey", "x")
    assert "text" not in line


def test_json_line_of_sentence_has_event_and_text() -> None:
    line = as_json({"msg": "valkey ended", "name": "compozy.drivers", "event": "child.restarted", "restarts": 2})
    assert (line["event"], line["text"], line["restarts"]) == ("child.restarted", "valkey ended", 2)


def test_json_line_redacts_secrets_in_every_field() -> None:
    secret = 'quo"ted\\canary'
    record = {"msg": f"a {secret}", "reason": secret, "error": ValueError(secret), "list": [secret], "count": 3}
    text = json.dumps(as_json(record, (secret,)))
    assert "canary" not in text
    assert as_json(record, (secret,))["count"] == 3


@pytest.mark.usefixtures("clean")
def test_log_file_is_appended_to_and_notes_stay_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "compozy.log"
    for number in range(2):
        start_logging(LogSettings("info", "json", str(file)), Redactor(()))
        logging.getLogger("compozy.server").info("server.ready", extra={"number": number})
        note_later("a note")
        for handler in logging.getLogger().handlers:
            handler.flush()
    events = [json.loads(line)["event"] for line in file.read_text().splitlines()]
    assert events == ["server.ready", "server.ready"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert capfd.readouterr().err == "note: a note\n" * 2


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("kind", ["link", "directory", "missing"])
def test_unwritable_log_file_is_refused(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "log"
    if kind == "link":
        (tmp_path / "victim").touch()
        file.symlink_to(tmp_path / "victim")
    elif kind == "directory":
        file.mkdir()
    else:
        file = tmp_path / "no" / "log"
    with pytest.raises(DriverError, match=f"log.file: {re.escape(str(file))} cannot be written") as caught:
        start_logging(LogSettings(file=str(file)), Redactor(()))
    assert caught.value.hint


def logged_events() -> Iterator[tuple[str, str]]:
    """Yield the names of all events in the code and the level of each call that has a fixed one."""
    for file in ENGINE.rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            owner = getattr(getattr(call.func, "value", None), "id", None)
            texts = [
                node.value for node in ast.walk(call) if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
            if (owner in LOGGERS and name in ("debug", "info", "warning", "error")) or name == "report":
                level = name if owner in LOGGERS else ""
                yield from ((text, level) for text in texts if EVENT.fullmatch(text))


def test_documented_events_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| ([^|]+) \|", TABLE.read_text(), re.MULTILINE)
    documented = {name: level for name, level in rows if name != "log.dropped"}
    logged = set(logged_events())
    assert {name for name, _ in logged} == set(documented)
    assert [(name, level) for name, level in logged if level and level not in documented[name]] == []


def test_descriptor_of_log_file_is_not_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(DriverError):
        start_logging(LogSettings(file=str(tmp_path)), Redactor(()))
    assert len(os.listdir("/proc/self/fd")) == before
