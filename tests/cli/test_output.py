"""The printer: no foreign text reaches the terminal or JSON with control characters in it."""

from __future__ import annotations

import ast
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.project import write

import compozy
from compozy.base.control import escape_control
from compozy.cli.main import run
from compozy.cli.output import print_document, print_failure, print_json, print_line, print_table, shown, styled
from compozy.cli.run import print_output, print_result
from compozy.cli.status import print_status
from compozy.cli.workflow import print_listing, print_problems
from compozy.client.answers import (
    ComponentHealth,
    ExecutionAnswer,
    ExecutionList,
    HealthAnswer,
    RunAnswer,
    WorkerHealth,
    WorkflowAnswer,
    WorkflowList,
    WorkflowProblem,
)
from compozy.client.project_client import RunResult
from compozy.errors import DriverError, ProvisionError, ProvisionErrors

HOSTILE = "\x1b]0;owned\a\x1b[2J\x9b31m\r\u202etxt.exe"
ESCAPED = r"\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202etxt.exe"


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> OnTerminal:
    """Call a function with one terminal as both streams and return what it printed."""

    def printed_by(print_it: Callable[[], object]) -> str:
        screen = Terminal()
        with monkeypatch.context() as patched:
            patched.delenv("NO_COLOR", raising=False)
            patched.setattr(sys, "stdout", screen)
            patched.setattr(sys, "stderr", screen)
            print_it()
        return screen.getvalue()

    return printed_by


OnTerminal = Callable[[Callable[[], object]], str]


def health(text: str) -> HealthAnswer:
    part = ComponentHealth(mode=text, driver=text, healthy=False, error=text, address=text, data=text)
    worker = WorkerHealth(healthy=False, error=text)
    return HealthAnswer(ready=False, state=text, mode=text, pid=1, url=text, worker=worker, components={text: part})


FAILED = RunResult(RunAnswer(execution_id="a", workflow="w", status="failed", error=HOSTILE, started_at=""), "")
EXECUTION = ExecutionAnswer(id=HOSTILE, workflow=HOSTILE, version="1", status=HOSTILE, started_at=HOSTILE)
LISTING = WorkflowList(
    workflows=[WorkflowAnswer(id=HOSTILE, version=HOSTILE, definition={"description": HOSTILE})],
    problems=[WorkflowProblem(id=HOSTILE, message=HOSTILE)],
)
PRINTS: list[tuple[str, Callable[[], object]]] = [
    ("line", lambda: print_line(HOSTILE)),
    ("line-on-stderr", lambda: print_line(HOSTILE, err=True)),
    ("styled", lambda: print_line(styled(HOSTILE, "error"))),
    ("table", lambda: print_table([(HOSTILE, "x")], ("A", "B"))),
    ("value", lambda: print_line(shown({"a": HOSTILE}))),
    ("outputs", lambda: print_output({HOSTILE: HOSTILE, "list": [HOSTILE]})),
    ("failure", lambda: print_failure(DriverError(HOSTILE, hint=HOSTILE))),
    ("result", lambda: print_result(FAILED, "text")),
    ("status", lambda: print_status(health(HOSTILE))),
    ("listing", lambda: print_listing(LISTING, ExecutionList(executions=[EXECUTION]))),
    ("problems", lambda: print_problems(LISTING)),
    ("json", lambda: print_json({HOSTILE: [HOSTILE]})),
    ("json-failure", lambda: print_failure(DriverError(HOSTILE), "json")),
]  # fmt: skip


@pytest.mark.parametrize("print_it", [pytest.param(call, id=name) for name, call in PRINTS])
def test_printer_escapes_control_characters_on_a_terminal(terminal: OnTerminal, print_it: Callable[[], object]) -> None:
    printed = terminal(print_it)
    for colour in ("\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[90m"):
        printed = printed.replace(colour, "")
    assert "owned" in printed
    assert escape_control(printed) == printed


def test_printer_keeps_its_own_colours_on_a_terminal(terminal: OnTerminal) -> None:
    printed = terminal(lambda: print_line(f"{styled('bad', 'error')} \x1b[31mnot ours\x1b[0m"))
    assert printed == "\x1b[31m\x1b[1mbad\x1b[0m \\x1b[31mnot ours\\x1b[0m\n"


def test_json_output_keeps_the_value_of_hostile_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": HOSTILE})
    printed = capsys.readouterr().out
    assert json.loads(printed)["a"] == HOSTILE
    assert escape_control(printed) == printed


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_output_is_valid_in_every_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    print_document({"name": "Grüße 日本語 👩"})
    sys.stdout.flush()
    assert json.loads(raw.getvalue().decode("utf-8")) == {"name": "Grüße 日本語 👩"}


@pytest.mark.parametrize(
    "args",
    [
        pytest.param([HOSTILE], id="command"),
        pytest.param(["config", "explain", HOSTILE], id="explain"),
        pytest.param(["config", "explain", "--finding", HOSTILE], id="explain-finding"),
        pytest.param(["config", "diff", HOSTILE, "memory"], id="diff"),
        pytest.param(["config", "show", "--mode", HOSTILE], id="mode"),
        pytest.param(["config", "validate", "--set", f"{HOSTILE}=1"], id="set"),
        pytest.param(["config", "validate"], id="validate"),
        pytest.param(["config", "validate", "--format", "json"], id="validate-json"),
        pytest.param(["config", "validate", "--format", "sarif"], id="validate-sarif"),
        pytest.param(["config", "validate", "--format", "github"], id="validate-github"),
        pytest.param(["config", "diagnostics"], id="diagnostics"),
        pytest.param(["rules", "show", HOSTILE], id="rules"),
        pytest.param(["workflow", "run", f"./{HOSTILE}.yaml"], id="workflow-file"),
        pytest.param(["plan", "--host", HOSTILE], id="plan"),
    ],
)
def test_commands_escape_control_characters(
    args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 'name: "\\e]0;owned\\a\\u202e"\n"\\e]0;owned\\a": 1\nmode: "\\e]0;owned\\a"\n')
    monkeypatch.chdir(tmp_path)
    run(args)
    printed = "".join(capsys.readouterr())
    assert "owned" in printed
    assert escape_control(printed) == printed


def test_only_the_printer_writes_to_the_terminal() -> None:
    """`print`, `click.echo` and writes to the standard streams occur in no other module of the command line."""
    root = Path(compozy.__file__).parent
    modules = [path for path in root.rglob("*.py") if path.parent.name not in ("generate", "testing")]
    found = {
        str(path.relative_to(root)) for path in modules if any(map(_prints, ast.walk(ast.parse(path.read_text()))))
    }
    assert found == {"cli/output.py"}


def _prints(node: ast.AST) -> bool:
    called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    return called in ("print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write")


def test_several_failures_are_escaped_one_by_one(terminal: OnTerminal) -> None:
    failure = DriverError(HOSTILE)
    both = ProvisionErrors([_provision(failure), _provision(failure)])
    assert terminal(lambda: print_failure(both)).count(ESCAPED) == 2


def _provision(failure: DriverError) -> ProvisionError:
    return ProvisionError("redis", failure.reason)


@pytest.mark.parametrize(("term", "expected"), [("xterm", False), ("dumb", True)])
def test_dumb_terminal_gets_no_colours(
    term: str, expected: bool, terminal: OnTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)

    assert (terminal(lambda: print_line(styled("a", "ok"))) == "a\n") is expected
