"""The output of `--help`: every command has a line that is not truncated, and an example."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from compozy.cli.main import cli, run

WIDTH = 80


def commands(group: click.Group, path: str = "compozy") -> Iterator[tuple[str, click.Command]]:
    """Yield every command below a group with what a user types."""
    yield path, group
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, f"{path} {name}")
        else:
            yield f"{path} {name}", found


EVERY = [pytest.param(command, id=path) for path, command in commands(cli)]


def help_of(command: click.Command) -> str:
    return command.get_help(click.Context(command, info_name="it", terminal_width=WIDTH))


@pytest.mark.parametrize("command", EVERY)
def test_nothing_is_cut_at_80_columns(command: click.Command) -> None:
    """A truncated description of a command is useless."""
    assert [line for line in help_of(command).splitlines()[1:] if line.endswith("...")] == []
    assert max(map(len, help_of(command).splitlines())) <= WIDTH


@pytest.mark.parametrize(
    "command",
    [pytest.param(command, id=path) for path, command in commands(cli) if not isinstance(command, click.Group)],
)
def test_every_command_has_an_example(command: click.Command) -> None:
    """It begins with the command as it is typed."""
    assert "Example: compozy " in help_of(command).replace("\n  ", " ")


@pytest.mark.parametrize("args", [[], ["workflow"], ["config"], ["rules"]], ids=lambda args: " ".join(args) or "alone")
def test_call_without_command_lists_the_commands(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The same as with --help, and no error."""
    assert run(args) == 0
    alone = capsys.readouterr()
    assert run([*args, "--help"]) == 0
    assert (alone.out, alone.err) == (capsys.readouterr().out, "")
