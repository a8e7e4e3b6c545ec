"""`compozy memory` without a server: on a Redis that is kept, and where none is."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from compozy.cli.main import run
from compozy.testing.servers import RedisServer

MEMORIES = """
memories:
  - {id: chat, type: message_count, max_messages: 3, ttl: 1h, redact: ["[0-9]{4}-[0-9]{4}"]}
  - {id: other}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def project(home: Path, redis_server: RedisServer) -> Path:
    """A project on an external Redis, which answers without a server of the project."""
    url = redis_server.url_of(14)
    with closing(Redis.from_url(url)) as client:
        client.flushdb()
    (home / "compozy.yaml").write_text(f"name: shop\nredis: {{mode: distributed, url: '{url}'}}\n{MEMORIES}")
    return home


def memory(*arguments: str, code: int = 0) -> None:
    assert run(["memory", *arguments]) == code


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Return the JSON that a command prints."""
    capsys.readouterr()
    memory(*arguments, "--format", "json")
    return json.loads(capsys.readouterr().out)


def test_messages_are_appended_shown_counted_cleared_and_deleted(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory("append", "chat", "ada/ü", "card 1234-5678")
    memory("append", "chat", "ada/ü", "--role", "assistant", "\x1b[31mred\nnext")
    memory("append", "chat", "ada/ü", "--json", '[{"content": {"n": 1}}, {"content": 2}]')
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "ada/ü has 1 message", "ada/ü has 2 messages", "ada/ü has 3 messages, 1 evicted",
    ]  # fmt: skip

    memory("show", "chat", "ada/ü")
    assert capsys.readouterr().out == 'assistant: \\x1b[31mred\nnext\nuser: {"n": 1}\nuser: 2\n'
    memory("show", "chat", "ada/ü", "--limit", "1")
    out, err = capsys.readouterr()
    assert out == "user: 2\n"
    assert err.endswith("\n2 older messages are not shown\n")

    assert printed(capsys, "stats", "chat", "ada/ü")["stats"]["appended"] == 4
    listed = printed(capsys, "list")["memories"]
    assert [(one["id"], one["keys"], one["entries"]) for one in listed] == [("chat", 1, 3), ("other", 0, 0)]
    assert [one["key"] for one in printed(capsys, "list", "chat")["keys"]] == ["ada/ü"]

    assert printed(capsys, "clear", "chat", "ada/ü")["removed"] == 3
    assert printed(capsys, "show", "chat", "ada/ü")["messages"] == []
    assert printed(capsys, "delete", "chat", "ada/ü")["removed"] == 0
    memory("show", "chat", "ada/ü", code=2)
    assert 'memory chat: key "ada/ü" does not exist' in capsys.readouterr().err


def test_content_is_read_from_a_file_or_begins_with_an_at_sign(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "note.txt").write_text("two\nlines\n", encoding="utf-8")
    memory("append", "chat", "k", "@note.txt")
    memory("append", "chat", "k", "@@ada: hello")
    found = printed(capsys, "show", "chat", "k")["messages"]
    assert [one["content"] for one in found] == ["two\nlines", "@ada: hello"]
    memory("append", "chat", "k", "@missing.txt", code=2)
    assert "CONTENT @missing.txt cannot be read" in capsys.readouterr().err


def test_export_and_import_keep_messages_with_their_times(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory("append", "chat", "k", "--json", '[{"role": "system", "content": 1, "at": "2025-01-02T03:04:05Z"}]')
    memory("append", "other", "k", "--json", json.dumps([{"content": number} for number in range(999)]))
    memory("append", "other", "k", "--json", '[{"content": "ü"}, {"content": null}]')
    before = [printed(capsys, "show", name, "k", "--limit", "1000")["messages"] for name in ("chat", "other")]
    memory("export", "--output", "all.json")
    assert "2 keys written to all.json" in capsys.readouterr().err
    memory("delete", "chat", "k")
    memory("append", "other", "k", "replaced by the import")

    assert printed(capsys, "import", "all.json")["imported"] == {"chat": 1, "other": 1}
    after = [printed(capsys, "show", name, "k", "--limit", "1000")["messages"] for name in ("chat", "other")]
    kept = [[(one["role"], one["content"], one["at"]) for one in messages] for messages in (before[0], after[0])]
    assert kept[0] == kept[1] == [("system", 1, "2025-01-02T03:04:05.000Z")]
    assert [one["content"] for one in after[1]] == [one["content"] for one in before[1]] == [*range(1, 999), "ü", None]
    assert printed(capsys, "stats", "other", "k")["stats"]["entries"] == 1001


@pytest.mark.parametrize(
    ("exported", "reason"),
    [
        pytest.param('{"memories": 1}', "all.json is not an export of memories", id="shape"),
        pytest.param('{"memories": [], "format_version": 2}', "this version reads 1", id="newer"),
        pytest.param(
            '{"memories": [{"id": "chat", "keys": [{"key": "k", "messages": [{"role": "x"}]}]}]}',
            "all.json: memory chat, key k: message 1 has no content", id="message",
        ),
        pytest.param('{"memories": [{"id": "chatt", "keys": []}]}', 'memory "chatt" does not exist', id="memory"),
    ],
)  # fmt: skip
def test_import_rejects_an_unusable_file_without_changes(
    project: Path, capsys: pytest.CaptureFixture[str], exported: str, reason: str
) -> None:
    (project / "all.json").write_text(exported)
    memory("import", "all.json", code=2)
    assert reason in capsys.readouterr().err
    assert {one["keys"] for one in printed(capsys, "list")["memories"]} == {0}


def test_project_without_memories_names_the_setting(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "compozy.yaml").write_text("mode: persistent\n")
    memory("list")
    assert "no memories: declare them under memories: in compozy.yaml" in capsys.readouterr().out
    memory("show", "chat", "k", code=2)
    assert "declare it under memories: in compozy.yaml" in capsys.readouterr().err


def test_memory_mode_without_a_server_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "compozy.yaml").write_text(MEMORIES)
    memory("list", code=4)
    err = capsys.readouterr().err
    assert f"no server of the project in {home} is running; without one this configuration keeps no memories" in err
    assert "fix: start one with compozy start" in err


@pytest.mark.persistent
def test_persistent_project_keeps_messages_between_commands(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "compozy.yaml").write_text(f"mode: persistent\n{MEMORIES}")
    memory("append", "chat", "k", "kept")
    capsys.readouterr()
    memory("show", "chat", "k")
    out, err = capsys.readouterr()
    assert out == "user: kept\n"
    assert "no server of this project is running; using its Redis" in err
