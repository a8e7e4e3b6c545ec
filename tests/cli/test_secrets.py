"""Secrets on the command line, in files that others read, in paths and in tracebacks."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.project import write

from compozy.cli import redaction
from compozy.cli.main import run
from compozy.cli.output import print_failure
from compozy.client.remote import ServerError

CANARY = "cAnAry-7f3a9c51-key"
BUG = """
import compozy.provisioning.doctor
from compozy.cli.main import main
def broken(lifecycle, *_):
    raise RuntimeError("cannot use " + lifecycle.resolve().get("redis.password") + " of Redis")
compozy.provisioning.doctor.examine = broken
main(["doctor"])
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    redaction._read.clear()


def shown(args: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, object], str]:
    code = run(["config", "show", "--format", "json", *args])
    captured = capsys.readouterr()
    return code, json.loads(captured.out or "{}"), captured.err


@pytest.mark.parametrize("content", ["a title", "a title\n", "a title\r\n", "\ufeffa title\n"])
def test_set_reads_a_value_from_a_file(content: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "title.txt").write_bytes(content.encode())
    _, found, _ = shown(["--set", "name=@title.txt"], capsys)
    assert found["settings"]["name"]["value"] == "a title"  # type: ignore[index]


def test_set_reads_a_value_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("piped\n"))
    _, found, _ = shown(["--set", "name=@-"], capsys)
    assert found["settings"]["name"]["value"] == "piped"  # type: ignore[index]


def test_set_takes_a_doubled_at_sign_literally(capsys: pytest.CaptureFixture[str]) -> None:
    _, found, _ = shown(["--set", "name=@@home"], capsys)
    assert found["settings"]["name"]["value"] == "@home"  # type: ignore[index]


@pytest.mark.parametrize("name", [CANARY, "."])
def test_set_reports_an_unreadable_file_without_repeating_its_name(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, err = shown(["--set", f"redis.password=@{name}"], capsys)
    assert (code, found["error"]["id"]) == (2, "usage")  # type: ignore[index]
    assert "--set redis.password: the file cannot be read" in err
    assert CANARY not in err


@pytest.mark.parametrize(
    ("args", "warned"),
    [
        pytest.param(["--set", f"server.api_key={CANARY}"], True, id="key"),
        pytest.param(["--set", f"redis.url=redis://:{CANARY}@localhost"], True, id="url"),
        pytest.param(["--set", f"server.api_key=@@{CANARY}"], True, id="doubled-at"),
        pytest.param(["--set", "server.api_key=@key"], False, id="file"),
        pytest.param(["--set", "redis.url=redis://localhost"], False, id="no-secret"),
        pytest.param(["--port", "9000"], False, id="port"),
    ],
)
def test_secret_on_the_command_line_is_a_warning(
    args: list[str], warned: bool, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "key").write_text(f"{CANARY}\n")
    code = run(["config", "validate", "--redis-mode", "distributed", *args])
    captured = capsys.readouterr()
    assert code == 0
    assert ("warning[secret.on-command-line]" in captured.out) is warned
    assert CANARY not in captured.out + captured.err


def test_settings_of_the_python_interface_are_not_on_the_command_line() -> None:
    import compozy

    lifecycle = compozy.load(settings={"server.api_key": CANARY}, environment={})
    lifecycle.resolve()
    assert lifecycle.validate().findings == ()


@pytest.mark.parametrize("key", [f"{CANARY}\n", f"{CANARY}\r", f"{CANARY} x", "schlüssel-" + CANARY, CANARY + "\x7f"])
@pytest.mark.parametrize("command", [["status"], ["config", "validate"], ["workflow", "list"]])
def test_key_invalid_in_a_header_is_rejected_without_showing_it(
    command: list[str], key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMPOZY_SERVER__API_KEY", key)
    assert run(command) == 2
    captured = capsys.readouterr()
    assert "server.api_key: expected visible ASCII characters" in captured.out + captured.err
    assert CANARY not in captured.out + captured.err


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("command", ["plan", "doctor"])
def test_path_with_a_secret_is_redacted(
    command: str, form: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_TOKEN", CANARY)
    write(project, "mode: persistent\ndatabase: {path: './${MY_TOKEN}/rows.db'}\n")
    assert run([command, "--format", form]) in (0, 4)
    captured = capsys.readouterr()
    assert "[REDACTED]/rows.db" in captured.out
    assert CANARY not in captured.out + captured.err


def test_error_with_the_path_of_a_secret_is_redacted(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_TOKEN", CANARY)
    (project / CANARY).write_text("a file where a directory should be")
    write(project, "mode: persistent\ndatabase: {path: './${MY_TOKEN}/rows.db'}\n")
    assert run(["workflow", "list"]) == 4
    captured = capsys.readouterr()
    assert "[REDACTED]" in captured.err
    assert CANARY not in captured.out + captured.err


@pytest.mark.parametrize(
    ("file", "text", "mode", "warned"),
    [
        pytest.param(".env", f"COMPOZY_SERVER__API_KEY={CANARY}\n", 0o644, True, id="setting"),
        pytest.param(".env", f"OPENAI_API_KEY={CANARY}\n", 0o644, True, id="variable-of-a-tool"),
        pytest.param(".env", f"REDIS_URL=redis://:{CANARY}@h\n", 0o604, True, id="url"),
        pytest.param(".env", f"COMPOZY_SERVER__API_KEY={CANARY}\n", 0o640, False, id="group"),
        pytest.param(".env", f"COMPOZY_SERVER__API_KEY={CANARY}\n", 0o600, False, id="private"),
        pytest.param(".env", "COMPOZY_MODE=memory\nOPENAI_API_KEY=\n", 0o644, False, id="no-secret"),
        pytest.param("compozy.yaml", f"redis: {{password: {CANARY}}}\n", 0o644, True, id="configuration"),
        pytest.param("compozy.yaml", "redis: {password: '${PATH}'}\n", 0o644, False, id="reference"),
    ],
)
def test_doctor_warns_about_secrets_readable_by_every_user(
    file: str, text: str, mode: int, warned: bool, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / file).write_text(text)
    (project / file).chmod(mode)
    run(["doctor", "--format", "json", "--mode", "foo"])
    checks = {check["id"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert ("secrets.permissions" in checks) is warned
    if warned:
        check = checks["secrets.permissions"]
        assert (check["status"], check["fix"]) == ("warn", f"chmod 600 {project / file}")


@pytest.mark.parametrize("source", ["environment", "file", "flag"])
def test_traceback_of_a_bug_shows_no_secret(source: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = BUG
    if source == "environment":
        monkeypatch.setenv("COMPOZY_REDIS__PASSWORD", CANARY)
    elif source == "file":
        write(project, f"redis: {{password: {CANARY}}}\n")
    else:
        code = code.replace('["doctor"]', f'["doctor", "--set", "redis.password={CANARY}"]')
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "RuntimeError: cannot use [REDACTED] of" in result.stderr
    assert CANARY not in result.stdout + result.stderr.replace(f"redis.password={CANARY}", "")


def test_traceback_of_a_thread_shows_no_secret(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setenv("SOME_TOKEN", CANARY)
    redaction.install_hooks()

    def fail() -> None:
        raise ValueError(f"bad {CANARY}\x1b[2J")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    err = capsys.readouterr().err
    assert r"ValueError: bad [REDACTED]\x1b[2J" in err
    assert "in fail" in err


def test_traceback_keeps_its_frames_when_secrets_cannot_be_determined(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    redaction.remember(None)  # type: ignore[arg-type]
    try:
        raise ValueError(CANARY)
    except ValueError as error:
        redaction.print_traceback(type(error), error, error.__traceback__)
    err = capsys.readouterr().err
    assert "test_secrets.py" in err
    assert CANARY not in err.replace("raise ValueError(CANARY)", "")


@pytest.mark.parametrize("name", ["PWD", "OLDPWD"])
def test_working_directory_of_the_shell_is_not_a_secret(
    name: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The names end like those of passwords."""
    monkeypatch.setenv(name, str(project))
    (project / ".compozy").write_text("a file where a directory should be")
    write(project, "mode: persistent\n")
    assert run(["workflow", "list"]) == 4
    assert f"{project}/.compozy" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["text", "json"])
def test_text_in_the_place_of_the_map_of_secrets_is_not_shown(
    form: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A type error does not quote what was written."""
    write(project, f"secrets: {CANARY}\n")
    assert run(["config", "validate", "--format", form]) == 2
    captured = capsys.readouterr()
    assert "secrets: expected a map" in captured.out + captured.err
    assert CANARY not in captured.out + captured.err


def test_hint_for_a_missing_key_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    """The hint shows no text in a form that redaction takes for a secret."""
    print_failure(ServerError({"id": "http.unauthorized"}))
    assert "[REDACTED]" not in capsys.readouterr().err
