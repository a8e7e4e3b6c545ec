"""The output of commands in each mode, and their help, equals the golden files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import pytest
from tests.support.golden_files import FOLDER, check_golden

from compozy.cli.main import cli, run

WIDTH = 80
COMMANDS = (["config", "show"], ["config", "diagnostics"], ["plan"])
CONFIGURATIONS = {
    "memory": "",
    "persistent": "mode: persistent\n",
    "distributed": (
        "name: shop\nmode: distributed\ndatabase: {url: postgres://compozy:hidden@db/shop}\n"
        "temporal: {host_port: 'temporal:7233', encryption_key: a-key-of-at-least-thirty-two-characters}\n"
        "redis: {url: 'redis://redis/1'}\n"
    ),
    "mixed": (
        "name: shop\nmode: persistent\nredis: {mode: memory}\n"
        "database: {driver: postgres, host: db, name: shop}\n"
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("COMPOZY_", "DB_", "REDIS_", "TEMPORAL_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def project() -> Iterator[Path]:
    """A directory whose name is so short that no path in it is cut."""
    with TemporaryDirectory(prefix="p", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize("mode", CONFIGURATIONS)
@pytest.mark.parametrize("command", COMMANDS, ids="-".join)
def test_output_is_the_golden_one(
    command: Sequence[str], mode: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "compozy.yaml").write_text(CONFIGURATIONS[mode])
    code = run([*command, "--cwd", str(project)])
    words = {
        re.escape(str(project)): "<project>", project.name: "<directory>", r"python: .*": "python: <version>",
        r"platform: .*": "platform: <platform>", r"settings, [0-9a-f]{16}": "settings, <digest>",
    }  # fmt: skip
    check_golden(f"{mode}/{'-'.join(command)}", f"{capsys.readouterr().out}exit code {code}\n", words)


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, group
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, f"{path} {name}")
        else:
            yield f"{path} {name}", found


HELP = dict(commands(cli, "compozy"))


@pytest.mark.parametrize("path", HELP)
def test_help_is_the_golden_one(path: str) -> None:
    text = HELP[path].get_help(click.Context(HELP[path], info_name=path, terminal_width=WIDTH))
    # The names of this option depend on who built the command's first context.
    check_golden(f"help/{path.replace(' ', '-')}", text + "\n", {r"  (-h, )?--help +Show": "  -h, --help  Show"})


def test_no_golden_file_is_left_over() -> None:
    """A file without a test would never differ."""
    outputs = {f"{mode}/{'-'.join(command)}" for mode in CONFIGURATIONS for command in COMMANDS}
    banners = {f"{mode}/start" for mode in CONFIGURATIONS}
    wanted = outputs | banners | {f"help/{path.replace(' ', '-')}" for path in HELP}
    assert {str(file.relative_to(FOLDER).with_suffix("")) for file in FOLDER.rglob("*.txt")} == wanted
