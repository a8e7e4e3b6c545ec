"""A rule pack adds a mode and a component, and nothing of Compozy changes for it."""

from __future__ import annotations

import json
import logging
import mailbox
import shutil
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compozy.cli.main import run
from compozy.drivers.protocol import LoopThread, StartContext
from compozy.errors import DriverError, NotFoundError, RuleTableError
from compozy.explain.show import resolved_json
from compozy.provisioning.lifecycle import Lifecycle
from compozy.provisioning.plan import make_plan
from compozy.resolution.configuration import Configuration, load_configuration
from compozy.resolution.resolve import Resolved
from compozy.resolution.validate import validate
from compozy.rulebook import check_rules, installed_packs, load_rulebook
from compozy.rulebook.files import rule_texts, shipped_texts
from compozy.settings.reference import load_reference
from compozy.tools import component, offered

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "rule-pack"
PACK = EXAMPLE / "pack"
FACTS = {"valkey.binary": "found"}
COMPOZY = str(Path(sys.executable).parent / "compozy")


def configured(directory: Path, environment: dict[str, str] | None = None, **flags: str) -> Configuration:
    return load_configuration(directory=str(directory), packs=[str(PACK)], flags=flags, environment=environment or {})


def resolved(directory: Path, environment: dict[str, str] | None = None, /, **flags: str) -> Resolved:
    return Lifecycle(configured(directory, environment, **flags), facts=FACTS).resolve()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        pytest.param({"mode": "ci"}, ("persistent", "memory", "memory", "mailer-console"), id="ci"),
        pytest.param({}, ("memory", "memory", "memory", "mailer-console"), id="default"),
        pytest.param({"mode": "persistent"}, ("persistent", "persistent", "persistent", "mailer-file"), id="kept"),
        pytest.param({"mode": "distributed"}, ("distributed", "remote", "distributed", "mailer-smtp"), id="sent"),
        pytest.param(
            {"mode": "ci", "mailer.mode": "persistent"}, ("persistent", "memory", "memory", "mailer-file"), id="mixed"
        ),
        pytest.param(
            {"mode": "ci", "database.driver": "postgres"},
            ("distributed", "memory", "memory", "mailer-console"),
            id="pg",
        ),
    ],
)
def test_the_mode_and_the_component_resolve(tmp_path: Path, flags: dict[str, str], expected: tuple[str, ...]) -> None:
    """Effective modes and the mailer's driver under each mode."""
    found = resolved(tmp_path, **flags)
    modes = tuple(found.components[name].mode for name in ("database", "temporal", "redis"))
    assert (*modes, found.components["mailer"].driver) == expected


def test_the_mode_of_a_pack_is_a_mode_without_findings(tmp_path: Path) -> None:
    """The mode's intended settings give no warning."""
    assert validate(resolved(tmp_path, mode="ci")) == ()


def test_unknown_mode_is_an_error_with_the_modes_of_the_pack(tmp_path: Path) -> None:
    """The list of valid modes is the setting's."""
    messages = [finding.message for finding in validate(resolved(tmp_path, mode="foo"))]
    assert messages == ['invalid mode "foo". Valid modes: memory, persistent, distributed, ci']


def test_new_settings_have_variables_flags_and_aliases(tmp_path: Path) -> None:
    """Variables, flags and aliases derive from a pack's row as from a shipped one."""
    found = resolved(tmp_path, {"COMPOZY_MAILER__SENDER": "me@example.com"}, **{"mailer.smtp.port": "2525"})
    assert (found.get("mailer.sender"), found.get("mailer.smtp.port")) == ("me@example.com", 2525)


def test_new_settings_take_part_in_suggestions_and_checks(tmp_path: Path) -> None:
    """A misspelled key of the pack is suggested, a wrong type is found."""
    (tmp_path / "compozy.yaml").write_text("mailer: {sendr: me, smtp: {port: many}}\n")
    found = {finding.id: finding.hint for finding in validate(resolved(tmp_path))}
    assert "mailer.sender" in found["key.unknown"]
    assert "key.type" in found


def test_a_secret_of_a_pack_is_never_shown(tmp_path: Path) -> None:
    """`secret` works for a pack's row."""
    found = resolved(tmp_path, **{"mailer.smtp.password": "canary-secret"})
    assert found.get("mailer.smtp.password") == "canary-secret"
    assert "canary-secret" not in str(resolved_json(found, "resolved", validate(found)))


@pytest.mark.parametrize(
    "row", ["before: unknown", "mode: ci, driver", "remote]}, mode: ci", "distributed]}, mode: ci"]
)
def test_leaving_a_row_of_the_mode_out_is_a_gap_with_a_proposal(row: str) -> None:
    """Verification names the table that has no answer for the new mode."""
    texts = rule_texts((str(PACK),))
    name = str(PACK / "mode.yaml")
    lines = [line for line in texts[name].splitlines() if row not in line]
    assert len(lines) == len(texts[name].splitlines()) - 1
    text = "\n".join(lines).replace("rows:\n\n", "\n").removesuffix("    rows:")
    reports = check_rules({**texts, name: text}).findings
    assert {report.id for report in reports} & {"gap", "unproduced"}
    assert all(report.proposal for report in reports if report.id == "gap")


def test_nothing_of_compozy_changes_for_the_pack() -> None:
    """No shipped rule knows the pack's words."""
    assert [name for name, text in shipped_texts().items() if "mailer" in text or "ci}" in text] == []


def test_the_plan_holds_the_pack_s_driver(tmp_path: Path) -> None:
    """A provision row of a pack is planned like the others; its file is found beside the rule file."""
    plan = make_plan(resolved(tmp_path, mode="persistent"))
    step = next(step for step in plan.steps if step.component == "mailer")
    assert step.factory == f"{PACK / 'mailer.py'}:FileMailer"
    assert step.options == {"sender": "compozy@localhost", "file": str(tmp_path / ".compozy" / "outbox.mbox")}
    assert plan.state_dir == str(tmp_path / ".compozy")


@pytest.fixture
def context() -> Iterator[StartContext]:
    loop = LoopThread()
    yield StartContext(loop, logging.getLogger("test").info, time.monotonic() + 10)
    loop.close()


def started(directory: Path, context: StartContext, **flags: str) -> Any:
    plan = make_plan(resolved(directory, **flags))
    step = next(step for step in plan.steps if step.component == "mailer")
    driver = load_reference(step.factory)(**step.options)
    driver.start(context)
    return driver


def test_mail_is_shown_in_memory_mode(
    tmp_path: Path, context: StartContext, capsys: pytest.CaptureFixture[str]
) -> None:
    """Console."""
    started(tmp_path, context).handle.send("you@example.com", "Hello", "Text")
    assert "Subject: Hello" in capsys.readouterr().err


def test_mail_is_kept_in_persistent_mode(tmp_path: Path, context: StartContext) -> None:
    """Mailbox."""
    driver = started(tmp_path, context, mode="persistent")
    driver.handle.send("you@example.com", "Hello", "Text")
    driver.ping()
    box = mailbox.mbox(driver.describe().data)
    subjects = [mail["Subject"] for mail in box]
    box.close()
    assert subjects == ["Hello"]


class MailServer(socketserver.ThreadingTCPServer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Smtp)
        self.mails: list[bytes] = []


class Smtp(socketserver.StreamRequestHandler):
    """As much of a mail server as one client needs (RFC 5321)."""

    server: MailServer

    def handle(self) -> None:
        self.reply("220 here")
        for line in self.rfile:
            word = line.split()[0].upper()
            if word == b"DATA":
                self.reply("354 send the text")
                self.server.mails.append(b"".join(iter(self.rfile.readline, b".\r\n")))
            self.reply("250 fine" if word != b"QUIT" else "221 bye")

    def reply(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_mail_is_sent_in_distributed_mode(tmp_path: Path, context: StartContext, mail_server: MailServer) -> None:
    """Mail server."""
    port = str(mail_server.server_address[1])
    flags = {"mailer.mode": "distributed", "mailer.smtp.host": "127.0.0.1", "mailer.smtp.port": port}
    started(tmp_path, context, **flags).handle.send("you@example.com", "Hello", "Text")
    assert [b"Subject: Hello" in mail for mail in mail_server.mails] == [True]


def test_missing_mail_server_is_a_driver_error(tmp_path: Path, context: StartContext) -> None:
    """The address is in the text."""
    flags = {"mailer.mode": "distributed", "mailer.smtp.host": "127.0.0.1", "mailer.smtp.port": "1"}
    with pytest.raises(DriverError, match="the mail server at 127.0.0.1:1 does not answer"):
        started(tmp_path, context, **flags)


def test_a_tool_reaches_the_component(
    tmp_path: Path, context: StartContext, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tool of the example asks for the mailer and sends."""
    mailer = started(tmp_path, context).handle
    welcome = load_reference(f"{EXAMPLE / 'notify.py'}:welcome")
    with offered({"mailer": mailer}.__getitem__):
        assert welcome("Ada", "ada@example.com") == {"to": "ada@example.com", "via": "terminal"}
    assert "Dear Ada" in capsys.readouterr().err


def test_component_outside_of_a_workflow_is_an_error_with_the_reason() -> None:
    """Both without a runtime and with one that has no such component."""
    with pytest.raises(NotFoundError, match="components are there while a workflow's task calls the tool"):
        component("mailer")
    with offered(dict[str, Any]().__getitem__), pytest.raises(NotFoundError, match="declare it under components"):
        component("mailer")


def test_the_configuration_names_its_packs(tmp_path: Path) -> None:
    """`rules:` is seen from the configuration file."""
    shutil.copytree(PACK, tmp_path / "more" / "pack")
    (tmp_path / "compozy.yaml").write_text("mode: ci\nrules: [./more/pack]\n")
    found = load_configuration(directory=str(tmp_path), environment={})
    assert "mailer.mode" in found.rulebook.registry.settings


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(None, "is not a directory", id="missing"),
        pytest.param({}, "holds no file that ends in .yaml", id="empty"),
        pytest.param({"rules.yaml": b"\xff\xfe\x00"}, "cannot be read", id="not-text"),
    ],
)
def test_invalid_rule_pack_is_an_error_of_the_rules(
    tmp_path: Path, content: dict[str, bytes] | None, text: str
) -> None:
    """Exit code 3, with the path."""
    folder = tmp_path / "pack"
    if content is not None:
        folder.mkdir()
        for name, data in content.items():
            (folder / name).write_bytes(data)
    with pytest.raises(RuleTableError, match=text) as caught:
        load_configuration(directory=str(tmp_path), packs=[str(folder)], environment={})
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("described", "file"), [("mailer_rules-1.0.dist-info", "METADATA"), ("mailer_rules.egg-info", "PKG-INFO")]
)
def test_installed_package_offers_its_pack(
    described: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry point of the group `compozy.rules` names the package that holds the rule files."""
    shutil.copytree(PACK, tmp_path / "mailer_rules")
    (tmp_path / "mailer_rules" / "__init__.py").write_text("")
    info = tmp_path / described
    info.mkdir()
    (info / file).write_text("Metadata-Version: 2.1\nName: mailer-rules\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[compozy.rules]\nmailer = mailer_rules\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    installed_packs.cache_clear()
    try:
        found = load_configuration(directory=str(EXAMPLE.parent), environment={}, flags={"mode": "ci"})
        assert Lifecycle(found, facts=FACTS).resolve().components["mailer"].driver == "mailer-console"
        named = load_configuration(directory=str(EXAMPLE), environment={})
        assert named.rulebook.digest == found.rulebook.digest
    finally:
        installed_packs.cache_clear()


def test_same_pack_named_twice_is_in_force_once(tmp_path: Path) -> None:
    """A copy counts as the same pack, as an installed one that the configuration names as well."""
    shutil.copytree(PACK, tmp_path / "copy")
    (tmp_path / "copy" / "__init__.py").write_text("")
    assert (
        load_rulebook((str(tmp_path / "copy"), str(PACK), str(PACK))).digest
        == load_rulebook((str(tmp_path / "copy"),)).digest
    )


def test_same_pack_with_other_python_is_refused_in_one_line(tmp_path: Path) -> None:
    """Which of the two would run could not be seen."""
    shutil.copytree(PACK, tmp_path / "copy")
    (tmp_path / "copy" / "mailer.py").write_text("")
    with pytest.raises(RuleTableError, match=f"{PACK} is already in force as {tmp_path}/copy") as caught:
        load_rulebook((str(tmp_path / "copy"), str(PACK)))
    assert len(caught.value.findings) == 1


@pytest.mark.parametrize(
    ("words", "value", "code"),
    [
        pytest.param(["--mailer-mode", "persistent"], "persistent", 0, id="two-words"),
        pytest.param(["--mailer-mode=@nowhere"], "@nowhere", 2, id="at-sign"),
    ],
)
def test_flag_of_a_pack_is_the_origin_of_its_value(
    words: list[str], value: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a shipped flag is; its value never names a file."""
    command = ["config", "show", "--format", "json", "--cwd", str(tmp_path), "--rules", str(PACK), *words]
    assert run(command) == code
    found = json.loads(capsys.readouterr().out)["settings"]["mailer.mode"]
    written = [found, *found.get("shadowed", ())]
    assert {"value": value, "origin": {"kind": "flag", "name": "--mailer-mode"}} in [
        {"value": part["value"], "origin": part["origin"]} for part in written
    ]


@pytest.mark.parametrize("command", [["plan"], ["config", "show"]], ids=" ".join)
def test_help_lists_the_flags_of_packs(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Named by the configuration or the command line; help is printed even where a pack cannot be used."""
    for folder in ("project", "empty"):
        (tmp_path / folder).mkdir()
    (tmp_path / "project" / "compozy.yaml").write_text(f"rules: [{PACK}]\n")
    for words, listed in (
        (["--cwd", str(tmp_path / "project")], True),
        (["--cwd", str(tmp_path / "empty"), "--rules", str(PACK)], True),
        (["--cwd", str(tmp_path / "empty"), "--rules", str(tmp_path / "nowhere")], False),
        (["--cwd", str(tmp_path / "empty")], False),
    ):
        assert run([*command, *words, "--help"]) == 0
        text = capsys.readouterr().out
        assert ("--mailer-mode [memory|persistent|distributed]" in text) == listed
        assert "--redis-mode" in text


def test_packs_apply_in_their_named_order(tmp_path: Path) -> None:
    """A later pack may replace a row of an earlier one by naming it."""
    (tmp_path / "rules.yaml").write_text(
        "drivers:\n  - {id: mailer-console, replaces: mailer-console, component: mailer, driver: mailer-console,\n"
        f"     factory: '{PACK / 'mailer.py'}:ConsoleMailer', options: {{sender: name}}}}\n"
    )
    driver = load_rulebook((str(PACK), str(tmp_path))).drivers["mailer", "mailer-console"]
    assert driver.options == {"sender": "name"}


@pytest.mark.e2e
def test_the_example_runs_as_a_user_runs_it(tmp_path: Path) -> None:
    """The workflow sends a mail through the pack's component, in the pack's mode."""
    project = tmp_path / "project"
    shutil.copytree(EXAMPLE, project)
    command = [COMPOZY, "workflow", "run", "welcome", "--param", "name=Ada"]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "to: world@example.com\nvia: terminal\n"
    assert "Dear Ada" in result.stderr
    assert (project / ".compozy" / "compozy.db").exists()
